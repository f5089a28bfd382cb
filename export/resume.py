"""Parts of a build that was interrupted, kept in the user's cache until the same build is given again: a large GGUF takes minutes.

Only parts that are whole are kept, under a name that stands for the source's files, the recipe, every option and the toolchain. Nothing is
left where the bundle is to lie.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DAYS = 7
"""How long an interrupted build may wait for its second half."""


def cache_folder() -> Path:
    """Where interrupted builds lie: $XDG_CACHE_HOME/auricle/builds."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auricle" / "builds"


class Kept:
    """The whole parts of one build. Safe to lose at any time."""

    def __init__(self, source: Path, options: Mapping[str, Any], toolchain: str) -> None:
        """options: where one names files (--labels, --calibrate), these count as they are now."""
        named = [Path(value) for value in options.values() if isinstance(value, str) and value and os.path.exists(value)]
        files = [found for folder in (source, *named) for found in _files(folder)]
        text = json.dumps([str(source.resolve()), files, dict(options), toolchain, _versions()], sort_keys=True)
        self.folder = cache_folder() / hashlib.sha256(text.encode()).hexdigest()[:24]

    def step(self, path: Path, make: Callable[[], object], tell: Callable[[str], None]) -> None:
        """`path` as an interrupted build left it, else as `make` writes it."""
        held, data = self.folder / path.name, path.with_name(path.name + ".data")
        if held.is_file():
            tell(f"taking {path.name} from the build that was interrupted")
            for file in (held, held.with_name(data.name)):
                if file.is_file():
                    _same(file, path.with_name(file.name))
            return
        make()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in (data, path):  # an ONNX file that is there has its weights beside it
                if file.is_file():
                    part = self.folder / f".{file.name}.part"
                    part.unlink(missing_ok=True)
                    _same(file, part)
                    part.replace(self.folder / file.name)
        except OSError:  # a full or unwritable cache costs time at the next interruption, nothing now
            shutil.rmtree(self.folder, ignore_errors=True)

    def forget(self) -> None:
        """The build is whole: nothing need be kept; nor what others left long ago."""
        shutil.rmtree(self.folder, ignore_errors=True)
        oldest = time.time() - DAYS * 86_400
        for other in cache_folder().glob("*"):
            if other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Place, size and time of change of a file, or of all below a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    return [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def _versions() -> list[str]:
    """Of the packages that write parts."""
    found = []
    for name in ("torch", "transformers", "onnx", "onnxruntime", "onnxscript", "gguf", "llama-cpp-python"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def _same(source: Path, target: Path) -> None:
    """A second name for the file, or a copy where that cannot be. Whoever changes a part writes a new file, so a second name is safe.

    Weights beside an ONNX file are copied: onnx takes one of two names for an attack.
    """
    if source.name.endswith(".data"):
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
