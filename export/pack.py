"""Writes the manifest of a bundle: the counterpart of `edge.bundle`. The same files and description give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.manifest import FILE_NAME, SCHEMA, parse

_ORDER = (
    "schema",
    "name",
    "version",
    "licence",
    "created_by",
    "models",
    "labels",
    "front_end",
    "encoder",
    "sounds",
    "caption",
    "receipt",
    "card",
)


def pack(folder: str | os.PathLike[str], manifest: Mapping[str, Any]) -> None:
    """Measures and hashes the model files in `folder`, writes manifest.json and opens the result as a user would.

    manifest: as docs/bundle.md says; `schema` and each model's `bytes` and `sha256` are filled in here; not modified.
    Raises: BundleError if the result would be refused (then no new manifest is left); OSError if a file cannot be read or written.
    """
    root = Path(folder)
    filled: dict[str, Any] = {"schema": SCHEMA, **manifest}
    filled["models"] = [{**model, **_measure(root / model["file"])} for model in manifest["models"]]
    ordered = {key: filled[key] for key in (*_ORDER, *sorted(filled.keys() - set(_ORDER))) if key in filled}
    data = (json.dumps(ordered, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    parse(data, f"bundle {root.name}")
    target, temporary = root / FILE_NAME, root.with_name(f".{root.name}.{FILE_NAME}.{os.getpid()}")
    before = target.read_bytes() if target.exists() else None
    temporary.write_bytes(data)
    os.replace(temporary, target)
    try:
        Bundle.open(root.absolute()).close()
    except BaseException:
        target.unlink() if before is None else target.write_bytes(before)
        raise


def put_in_place(folder: Path, out: Path) -> None:
    """Copies a bundle to `out` in place of what is there, which stays whole until the new one is: a kill leaves the one or the other.

    Between two renamings it may leave neither, and the old one beside it as .NAME.old. Raises: OSError.
    """
    part, old = (out.with_name(f".{out.name}.{ending}") for ending in ("part", "old"))
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(folder, part)
    if out.exists():
        out.rename(old)
    part.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def pack_tar(folder: str | os.PathLike[str], tar: str | os.PathLike[str]) -> None:
    """Writes the bundle in `folder` as one uncompressed tar without times, owners or order of the disk. Raises BundleError, OSError."""
    bundle = Bundle.open(Path(folder).absolute())
    with tarfile.open(tar, "w:", format=tarfile.USTAR_FORMAT) as archive:
        for name in (FILE_NAME, *sorted(model.file for model in bundle.manifest.models)):
            path = bundle.path / name
            info = tarfile.TarInfo(name)
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(info, file)


def commit() -> str:
    """The commit that this checkout stands at, "-dirty" behind it with changes on top; "unknown" outside a checkout."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent)
    except FileNotFoundError:  # no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def _measure(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):  # hashlib.file_digest came with Python 3.11
            digest.update(part)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
