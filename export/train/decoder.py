"""The starter's language model in torch: a small Llama (RMSNorm, rotary positions, SwiGLU) and the projector in front of it.

Written so that llama.cpp's `llama` architecture computes the same thing from the same tensors: rotary pairs are adjacent
(2i, 2i+1), so the attention weights need no permutation. Source: Touvron et al. 2023; layout as in llama2.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.train.evidence import WIDTH


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Widths are multiples of 256, or quantization to K types falls back silently."""

    vocabulary: int = 768
    width: int = 256
    hidden: int = 512
    layers: int = 4
    heads: int = 4
    context: int = 256
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


class Projector(nn.Module):
    """Rows of evidence [B, T, WIDTH] -> rows of the prefix [B, T, width]: event tags as a soft prompt (GAMA, Ghosh et al. 2024)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.direct = nn.Linear(WIDTH, width)
        self.inner = nn.Linear(WIDTH, 128)
        self.outer = nn.Linear(128, width)

    def forward(self, evidence: Tensor) -> Tensor:
        return self.direct(evidence) + self.outer(torch.relu(self.inner(evidence)))


def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Rotary positions over [B, heads, T, d], adjacent pairs; positions [B, T]."""
    d = x.shape[3]
    angles = (positions[:, :, None] * base ** (-torch.arange(0, d, 2) / d))[:, None]
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

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        b, t, w = x.shape
        h = self.attn_norm(x)
        q, k, v = (f(h).view(b, t, self.heads, w // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(rotate(q, positions, self.base), rotate(k, positions, self.base), v, attn_mask=mask)
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

    def forward(self, x: Tensor, positions: Tensor | None = None, mask: Tensor | None = None, states: list[Tensor] | None = None) -> Tensor:
        """[B, T, width] embeddings -> logits [B, T, vocabulary]; left to right at 0, 1, … unless a mask [B, 1, T, T] says more.

        states: takes the output of every layer.
        """
        if positions is None:
            positions = torch.arange(x.shape[1])[None]
        if mask is None:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        for layer in self.layers:
            x = layer(x, positions, mask)
            if states is not None:
                states.append(x)
        return functional.linear(self.norm(x), self.embed.weight)
