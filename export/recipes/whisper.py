"""Whisper (Radford et al. 2022), tiny to large-v3-turbo: encoder and decoder to ONNX, its tokenizer as it is.

Both graphs are written anew over the reference's weights: the encoder takes mels of any length up to 30 s (position embeddings are cut
to it, which is the same computation at full length) and gives the keys and values of the cross-attention; the decoder takes its own as
`past_key_values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.alignment import alignment
from export.decoder_gguf import array, layer_of, vocabulary
from export.npu import ACCELERATORS, require
from export.onnx_parts import audios, calibration, tokenizer_of
from export.recipes.recipe import BuildError, Recipe, Work
from export.rknn import PLATFORMS, require_toolkit
from export.seq2seq_parts import Attention, CrossAttention, Decoder, causal, export_both, finish
from export.whisper_npu import for_npu, mels
from export.whisper_text import alignment_heads, text_of

MEASURED_S = (1.0, 2.3, 5.0, 11.0, 30.0)


class EncoderGraph(nn.Module):
    """input_features [1, bands, F] -> last_hidden_state [1, F / 2, D], then keys and values for each layer of the decoder."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.of, self.cross = model.encoder, nn.ModuleList([CrossAttention(layer.encoder_attn) for layer in model.decoder.layers])
        self.attention = nn.ModuleList([Attention(layer.self_attn) for layer in self.of.layers])

    def forward(self, input_features: Tensor) -> tuple[Tensor, ...]:
        gelu = nn.functional.gelu
        x = gelu(self.of.conv2(gelu(self.of.conv1(input_features)))).transpose(1, 2)
        x = x + self.of.embed_positions.weight[: x.shape[1]]
        for layer, attention in zip(self.of.layers, self.attention, strict=True):
            h = layer.self_attn_layer_norm(x)
            x = x + attention(h, *attention.keys(h))
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        x = self.of.layer_norm(x)
        return (x, *(part for cross in self.cross for part in cross.keys(x)))


class DecoderGraph(Decoder):
    """input_ids [1, S], then for each layer own keys and values [1, H, P, d] and those of the encoder -> logits, own keys and values, and
    the cross-attention of the layers `told`.
    """

    def __init__(self, model: Any, head: nn.Linear, told: Sequence[int] = ()) -> None:
        super().__init__()
        self.of, self.head, self.told = model.decoder, head, told
        self.heads, self.gated = model.config.decoder_attention_heads, False
        self.own = nn.ModuleList([Attention(layer.self_attn) for layer in self.of.layers])
        self.cross = nn.ModuleList([CrossAttention(layer.encoder_attn) for layer in self.of.layers])

    def forward(self, input_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        before, count = past[0].shape[2], input_ids.shape[1]
        at = torch.arange(count) + before
        x = self.of.embed_tokens(input_ids) + self.of.embed_positions.weight[at]
        mask = causal(before, count, at)
        after, looked = [], []
        for i, layer in enumerate(self.of.layers):
            h = layer.self_attn_layer_norm(x)
            keys, values = (torch.cat(pair, dim=2) for pair in zip(past[4 * i : 4 * i + 2], self.own[i].keys(h), strict=True))
            after += [keys, values]
            x = x + self.own[i](h, keys, values, mask)
            heard, weights = self.cross[i](layer.encoder_attn_layer_norm(x), past[4 * i + 2], past[4 * i + 3])
            x = x + heard
            looked += [weights] if i in self.told else []
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        return (self.head(self.of.layer_norm(x)), *after, *looked)

    def tensors(self) -> dict[str, np.ndarray]:
        """Raises: BuildError for an activation that the runtime does not have."""
        from transformers.activations import ACT2FN

        of, found = self.of, {"position_embd.weight": array(self.of.embed_positions.weight)}
        for i, each in enumerate(of.layers):
            if not isinstance(each.activation_fn, type(ACT2FN["gelu"])):
                raise BuildError(f"layer {i}: its activation is not GELU; build it with --target jetson, whose decoder is ONNX")
            norms = each.self_attn_layer_norm, each.encoder_attn_layer_norm, each.final_layer_norm
            found |= layer_of(i, self.own[i], self.cross[i], norms, each.fc1, each.fc2)
        return found | vocabulary(of.embed_tokens, self.head, of.layer_norm)


def export_parts(model: Any, work: Work, told: Sequence[int] = ()) -> list[str]:
    """Writes encoder.onnx and decoder.onnx in float; returns the decoder's outputs. told: layers whose cross-attention is one."""
    config = model.config
    features = torch.randn(1, config.num_mel_bins, min(300, 2 * config.max_source_positions))
    graphs = EncoderGraph(model.model), DecoderGraph(model.model, model.proj_out, told)
    return export_both(work, *graphs, config.decoder_layers, {"input_features": features}, {2: "frames"}, told)


def reference(model: Any, features: np.ndarray) -> tuple[Any, np.ndarray]:
    """The reference itself over mels of any length: a copy of its encoder that was configured for that length. Returns it and its rows."""
    import copy

    encoder = copy.deepcopy(model.model.encoder)
    rows = (features.shape[2] - 1) // 2 + 1
    encoder.config = copy.deepcopy(encoder.config)
    encoder.config.max_source_positions = encoder.max_source_positions = rows
    weight = encoder.embed_positions.weight[:rows].clone()
    encoder.embed_positions = nn.Embedding.from_pretrained(weight)
    with torch.inference_mode():
        state = encoder(torch.from_numpy(features))
    return state, state.last_hidden_state.numpy()


def make(work: Work) -> dict[str, Any]:
    """Both graphs, quantized and measured, and the tokenizer."""
    from transformers import WhisperForConditionalGeneration

    require(work.target)
    require_toolkit(work)
    tokenizer = tokenizer_of(work.source, work.folder, work.origin)
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(WhisperForConditionalGeneration)
    heads = alignment_heads(work)
    text = text_of(work)
    text |= alignment(heads, "tokens", export_parts(model, work, sorted({layer for layer, _ in heads})))
    longest = model.config.max_source_positions / 50
    sounds = audios([s for s in MEASURED_S if s <= longest] or [longest])
    made = finish(
        work,
        model,
        text,
        tokenizer,
        sounds,
        calibration(work, longest),
        lambda x: {"input_features": mels(model, x)},
        lambda x: reference(model, mels(model, x)),
    )
    made["models"] += for_npu(model, work, EncoderGraph(model.model))
    return made | {
        "front_end": {"kind": "whisper", "bands": model.config.num_mel_bins},
        "encoder": {"window_s": longest},
        "card": f"# {work.name}\nWhisper, exported by auricle-export. Windows are as long as what was said: the position "
        "embeddings are cut to it. It tells speech, no sounds.",
    }


RECIPE = Recipe(
    "whisper",
    "Whisper tiny … large-v3-turbo: speech to text",
    ("whisper",),
    ("fp32", "int8", "int8-static", "int4"),
    (),
    ("cpu", "pi5", "jetson", *ACCELERATORS, *PLATFORMS),
    make,
)
