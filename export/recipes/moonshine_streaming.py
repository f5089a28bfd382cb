"""Moonshine streaming, tiny to medium: frames of samples in; a row hears little before and behind it, so it changes no more soon after."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from export.moonshine_parts import ROW_FRAMES, FramesEncoder, RotaryDecoder, heads_of
from export.moonshine_text import aligned, text_of
from export.onnx_parts import audios, calibration, tokenizer_of
from export.recipes.recipe import Recipe, Work
from export.seq2seq_parts import export_both, finish

MEASURED_S = (0.4, 1.0, 2.3, 5.0, 11.0, 30.0)
WINDOW_S = 30


def reference(model: Any, sound: np.ndarray) -> tuple[Any, np.ndarray]:
    """The reference's own encoder with the mask that its processor makes. sound: a whole number of frames. Returns output and rows."""
    with torch.inference_mode():
        state = model.model.encoder(torch.from_numpy(sound)[None], attention_mask=torch.ones(1, len(sound), dtype=torch.long))
    return state, state.last_hidden_state.numpy().copy()  # the decoder adds its positions in place


def make(work: Work) -> dict[str, Any]:
    """Both graphs, quantized and measured, and the tokenizer."""
    from transformers import MoonshineStreamingForConditionalGeneration

    tokenizer = tokenizer_of(work.source, work.folder, work.origin)
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(MoonshineStreamingForConditionalGeneration)
    text, config, hearing = text_of(work), model.config, model.config.encoder_config
    heads = heads_of(config, "num_attention_heads", "num_key_value_heads")
    graphs = (
        FramesEncoder(model.model, heads_of(hearing, "num_attention_heads", "num_key_value_heads"), heads),
        RotaryDecoder(model.model, model.proj_out, heads),
    )
    frame = model.model.encoder.embedder.frame_len
    layers = config.num_hidden_layers
    given = {"input_values": torch.randn(1, 400 * frame), "first_row": torch.zeros(1, dtype=torch.long)}
    told = export_both(work, *graphs, layers, given, {1: "samples"}, range(layers))
    text |= aligned(layers, heads, told)
    sounds, heard = ([x[: len(x) // frame * frame] for x in some] for some in (audios(MEASURED_S), calibration(work, WINDOW_S)))
    begin = np.zeros(1, np.int64)
    made = finish(
        *(work, model, text, tokenizer, sounds, heard),
        lambda x: {"input_values": x[None], "first_row": begin},
        lambda x: reference(model, x),
    )
    rows = hearing.max_position_embeddings // 50
    return made | {
        "front_end": {"kind": "samples"},
        "encoder": {"window_s": min(WINDOW_S, rows), "pad_to_s": 0.1, "frame": frame}
        | {"row": ROW_FRAMES * frame, "left_rows": graphs[0].left, "right_rows": graphs[0].right},
        "card": f"# {work.name}\nMoonshine streaming, exported by auricle-export. Of an open turn only the newest rows are encoded. It "
        "tells speech, no sounds.",
    }


RECIPE = Recipe(
    "moonshine-streaming",
    "Moonshine streaming tiny to medium: speech to text",
    ("moonshine_streaming",),
    ("fp32", "int8", "int8-static", "int4"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
)
