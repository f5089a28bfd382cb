"""Whisper as hubs carry it in ONNX (optimum's layout): encoder_model*.onnx, decoder_model_merged*.onnx, tokenizer.json, taken as they are.

Needs no torch, so a device can build it. The usual exports take 30 s of mels whatever was said: the window is filled up then.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edge.backends.onnx import OnnxModel
from edge.features import whisper_log_mel
from edge.seq2seq import Seq2Seq
from export.onnx_parts import audios, described, tokenizer_of
from export.recipes.recipe import BuildError, Recipe, Work
from export.whisper_text import text_of

SUFFIXES = {"fp32": ("",), "int8": ("_int8", "_quantized", "_uint8"), "int4": ("_q4", "_bnb4")}
"""What the hub appends to the names of files of a precision, in order of preference."""
PARTS = {"encoder": "encoder_model", "decoder": "decoder_model_merged"}


def _file(source: Path, stem: str, precision: str) -> Path | None:
    for suffix in SUFFIXES[precision]:
        for folder in (source, source / "onnx"):
            if (folder / f"{stem}{suffix}.onnx").is_file():
                return folder / f"{stem}{suffix}.onnx"
    return None


def make(work: Work) -> dict[str, Any]:
    """Copies, with the silence of a second run through both to see that they go together."""
    source = work.origin
    models = []
    for role, stem in PARTS.items():
        found = _file(work.source, stem, work.encoder)
        if found is None:
            raise BuildError(f"{work.source}: there is no {stem}*.onnx in {work.encoder}; choose another --encoder or fetch that file")
        if Path(f"{found}_data").exists() or found.with_suffix(".onnx.data").exists():
            raise BuildError(f"{found}: it keeps its weights in a second file, which bundles do not; choose a smaller model or precision")
        shutil.copyfile(found, work.folder / f"{role}.onnx")
        models.append(described(work.folder / f"{role}.onnx", role, work.encoder, source))
    models.append(tokenizer_of(work.source, work.folder, source))
    text, bands, window = text_of(work), int(work.setting("num_mel_bins")), work.setting("max_source_positions") / 50
    encoder, decoder = OnnxModel(work.folder / "encoder.onnx"), OnnxModel(work.folder / "decoder.onnx")
    fixed = encoder.inputs["input_features"][1][2] is not None
    (sound,) = audios([1.0])
    full = np.concatenate((sound, np.zeros(round(window * 16_000) - len(sound), np.float32))) if fixed else sound
    session = Seq2Seq(decoder, text["end_ids"], text["never_ids"], text["never_first_ids"], str(work.source))
    session.begin(encoder.run({"input_features": whisper_log_mel(full, bands)[None]}))
    work.measured("tokens said of one second", len(session.decode(text["prompt_ids"], (), 0, 16)), "", "1 synthetic sound", 1)
    return {
        "licence": work.licence,
        "models": models,
        "front_end": {"kind": "whisper", "bands": bands},
        "encoder": {"window_s": window, **({"pad_to_s": window} if fixed else {})},
        "caption": text,
        "card": f"# {work.name}\nWhisper in ONNX as published, unchanged. "
        + ("Its encoder takes 30 s whatever was said; `auricle-export build` from the weights gives one that does not. " * fixed)
        + "It tells speech, no sounds.",
    }


def _suits(source: Path) -> bool:
    there = [any(_file(source, stem, precision) for precision in SUFFIXES) for stem in PARTS.values()]
    if not all(there) or any(source.glob("*.safetensors")):
        return False
    try:
        return bool(json.loads((source / "config.json").read_text(encoding="utf-8")).get("model_type") == "whisper")
    except (OSError, ValueError, AttributeError):
        return False


RECIPE = Recipe(
    "whisper-onnx",
    "Whisper's published ONNX files, taken as they are; needs no torch",
    (),
    ("fp32", "int8", "int4"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
    _suits,
)
