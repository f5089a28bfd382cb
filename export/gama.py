"""GAMA's architecture (Ghosh et al. 2024) in torch: AST, an aggregator of its layers, a Q-Former, and a Llama behind them.

Our own small implementation of what the paper and the published code describe; parts carry the names of the published checkpoint, so that
its tensors find their places. Rows for the language model: those of the Q-Former's queries, then one for each 160 ms from the aggregator.

The published code computes the aggregator's cross-attention and throws the result away (its feed-forward part reads the self-attention).
`aggregator_cross_attention` in config.json says which is meant; the paper's way is usual, the published weights were trained with false.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BERT_EPS = 1e-12
FEATURE_SCALE = 1 / 50


@dataclass(frozen=True, slots=True)
class GamaShape:
    """Sizes. width: of AST, aggregator and Q-Former; specific: layers with norms of their own before those that were shared with images."""

    width: int = 768
    heads: int = 12
    layers: int = 12
    specific: int = 11
    hidden: int = 3072
    bands: int = 128
    frames: int = 1024
    patch: int = 16
    queries: int = 32
    qformer_layers: int = 12
    cross_every: int = 2
    aggregator_cross_attention: bool = True
    output: int = 4096

    @staticmethod
    def of(config: dict[str, Any], output: int) -> GamaShape:
        """From `audio_config` of a config.json. Raises: ValueError naming a key that there is not."""
        known = {f.name for f in fields(GamaShape)} - {"output"}
        if unknown := sorted(set(config) - known):
            raise ValueError(f"audio_config has {unknown[0]!r}, which is none of {', '.join(sorted(known))}")
        shape = GamaShape(**config, output=output)
        if shape.width % shape.heads or shape.bands % shape.patch or shape.frames % shape.patch or shape.specific > shape.layers:
            raise ValueError("audio_config: heads must divide width, patch must divide bands and frames, specific is at most layers")
        return shape


class Attention(nn.Module):
    """AST's self-attention; q, k and v are one matrix."""

    def __init__(self, s: GamaShape) -> None:
        super().__init__()
        self.heads = s.heads
        self.qkv, self.proj = nn.Linear(s.width, 3 * s.width), nn.Linear(s.width, s.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found: Tensor = self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return found


class Mlp(nn.Module):
    def __init__(self, s: GamaShape) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(s.width, s.hidden), nn.Linear(s.hidden, s.width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return found


class Block(nn.Module):
    """One layer. shared: it was shared with images and has norms of its own for audio."""

    def __init__(self, s: GamaShape, shared: bool) -> None:
        super().__init__()
        self.attn, self.mlp, self.shared = Attention(s), Mlp(s), shared
        for name in ("norm1_a", "norm2_a") if shared else ("norm1", "norm2"):
            setattr(self, name, nn.LayerNorm(s.width))

    def forward(self, x: Tensor) -> Tensor:
        first, second = (self.norm1_a, self.norm2_a) if self.shared else (self.norm1, self.norm2)
        x = x + self.attn(first(x))
        return x + self.mlp(second(x))


class AudioEncoder(nn.Module):
    """Filter bank [1, frames, bands] -> the last layer and those at two thirds and one third, each [1, frames / patch, width]."""

    def __init__(self, s: GamaShape) -> None:
        super().__init__()
        self.shape = s
        self.patch_embed_a = nn.ModuleDict({"proj": nn.Conv2d(1, s.width, s.patch, s.patch)})
        self.modality_a = nn.Parameter(torch.zeros(1, 1, s.width))
        self.pos_embed_a = nn.Parameter(torch.zeros(1, s.frames // s.patch * (s.bands // s.patch), s.width))
        self.blocks_a = nn.ModuleList([Block(s, False) for _ in range(s.specific)])
        self.blocks_u = nn.ModuleList([Block(s, True) for _ in range(s.layers - s.specific)])
        self.norm_a, self.norm_j, self.norm_k = (nn.LayerNorm(s.width) for _ in range(3))

    def forward(self, bank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.patch_embed_a["proj"](bank.unsqueeze(1).transpose(2, 3)).flatten(2).transpose(1, 2)
        x = x + self.pos_embed_a + self.modality_a
        kept: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks_a):
            kept[index] = x = block(x)
        for block in self.blocks_u:
            x = block(x)
        deep, early = kept[2 * self.shape.layers // 3], kept[self.shape.layers // 3]
        return self._pooled(self.norm_a(x)), self._pooled(self.norm_j(deep)), self._pooled(self.norm_k(early))

    def _pooled(self, x: Tensor) -> Tensor:
        """Mean over the patches of one moment."""
        return x.unflatten(1, (self.shape.bands // self.shape.patch, -1)).mean(dim=1) * FEATURE_SCALE


class BertAttention(nn.Module):
    """BERT's attention with its output and norm behind it; keys and values of `source`, usually its own."""

    def __init__(self, s: GamaShape) -> None:
        super().__init__()
        self.heads = s.heads
        self.self = nn.ModuleDict({name: nn.Linear(s.width, s.width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(s.width, s.width), "LayerNorm": nn.LayerNorm(s.width, BERT_EPS)})

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        given = x if source is None else source
        parts = (self.self["query"](x), self.self["key"](given), self.self["value"](given))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        normed: Tensor = self.output["LayerNorm"](self.output["dense"](found) + x)
        return normed


class BertLayer(nn.Module):
    """Self-attention, attention to the audio where it has some, feed-forward.

    suffix: "_query" for the Q-Former, whose feed-forward part for texts isn't used. discard: what cross-attention finds is thrown away.
    """

    def __init__(self, s: GamaShape, cross: bool, suffix: str, discard: bool = False) -> None:
        super().__init__()
        self.suffix, self.crosses, self.discard = suffix, cross, discard
        self.attention = BertAttention(s)
        if cross:
            self.crossattention = BertAttention(s)
        setattr(self, f"intermediate{suffix}", nn.ModuleDict({"dense": nn.Linear(s.width, s.hidden)}))
        output = nn.ModuleDict({"dense": nn.Linear(s.hidden, s.width), "LayerNorm": nn.LayerNorm(s.width, BERT_EPS)})
        setattr(self, f"output{suffix}", output)

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:
        x = self.attention(x)
        if self.crosses and not self.discard:
            x = self.crossattention(x, audio)
        inner = getattr(self, f"intermediate{self.suffix}")["dense"]
        output = getattr(self, f"output{self.suffix}")
        found: Tensor = output["LayerNorm"](output["dense"](functional.gelu(inner(x))) + x)
        return found


class QFormer(nn.Module):
    """Queries [1, Q, width] and audio [1, T, width] -> [1, Q, width] (Li et al. 2023, BLIP-2)."""

    def __init__(self, s: GamaShape) -> None:
        super().__init__()
        layers = nn.ModuleList([BertLayer(s, i % s.cross_every == 0, "_query") for i in range(s.qformer_layers)])
        norm = nn.ModuleDict({"LayerNorm": nn.LayerNorm(s.width, BERT_EPS)})
        self.bert = nn.ModuleDict({"embeddings": norm, "encoder": nn.ModuleDict({"layer": layers})})

    def forward(self, queries: Tensor, audio: Tensor) -> Tensor:
        x: Tensor = self.bert["embeddings"]["LayerNorm"](queries)
        for layer in self.bert["encoder"]["layer"]:
            x = layer(x, audio)
        return x


class GamaTower(nn.Module):
    """Filter bank [1, frames, bands] -> rows [1, queries + frames / patch, output]."""

    def __init__(self, s: GamaShape) -> None:
        super().__init__()
        self.audio_encoder = AudioEncoder(s)
        self.Qformer, self.query_tokens = QFormer(s), nn.Parameter(torch.zeros(1, s.queries, s.width))
        self.qformer_proj_norm = nn.LayerNorm(s.width)
        discard = not s.aggregator_cross_attention
        self.audio_aggregator_layer_1, self.audio_aggregator_layer_2 = (BertLayer(s, True, "", discard) for _ in range(2))
        self.audio_proj_qformer, self.audio_proj_audioenc = (
            nn.Sequential(nn.Linear(s.width, s.output), nn.GELU(), nn.Linear(s.output, s.output)) for _ in range(2)
        )

    def forward(self, bank: Tensor) -> Tensor:
        last, deep, early = self.audio_encoder(bank)
        joined = self.audio_aggregator_layer_2(self.audio_aggregator_layer_1(last, deep), early)
        asked = self.Qformer(self.query_tokens, self.qformer_proj_norm(last))
        rows = [self.audio_proj_qformer(plain_norm(asked)), self.audio_proj_audioenc(plain_norm(joined))]
        return torch.cat(rows, dim=1)


def plain_norm(x: Tensor) -> Tensor:
    """Layer norm without weights."""
    return functional.layer_norm(x, x.shape[-1:])
