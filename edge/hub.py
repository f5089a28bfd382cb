"""A bundle from a hub: huggingface_hub carries the bytes and goes on where it was cut off; what is trusted is our manifest's sha256.

The files come into a hidden folder beside the place they are meant for, and take that place in one rename once all are there, whole and
on the disk. HF_ENDPOINT, HF_TOKEN and HF_HUB_DOWNLOAD_TIMEOUT mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge.bundle import Bundle
from edge.catalogue import NAME, Entry, home
from edge.errors import BundleError
from edge.manifest import FILE_NAME, MANIFEST_BYTES, parse

SPARE_BYTES = 64 << 20
"""Left free on the disk."""
PIECE_BYTES = 1 << 18


def pull(name: str, entry: Entry, tell: Callable[[str], None], offline: bool = False) -> Path:
    """Fetches the bundle of an entry and returns its folder; a bundle of that name that is there stays until the new one is whole.

    Raises: BundleError naming repository, cause and remedy. What was fetched of a broken transfer is kept, and the next pull goes on.
    """
    hub = _hub(name)
    out, part = home() / name, home() / f".{name}.part"
    part.mkdir(parents=True, exist_ok=True)
    with _alone(part, name):
        path = part / FILE_NAME if offline and (part / FILE_NAME).exists() else _fetch(hub, entry, FILE_NAME, part, None, offline)
        try:
            manifest = parse(path.read_bytes(), f"{entry.repository}: {FILE_NAME}")
        except BundleError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        missing = sum(model.size_bytes for model in manifest.models if not _has(part / model.file, model.size_bytes))
        free = shutil.disk_usage(part).free
        if missing + SPARE_BYTES > free:
            raise BundleError(
                f"model {name}: {missing / 1e6:.0f} MB are missing and {free / 1e6:.0f} MB are free in {home()}; make room, or set "
                "AURICLE_MODELS"
            )
        for model in manifest.models:
            if not _has(part / model.file, model.size_bytes):
                tell(f"fetching {model.file} ({model.size_bytes / 1e6:.1f} MB) from {entry.repository}")
                _fetch(hub, entry, model.file, part, model.size_bytes, offline)
        kept = {FILE_NAME, *(model.file for model in manifest.models)}
        _settle(part, kept)
        try:
            Bundle.open(part).close()
        except BundleError as error:
            shutil.rmtree(part, ignore_errors=True)  # right in size and wrong in bytes: going on with it would fail for ever
            raise BundleError(
                f"model {name}: what {entry.repository} gave is not what its manifest lists ({error}); nothing was kept, try again or "
                "tell its owner"
            ) from None
        take_place(part, out)
    return out


def remove(name: str) -> None:
    """Deletes a pulled bundle and what is left of a pull. Raises: BundleError where there is neither."""
    if not NAME.fullmatch(name):
        raise BundleError(f"model {name!a}: that is no name of a model; `auricle models list` shows what was pulled")
    places = [path for path in (home() / name, home() / f".{name}.part") if path.exists()]
    if not places:
        raise BundleError(f"model {name!a}: it was not pulled; `auricle models list` shows what was")
    for path in places:
        shutil.rmtree(path)


def _hub(name: str) -> Any:
    try:
        import huggingface_hub.errors
        import huggingface_hub.file_download
    except ImportError:
        raise BundleError(f"model {name}: fetching it needs huggingface_hub; pip install 'auricle[hub]'") from None
    # It writes in pieces of 10 MB, and a line that breaks before each is whole would never get on.
    huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = PIECE_BYTES
    return huggingface_hub


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


class _Bounded(io.FileIO):
    """A file that takes no more than it should: a hub may send without end."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path, "ab")
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._most:
            raise TooMuch(f"the hub sends more than the {self._most} bytes that it should have")
        return super().write(data)


class TooMuch(Exception):
    """More came than was announced."""


def _fetch(hub: Any, entry: Entry, file: str, part: Path, size: int | None = None, offline: bool = False) -> Path:
    """One file of the repository into `part`; goes on where the last transfer broke off. size: as the manifest lists it.

    Raises: BundleError.
    """
    errors = hub.errors
    try:
        if offline:
            raise errors.OfflineModeIsEnabled("by your wish (--offline)")
        about = hub.get_hf_file_metadata(hub.hf_hub_url(entry.repository, file, revision=entry.revision))
        if size is not None and about.size is not None and about.size != size:
            why = f"its {file} has {about.size} bytes, but {size} in its manifest; tell its owner"
            raise BundleError(f"{entry.repository} ({entry.revision}): {why}")
        _transfer(hub, about, part / file, MANIFEST_BYTES if size is None else size)
        return part / file
    except errors.GatedRepoError:
        why = "it is open only to who has agreed to its terms; agree on its page and set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        why = "there is no such repository, or it is private; check the name, or set HF_TOKEN"
    except errors.RevisionNotFoundError:
        why = "there is no such revision; check --revision"
    except errors.EntryNotFoundError:
        why = f"it has no {file}; name a repository that holds an auricle bundle"
    except errors.OfflineModeIsEnabled as error:
        why = f"{file} is not here and nothing is fetched ({_first_line(error)}); leave that out"
    except TooMuch as error:
        (part / file).unlink(missing_ok=True)
        why = f"{file} is refused because {error}; tell its owner"
    except (KeyboardInterrupt, MemoryError, BundleError):
        raise
    except Exception as error:  # httpx's errors and huggingface_hub's share no base class
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            why = f"{file} cannot be written ({error.strerror}); make room or set AURICLE_MODELS"
        elif type(error).__name__.startswith("Connect"):
            why = f"the hub cannot be reached ({_first_line(error)}); check the network and HF_ENDPOINT"
        else:
            why = f"the transfer of {file} broke off ({_first_line(error)}); the same command goes on from there"
    raise BundleError(f"{entry.repository} ({entry.revision}): {why}")


def _transfer(hub: Any, about: Any, path: Path, most: int) -> None:
    # huggingface_hub's own download keeps nothing of a transfer that ended with the process (its 2.4 deletes what is incomplete).
    kept = path.with_name(f".{path.name}.{hashlib.sha256(str(about.etag).encode()).hexdigest()[:16]}")
    for other in path.parent.glob(f".{path.name}.*"):
        if other != kept:
            other.unlink()  # of another version of the file
    own = urlsplit(about.location).netloc == urlsplit(hub.constants.ENDPOINT).netloc
    headers = hub.utils.build_hf_headers(token=None if own else False)  # the token is for the hub, not for whom it sends us to
    with _Bounded(kept, most) as file:
        hub.file_download.http_get(
            about.location, file, resume_size=file.tell(), headers=headers, expected_size=about.size, displayed_filename=path.name
        )
    os.replace(kept, path)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


@contextmanager
def _alone(part: Path, name: str) -> Iterator[None]:
    """No two pulls of one name at once."""
    with (home() / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BundleError(f"model {name}: another pull of it is running; wait for it") from None
        try:
            yield
        finally:
            (home() / f".{name}.lock").unlink(missing_ok=True)


def _settle(part: Path, kept: set[str]) -> None:
    """Removes what is not of the bundle, and sees to it that the rest is on the disk."""
    for path in part.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in [*part.iterdir(), part]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def take_place(new: Path, out: Path) -> None:
    """Moves `new` to `out`; what lay there is removed only once it has been replaced, and comes back when that fails."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    try:
        os.replace(new, out)
    except BaseException:
        if old.exists():
            os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
