"""Models as hubs carry them in ONNX (optimum's layout): encoder_model*.onnx, decoder_model_merged*.onnx, tokenizer.json. Needs no torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from export.onnx_parts import described, tokenizer_of
from export.recipes.recipe import BuildError, Work

SUFFIXES = {"fp32": ("",), "int8": ("_int8", "_quantized", "_uint8"), "int4": ("_q4", "_bnb4")}
"""What the hub appends to the names of files of a precision, in order of preference."""
PARTS = {"encoder": "encoder_model", "decoder": "decoder_model_merged"}


def file_of(source: Path, stem: str, precision: str) -> Path | None:
    """The file of that part and precision, in the folder or in its folder onnx/."""
    for suffix in SUFFIXES[precision]:
        for folder in (source, source / "onnx"):
            if (folder / f"{stem}{suffix}.onnx").is_file():
                return folder / f"{stem}{suffix}.onnx"
    return None


def taken(work: Work) -> list[dict[str, Any]]:
    """Copies both parts as encoder.onnx and decoder.onnx and the tokenizer; what the manifest says of the three. Raises: BuildError."""
    models = []
    for role, stem in PARTS.items():
        found = file_of(work.source, stem, work.encoder)
        if found is None:
            raise BuildError(f"{work.source}: there is no {stem}*.onnx in {work.encoder}; choose another --encoder or fetch that file")
        if Path(f"{found}_data").exists() or found.with_suffix(".onnx.data").exists():
            raise BuildError(f"{found}: it keeps its weights in a second file, which bundles do not; choose a smaller model or precision")
        shutil.copyfile(found, work.folder / f"{role}.onnx")
        models.append(described(work.folder / f"{role}.onnx", role, work.encoder, work.origin))
    return [*models, tokenizer_of(work.source, work.folder, work.origin)]


def suits(source: Path, kind: str) -> bool:
    """Whether a folder holds such files of that model_type, and no weights."""
    there = [any(file_of(source, stem, precision) for precision in SUFFIXES) for stem in PARTS.values()]
    if not all(there) or any(source.glob("*.safetensors")):
        return False
    try:
        return bool(json.loads((source / "config.json").read_text(encoding="utf-8")).get("model_type") == kind)
    except (OSError, ValueError, AttributeError):
        return False
