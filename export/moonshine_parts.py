"""Graphs of Moonshine and Moonshine streaming over the reference's weights: rotary attention, both encoders, the decoder they share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.decoder_gguf import array, layer_of, vocabulary
from export.recipes.recipe import BuildError
from export.seq2seq_parts import Attention, CrossAttention, Decoder, causal

EMBEDDED_ROWS = 3
"""Rows before it that a row of Moonshine streaming's embedder hears: two causal convolutions of 5 by steps of 2, over frames."""
ROW_FRAMES = 4


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """The first 2 K values of [B, H, T, d] turned by angles [T, K], in adjacent pairs; the rest as it is."""
    cos, sin = angles.cos(), angles.sin()
    turned, rest = x[..., : 2 * angles.shape[1]], x[..., 2 * angles.shape[1] :]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    pairs = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(3)
    return torch.cat((pairs, rest), dim=3)


def whole_norm(x: Tensor, of: nn.GroupNorm) -> Tensor:
    """[1, C, T] normed over all its values, by means of means: onnxruntime's own sum over 30 s is off by 1e-4 after two layers."""

    def mean(of: Tensor) -> Tensor:
        return of.mean(dim=1, keepdim=True).mean(dim=2, keepdim=True)

    x = x - mean(x)
    return x * torch.rsqrt(mean(x * x) + of.eps) * of.weight[:, None] + of.bias[:, None]


def heads_of(config: Any, queries: str, keys: str) -> int:
    """The number of heads. Raises: BuildError where keys have fewer: transformers itself reads such weights as if they had not."""
    found = int(getattr(config, queries)), int(getattr(config, keys) or getattr(config, queries))
    if found[0] != found[1]:
        raise BuildError(f"{queries} is {found[0]} and {keys} is {found[1]}; the recipe is for models in which they are equal")
    return found[0]


class SamplesEncoder(nn.Module):
    """Moonshine's: input_values [1, N] -> rows [1, T, D], then keys and values for each layer of the decoder."""

    def __init__(self, model: Any, heads: int, cross_heads: int) -> None:
        super().__init__()
        self.of = model.encoder
        self.cross = nn.ModuleList([CrossAttention(layer.encoder_attn, cross_heads, "o_proj") for layer in model.decoder.layers])
        self.attention = nn.ModuleList([Attention(layer.self_attn, heads, "o_proj") for layer in self.of.layers])

    def forward(self, input_values: Tensor) -> tuple[Tensor, ...]:
        of, gelu = self.of, functional.gelu
        x = whole_norm(torch.tanh(of.conv1(input_values.unsqueeze(1))), of.groupnorm)
        x = gelu(of.conv3(gelu(of.conv2(x)))).transpose(1, 2)
        angles = torch.arange(x.shape[1])[:, None] * of.rotary_emb.inv_freq
        for layer, attention in zip(of.layers, self.attention, strict=True):
            h = layer.input_layernorm(x)
            keys, values = attention.keys(h)
            x = x + attention.attend(rotate(attention.split(attention.q(h)), angles), rotate(keys, angles), values)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        x = of.layer_norm(x)
        return (x, *(part for cross in self.cross for part in cross.keys(x)))


class FramesEncoder(nn.Module):
    """Moonshine streaming's: input_values [1, F * frame] and the place of their first row, first_row [1] -> rows [1, T, D], then keys and
    values for each layer of the decoder.

    A row attends to a few before and behind it, as the configuration says for each layer. So what is given may begin within a sound:
    `left` rows behind its beginning on they are those of the whole, and `right` rows before its end they stay as they are.
    """

    def __init__(self, model: Any, heads: int, cross_heads: int) -> None:
        super().__init__()
        self.of, self.decoder = model.encoder, model.decoder
        self.windows = [tuple(window) for window in model.encoder.config.sliding_windows]
        self.left = EMBEDDED_ROWS + sum(max(0, left - 1) for left, _ in self.windows)
        self.right = sum(max(0, right - 1) for _, right in self.windows)
        self.cross = nn.ModuleList([CrossAttention(layer.encoder_attn, cross_heads, "o_proj") for layer in model.decoder.layers])
        self.attention = nn.ModuleList([Attention(layer.self_attn, heads, "o_proj") for layer in self.of.layers])

    def forward(self, input_values: Tensor, first_row: Tensor) -> tuple[Tensor, ...]:
        x = self.of.embedder(input_values)[0]
        at = torch.arange(x.shape[1])
        distance = at[:, None] - at[None, :]
        masks = {
            window: torch.zeros_like(distance, dtype=torch.float32).masked_fill(
                (distance >= window[0]) | (-distance >= max(window[1], 1)), float("-inf")
            )
            for window in set(self.windows)
        }
        for layer, attention, window in zip(self.of.layers, self.attention, self.windows, strict=True):
            h = layer.input_layernorm(x)
            x = x + attention(h, *attention.keys(h), masks[window])
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        x = self.of.final_norm(x)
        told = self.decoder.proj(x + self.decoder.pos_emb(first_row + at))
        return (x, *(part for cross in self.cross for part in cross.keys(told)))


class RotaryDecoder(Decoder):
    """Of both: input_ids [1, S], then caches as in `export.seq2seq_parts.export_both` -> logits, own keys and
    values, cross-attention of every layer.
    """

    def __init__(self, model: Any, head: nn.Linear, heads: int) -> None:
        super().__init__()
        self.of, self.head, self.heads, self.gated = model.decoder, head, heads, True
        self.own = nn.ModuleList([Attention(layer.self_attn, heads, "o_proj") for layer in self.of.layers])
        self.cross = nn.ModuleList([CrossAttention(layer.encoder_attn, heads, "o_proj") for layer in self.of.layers])

    def forward(self, input_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        before, count = past[0].shape[2], input_ids.shape[1]
        at = torch.arange(count) + before
        x = self.of.embed_tokens(input_ids)
        angles = at[:, None] * self.of.rotary_emb.inv_freq
        mask = causal(before, count, at)
        after, looked = [], []
        for i, layer in enumerate(self.of.layers):
            h, own = layer.input_layernorm(x), self.own[i]
            keys, values = own.keys(h)
            keys, values = torch.cat((past[4 * i], rotate(keys, angles)), dim=2), torch.cat((past[4 * i + 1], values), dim=2)
            after += [keys, values]
            x = x + own.attend(rotate(own.split(own.q(h)), angles), keys, values, mask)
            heard, weights = self.cross[i](layer.post_attention_layernorm(x), past[4 * i + 2], past[4 * i + 3])
            x = x + heard
            looked.append(weights)
            x = x + layer.mlp(layer.final_layernorm(x))
        return (self.head(self.of.norm(x)), *after, *looked)

    def tensors(self) -> dict[str, np.ndarray]:
        """Raises: BuildError for an activation that the runtime does not have."""
        from transformers.activations import ACT2FN

        of, found = self.of, {"rope_freqs.weight": array(self.of.rotary_emb.inv_freq[None])}
        for i, each in enumerate(of.layers):
            if not isinstance(each.mlp.activation_fn, type(ACT2FN["silu"])):
                raise BuildError(f"layer {i}: its activation is not SiLU; build it with --target jetson, whose decoder is ONNX")
            norms = each.input_layernorm, each.post_attention_layernorm, each.final_layernorm
            found |= layer_of(i, self.own[i], self.cross[i], norms, each.mlp.fc1, each.mlp.fc2)
        return found | vocabulary(of.embed_tokens, self.head, of.norm)
