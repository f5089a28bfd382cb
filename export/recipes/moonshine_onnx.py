"""Moonshine as hubs carry it in ONNX (optimum's layout), taken as it is. Needs no torch, so a device can build it."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.backends.onnx import OnnxModel
from edge.seq2seq import Seq2Seq
from export.moonshine_text import LEAST_S, WINDOW_S, aligned, text_of
from export.onnx_parts import audios
from export.published_onnx import suits, taken
from export.recipes.recipe import Recipe, Work


def make(work: Work) -> dict[str, Any]:
    """Copies, with a second of sound run through both to see that they go together."""
    models = taken(work)
    text = text_of(work)
    encoder, decoder = OnnxModel(work.folder / "encoder.onnx"), OnnxModel(work.folder / "decoder.onnx")
    text |= aligned(*(int(work.setting(f"decoder_num_{of}")) for of in ("hidden_layers", "attention_heads")), decoder.outputs)
    sound = audios([1.0])[0][None]
    given = {"input_values": sound}
    if "attention_mask" in encoder.inputs:
        given["attention_mask"] = np.ones(sound.shape, np.int64)
    session = Seq2Seq(decoder, text["end_ids"], name=str(work.source))
    session.begin(encoder.run(given))
    work.measured("tokens said of one second", len(session.decode(text["prompt_ids"], (), 0, 16)), "", "1 synthetic sound", 1)
    return {
        "licence": work.licence,
        "models": models,
        "front_end": {"kind": "samples"},
        "encoder": {"window_s": WINDOW_S, "pad_to_s": LEAST_S},
        "caption": text,
        "card": f"# {work.name}\nMoonshine in ONNX as published, unchanged. It hears samples, a window as long as what was said. "
        "It tells speech, no sounds.",
    }


RECIPE = Recipe(
    "moonshine-onnx",
    "Moonshine's published ONNX files, taken as they are; needs no torch",
    (),
    ("fp32", "int8", "int4"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
    lambda source: suits(source, "moonshine"),
)
