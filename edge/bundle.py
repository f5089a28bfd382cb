"""A bundle: manifest.json and the model files it lists, in a folder or one uncompressed tar, checked before any model parser runs."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge import archive, catalogue, manifest, prescan
from edge.errors import BundleError
from edge.gguf_header import GGUF_HEADER_BYTES
from edge.manifest import FILE_NAME, Manifest, Model
from edge.table import Table

CHUNK_BYTES = 1 << 20
FILES = archive.MEMBERS
# Not through links, and never blocking on a pipe that lies where a file should.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Bundle:
    """Models and everything a runtime needs to know about them; every listed file had the listed size and hash when opened.

    Owner: whoever opened it; any thread may read. Closing removes what a tar had to lay out as files.
    """

    path: Path
    manifest: Manifest
    _store: Store = field(repr=False, compare=False)

    @classmethod
    def open(cls, path_or_name: str | os.PathLike[str]) -> Bundle:
        """Opens a folder, a tar, or a bundle that ships with auricle by its name ("starter").

        Raises: BundleError naming the file and the fault, before any model parser has seen a byte.
        """
        path = locate(path_or_name)
        where = f"bundle {path.name or path}"
        store = _open_store(path, where)
        try:
            listing = store.sizes()
            if FILE_NAME not in listing:
                raise BundleError(f"{where}: {FILE_NAME} is missing; this is not a bundle, or it was not unpacked whole")
            if listing[FILE_NAME] > manifest.MANIFEST_BYTES:
                raise BundleError(f"{where}: {FILE_NAME} has {listing[FILE_NAME]} bytes, more than {manifest.MANIFEST_BYTES} allowed")
            description = manifest.parse(b"".join(store.chunks(FILE_NAME)), where)
            _verify(description, listing, store, where)
        except BaseException:
            store.close()
            raise
        return cls(path, description, store)

    def model(self, role: str, runtime: str | None = None) -> Model:
        """The first model with this role (and runtime). Raises BundleError if there is none."""
        for model in self.manifest.models:
            if model.role == role and runtime in (None, model.runtime):
                return model
        kind = f" for {runtime}" if runtime else ""
        raise BundleError(f"bundle {self.name}: it has no {role}{kind}; choose a bundle that has one")

    def has(self, role: str) -> bool:
        return any(model.role == role for model in self.manifest.models)

    def read(self, role: str, runtime: str | None = None) -> bytes:
        """The model's bytes, hashed once more, so that what is parsed is what was listed. Raises BundleError if it changed since."""
        model = self.model(role, runtime)
        data = b"".join(self._store.chunks(model.file))
        if len(data) != model.size_bytes or hashlib.sha256(data).hexdigest() != model.sha256:
            raise BundleError(f"bundle {self.name}: {model.file} changed while it was in use; fetch the bundle again")
        return data

    def file(self, role: str, runtime: str | None = None) -> Path:
        """A path to the model, for runtimes that map files (llama.cpp). From a tar it is laid out in a private temporary folder."""
        return self._store.file(self.model(role, runtime).file)

    def close(self) -> None:
        self._store.close()

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    @property
    def front_end(self) -> Table:
        return self.manifest.front_end

    @property
    def encoder(self) -> Table:
        return self.manifest.encoder

    @property
    def sounds(self) -> Table:
        return self.manifest.sounds

    @property
    def caption(self) -> Table:
        return self.manifest.caption


def locate(path_or_name: str | os.PathLike[str]) -> Path:
    """Where a bundle lies: a bare name that ships with auricle or was pulled wins over a folder of that name here (./NAME)."""
    text = os.fspath(path_or_name)
    if not text or "\0" in text:
        raise BundleError(f"bundle {text!a}: this is no path; name a bundle that ships with auricle (starter), a folder or a tar")
    if (known := catalogue.place(text)) is not None:
        return known
    path = Path(text)
    try:
        path.stat()
    except OSError as error:
        raise BundleError(
            f"bundle {text!a}: {error.strerror}; name a bundle that ships with auricle (starter), a folder or a tar"
        ) from None
    return path.absolute()


def _verify(description: Manifest, listing: dict[str, int], store: Store, where: str) -> None:
    """Cheap faults of all files first, then hashes, then the look inside."""
    expected = {model.file: model for model in description.models}
    for name in sorted(listing.keys() - expected.keys() - {FILE_NAME}):
        raise BundleError(f"{where}: {name!a} is not listed in {FILE_NAME}; remove it or fetch the bundle again")
    for name, model in expected.items():
        if name not in listing:
            raise BundleError(f"{where}: {name} is missing; fetch the bundle again")
        if listing[name] != model.size_bytes:
            raise BundleError(f"{where}: {name} has {listing[name]} bytes instead of {model.size_bytes}; fetch the bundle again")
    for name, model in expected.items():
        digest = hashlib.sha256()
        head: list[bytes] = []
        seen = 0
        for chunk in store.chunks(name):
            digest.update(chunk)
            if model.runtime == "onnx" or seen < GGUF_HEADER_BYTES:
                head.append(chunk)
            seen += len(chunk)
        if seen != model.size_bytes or digest.hexdigest() != model.sha256:
            raise BundleError(f"{where}: {name} is damaged (its sha256 is not the listed one); fetch the bundle again")
        try:
            prescan.scan(model.runtime, b"".join(head), seen)
        except prescan.Unsafe as error:
            raise BundleError(f"{where}: {name} is refused because {error}; take the bundle from a source you trust") from None


class Store(Protocol):
    """The files of a bundle, wherever they lie."""

    def sizes(self) -> dict[str, int]: ...

    def chunks(self, name: str) -> Iterator[bytes]: ...

    def file(self, name: str) -> Path: ...

    def close(self) -> None: ...


def _open_store(path: Path, where: str) -> Store:
    if path.is_dir():
        return _Folder(path, where)
    if not path.is_file():
        raise BundleError(f"{where} is neither a folder nor a file; name a folder or a tar")
    return archive.Tar(path, where)


class _Folder:
    def __init__(self, root: Path, where: str) -> None:
        self._root, self._where = root, where

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a plain file"
                        raise BundleError(f"{self._where}: {entry.name!a} is {what}; a bundle holds plain files only")
                    found[entry.name] = status.st_size
                    if len(found) > FILES:
                        raise BundleError(f"{self._where} holds more than {FILES} files; a bundle is {FILES} files at most")
        except OSError as error:
            raise BundleError(f"{self._where} cannot be read ({error.strerror}); check its permissions") from None
        return found

    def chunks(self, name: str) -> Iterator[bytes]:
        try:
            fd = os.open(self._root / name, _OPEN_FLAGS)
            with open(fd, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise BundleError(f"{self._where}: {name} is not a plain file; a bundle holds plain files only")
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise BundleError(f"{self._where}: {name} cannot be read ({error.strerror}); check its permissions") from None

    def file(self, name: str) -> Path:
        return self._root / name

    def close(self) -> None:
        pass
