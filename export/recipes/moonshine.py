"""Moonshine (Jeffries et al. 2024), tiny and base: samples in, no log-mels; a window is as long as what was said."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from export.moonshine_parts import RotaryDecoder, SamplesEncoder, heads_of
from export.moonshine_text import LEAST_S, WINDOW_S, aligned, text_of
from export.onnx_parts import audios, calibration, tokenizer_of
from export.recipes.recipe import Recipe, Work
from export.seq2seq_parts import export_both, finish

MEASURED_S = (0.4, 1.0, 2.3, 5.0, 11.0, 30.0)


def reference(model: Any, sound: np.ndarray) -> tuple[Any, np.ndarray]:
    """The reference's own encoder over samples as they are. Returns its output and its rows."""
    with torch.inference_mode():
        state = model.model.encoder(torch.from_numpy(sound)[None])
    return state, state.last_hidden_state.numpy()


def make(work: Work) -> dict[str, Any]:
    """Both graphs, quantized and measured, and the tokenizer."""
    from transformers import MoonshineForConditionalGeneration

    tokenizer = tokenizer_of(work.source, work.folder, work.origin)
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(MoonshineForConditionalGeneration)
    text, config = text_of(work), model.config
    heads = heads_of(config, "decoder_num_attention_heads", "decoder_num_key_value_heads")
    hearing = heads_of(config, "encoder_num_attention_heads", "encoder_num_key_value_heads")
    graphs = SamplesEncoder(model.model, hearing, heads), RotaryDecoder(model.model, model.proj_out, heads)
    layers = config.decoder_num_hidden_layers
    told = export_both(work, *graphs, layers, {"input_values": torch.randn(1, 32_000)}, {1: "samples"}, range(layers))
    text |= aligned(layers, heads, told)
    heard = calibration(work, WINDOW_S)
    made = finish(
        work, model, text, tokenizer, audios(MEASURED_S), heard, lambda x: {"input_values": x[None]}, lambda x: reference(model, x)
    )
    return made | {
        "front_end": {"kind": "samples"},
        "encoder": {"window_s": WINDOW_S, "pad_to_s": LEAST_S},
        "card": f"# {work.name}\nMoonshine, exported by auricle-export. It hears samples, a window as long as what was said. "
        "It tells speech, no sounds.",
    }


RECIPE = Recipe(
    "moonshine",
    "Moonshine tiny and base: speech to text",
    ("moonshine",),
    ("fp32", "int8", "int8-static", "int4"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
)
