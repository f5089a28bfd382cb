"""The starter's language model in torch: a small Llama (RMSNorm, rotary positions, SwiGLU) and the projector in front of it.

Written so that llama.cpp's `llama` architecture computes the same thing from the same tensors: rotary pairs are adjacent
(2i, 2i+1), so the attention weights need no permutation. Source: Touvron et al. 2023; layout as in llama2.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

POOL_ROWS = 8
"""Rows of scores (40 ms) in one row of the prefix (320 ms)."""
SMOOTH_ROWS = 10
ON, OFF = 0.5, 0.25
STEEPNESS = 150.0
"""The starter's smoothing and thresholds (export.train.tracking), hardly softened: with 24 instead of 150 the language model named a sound
that had only come close to a threshold in 4 % of 150 turns from scenes that were kept from it, instead of 0.7 %."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Widths are multiples of 256, or quantization to K types falls back silently."""

    vocabulary: int = 512
    width: int = 256
    hidden: int = 512
    layers: int = 3
    heads: int = 4
    context: int = 256
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


class Projector(nn.Module):
    """Logits of the labels [B, 8 T, L] -> rows of the prefix [B, T, width].

    The language model reads evidence, not raw features: of each label how surely its smoothed score stands above the thresholds at
    which a sound begins and ends, as a soft version of event tags (GAMA, Ghosh et al. 2024). So it can't learn the training
    recordings by heart, and what it says is what the sound records say.
    """

    def __init__(self, labels: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(labels * 8, 256)
        self.outer = nn.Linear(256, width)

    def cache(self, batch: int) -> Tensor:
        """The state before the first row: no score yet."""
        return torch.zeros(batch, SMOOTH_ROWS - 1, self.inner.in_features // 8)

    def forward(self, logits: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """cache: the last nine rows of scores [B, 9, L]. Returns rows and the next cache."""
        b, rows, labels = logits.shape
        scores = torch.cat((cache, torch.sigmoid(logits)), dim=1)
        smooth = sum((scores[:, i : i + rows] for i in range(1, SMOOTH_ROWS)), scores[:, :rows]) / SMOOTH_ROWS
        parts = []
        for threshold in (ON, OFF):
            x = torch.sigmoid((smooth - threshold) * STEEPNESS).reshape(b, rows // POOL_ROWS, POOL_ROWS, labels)
            parts += [x.amax(dim=2), x.mean(dim=2), x[:, :, 0], x[:, :, -1]]
        return self.outer(torch.relu(self.inner(torch.cat(parts, dim=2)))), scores[:, rows:]


def rotate(x: Tensor, base: float) -> Tensor:
    """Rotary positions over [B, heads, T, d], adjacent pairs, positions from 0."""
    t, d = x.shape[2], x.shape[3]
    angles = torch.arange(t)[:, None] * base ** (-torch.arange(0, d, 2) / d)
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(3)


class Layer(nn.Module):
    def __init__(self, s: DecoderShape) -> None:
        super().__init__()
        self.heads, self.base = s.heads, s.rope_base
        self.attn_norm = nn.RMSNorm(s.width, eps=s.norm_eps)
        self.q, self.k, self.v, self.o = (nn.Linear(s.width, s.width, bias=False) for _ in range(4))
        self.ffn_norm = nn.RMSNorm(s.width, eps=s.norm_eps)
        self.gate = nn.Linear(s.width, s.hidden, bias=False)
        self.up = nn.Linear(s.width, s.hidden, bias=False)
        self.down = nn.Linear(s.hidden, s.width, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        b, t, w = x.shape
        h = self.attn_norm(x)
        q, k, v = (f(h).view(b, t, self.heads, w // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(rotate(q, self.base), rotate(k, self.base), v, attn_mask=mask)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, w))
        h = self.ffn_norm(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    """Prefix rows and tokens in one sequence; the output embedding is the input embedding."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] embeddings, left to right -> logits [B, T, vocabulary]."""
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        for layer in self.layers:
            x = layer(x, mask)
        return functional.linear(self.norm(x), self.embed.weight)
