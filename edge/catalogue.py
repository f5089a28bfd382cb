"""Models by name: what ships, what is known of hubs, what the user has added, and where pulled ones lie.

A pulled bundle is a folder below `home()` and is used by its name, like one that ships.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from edge.errors import BundleError
from edge.manifest import FILE_NAME

OWN = "catalogue.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue. recipe: of `auricle-export build`, "" where the repository holds a bundle.

    parameters_m: millions, as published; 0 where unknown. needs: extras of the package, such as "export, speech".
    """

    repository: str
    recipe: str = ""
    revision: str = "main"
    licence: str = "see the source"
    parameters_m: int = 0
    about: str = ""
    needs: str = ""


def home() -> Path:
    """Where pulled bundles lie: AURICLE_MODELS, else below XDG_DATA_HOME or ~/.local/share."""
    if given := os.environ.get("AURICLE_MODELS"):
        return Path(given).absolute()
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "auricle/models"


def shipped() -> Path:
    """The folder of the bundles that come with auricle."""
    return Path(str(files("edge").joinpath("bundles")))


def place(name: str) -> Path | None:
    """The folder of a bundle that ships or was pulled, by its name; None where there is none."""
    if not NAME.fullmatch(name):
        return None
    return next((root / name for root in (shipped(), home()) if (root / name / FILE_NAME).is_file()), None)


def pulled() -> Iterator[str]:
    """Names of the bundles that were pulled."""
    if home().is_dir():
        yield from sorted(path.name for path in home().iterdir() if (path / FILE_NAME).is_file() and not path.name.startswith("."))


def entries() -> dict[str, Entry]:
    """Every entry by its name; the user's own win. Raises: BundleError where the user's list is damaged."""
    found = _read(Path(str(files("edge").joinpath("data/catalogue.json"))))
    return found | (_read(home() / OWN) if (home() / OWN).exists() else {})


def entry(name: str) -> Entry:
    """The entry of that name. Raises: BundleError."""
    known = entries()
    if name in known:
        return known[name]
    raise BundleError(f"model {name!a}: it is not in the catalogue; `auricle models list` shows what is, `auricle models add` adds to it")


def add(name: str, new: Entry) -> None:
    """Adds to the user's own list. Raises: BundleError for a name that is none or ships, or a repository that is none; OSError."""
    if not NAME.fullmatch(name) or (shipped() / name).exists():
        raise BundleError(f"model {name!a}: choose another name, of letters, digits, dots and dashes, that no bundle of auricle has")
    if not REPOSITORY.fullmatch(new.repository):
        raise BundleError(f"model {name}: {new.repository!a} is no repository; write it as OWNER/NAME")
    own = _read(home() / OWN) if (home() / OWN).exists() else {}
    _write(own | {name: new})


def forget(name: str) -> bool:
    """Takes an entry from the user's own list; whether it was there."""
    own = _read(home() / OWN) if (home() / OWN).exists() else {}
    if name not in own:
        return False
    del own[name]
    _write(own)
    return True


def _read(path: Path) -> dict[str, Entry]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): Entry(**fields) for name, fields in held.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: the list of models cannot be read ({error}); repair or remove it") from None


def _write(own: dict[str, Entry]) -> None:
    home().mkdir(parents=True, exist_ok=True)
    part = home() / f".{OWN}.{os.getpid()}"
    with part.open("w", encoding="utf-8") as file:
        json.dump({name: asdict(value) for name, value in own.items()}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, home() / OWN)
