"""Towers of audio language models with their projectors, as graphs for mels of any length: the same rows without the reference's masks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edge.whole import MARGIN
from export.seq2seq_parts import Attention


class TowerGraph(nn.Module):
    """input_features [1, bands, F + 4] -> vectors [1, T, D], T = ((F - 1) // 2 + 1) // 2.

    The last four frames give no rows; see edge.whole.
    """

    def __init__(self, tower: Any, projector: nn.Module) -> None:
        super().__init__()
        self.of, self.projector = tower, projector
        self.attention = nn.ModuleList([Attention(layer.self_attn) for layer in tower.layers])

    def forward(self, input_features: Tensor) -> Tensor:
        x = self.layers(self.frames(input_features)[:, : -MARGIN // 2])
        return self.projected(self.of.layer_norm(self.of.avg_pooler(x.transpose(1, 2)).transpose(1, 2)))

    def frames(self, input_features: Tensor) -> Tensor:
        """What the two convolutions make of the mels, [1, F / 2, width]."""
        gelu = nn.functional.gelu
        frames: Tensor = gelu(self.of.conv2(gelu(self.of.conv1(input_features)))).transpose(1, 2)
        return frames

    def layers(self, x: Tensor) -> Tensor:
        x = x + self.of.embed_positions.weight[: x.shape[1]]
        for layer, attention in zip(self.of.layers, self.attention, strict=True):
            h = layer.self_attn_layer_norm(x)
            x = x + attention(h, *attention.keys(h))
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        return x

    def projected(self, x: Tensor) -> Tensor:
        rows: Tensor = self.projector(x)
        return rows


class StackedTower(TowerGraph):
    """Voxtral: input_features [1, bands, 3000], a window that is always full -> vectors [1, 375, D]; four frames become one row."""

    def forward(self, input_features: Tensor) -> Tensor:
        x = self.of.layer_norm(self.layers(self.frames(input_features)))
        width = self.projector.linear_1.in_features
        return self.projected(x.reshape(1, -1, width))


class TimedTower(TowerGraph):
    """Music Flamingo: input_features as TowerGraph, window [1], its number in the turn; rows are turned by the time that they stand for.

    `angles` holds what the reference's rotary module computes for the first window: the angle of each row's place in the window.
    """

    ROWS = 750

    def __init__(self, tower: Any, projector: nn.Module, rotary: Any) -> None:
        super().__init__(tower, projector)
        self.step = rotary.config.audio_frame_step * 4
        self.longest = float(rotary.max_seq_len_cached)
        self.register_buffer("frequencies", rotary.inv_freq.clone().to(torch.float32))
        self.register_buffer("angles", rotary.position_angles[: self.ROWS].clone().to(torch.float32))

    def forward(self, input_features: Tensor, window: Tensor) -> Tensor:
        x = self.layers(self.frames(input_features)[:, : -MARGIN // 2])
        x = self.of.layer_norm(self.of.avg_pooler(x.transpose(1, 2)).transpose(1, 2))
        count = x.shape[1]
        place = torch.repeat_interleave(window / self.longest * self.frequencies, 2)[None].expand(count, -1)
        seconds = window * self.ROWS * self.step + torch.arange(count) * self.step
        # In the reference's order: at 700 rad a float's last place is 6e-5.
        turned = torch.cat((place, self.angles[:count]), dim=1) * (-seconds * 2 * math.pi)[:, None]
        size = turned.shape[1]
        even, odd = x[..., :size].unflatten(2, (-1, 2)).unbind(dim=3)
        half = torch.stack((-odd, even), dim=3).flatten(2)
        rotated = x[..., :size] * turned.cos() + half * turned.sin()
        return self.projected(torch.cat((rotated, x[..., size:]), dim=2))
