"""Whisper as hubs carry it in ONNX (optimum's layout): encoder_model*.onnx, decoder_model_merged*.onnx, tokenizer.json, taken as they are.

Needs no torch, so a device can build it. The usual exports take 30 s of mels whatever was said: the window is filled up then.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.backends.onnx import OnnxModel
from edge.features import whisper_log_mel
from edge.seq2seq import Seq2Seq
from export.alignment import alignment
from export.onnx_parts import audios
from export.published_onnx import suits, taken
from export.recipes.recipe import Recipe, Work
from export.whisper_text import alignment_heads, text_of


def make(work: Work) -> dict[str, Any]:
    """Copies, with the silence of a second run through both to see that they go together."""
    models = taken(work)
    text, bands, window = text_of(work), int(work.setting("num_mel_bins")), work.setting("max_source_positions") / 50
    encoder, decoder = OnnxModel(work.folder / "encoder.onnx"), OnnxModel(work.folder / "decoder.onnx")
    text |= alignment(alignment_heads(work), "tokens", decoder.outputs)
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


RECIPE = Recipe(
    "whisper-onnx",
    "Whisper's published ONNX files, taken as they are; needs no torch",
    (),
    ("fp32", "int8", "int4"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
    lambda source: suits(source, "whisper"),
)
