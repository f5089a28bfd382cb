"""The starter's encoder: a causal depthwise-separable network over log-mels that carries its state from chunk to chunk.

Every convolution looks only backwards in time and takes the few columns before its input as an explicit cache, so that
encoding a stream in chunks of 32 frames (320 ms) is the same computation as encoding it at once. Shapes are noted as
[batch, channels, time, mel].

Source of the blocks: depthwise-separable convolution, Howard et al. 2017 (MobileNets); causal dilated stack, Bai et al. 2018 (TCN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.train.labels import COUNTED, STARTER_LABELS, WORDS

CHUNK_FRAMES = 32
"""Log-mel frames in one chunk: 32 hops of 10 ms."""
ROW_FRAMES = 4
"""Log-mel frames in one row of scores: 40 ms."""
BANDS = 64
TEACHER_CLASSES = 521


class Causal2d(nn.Module):
    """Convolution over [B, C, T, M] that reads `kernel - stride` earlier columns from a cache."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=(0, 1), groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.keep = 3 - stride[0]

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat((cache, x), dim=2)
        return torch.relu(self.norm(self.conv(x))), x[:, :, x.shape[2] - self.keep :]


class Separable(nn.Module):
    """Depthwise 3x3 and pointwise convolution, with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.depthwise = Causal2d(inputs, inputs, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = inputs == outputs and stride == (1, 1)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        y, cache = self.depthwise(x, cache)
        y = self.norm(self.pointwise(y))
        return torch.relu(y + x if self.shortcut else y), cache


class Dilated(nn.Module):
    """One residual step of the temporal stack over [B, C, T]: depthwise kernel 5, then pointwise."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.keep = 4 * dilation
        self.depthwise = nn.Conv1d(width, width, 5, dilation=dilation, groups=width, bias=False)
        self.norm1 = nn.BatchNorm1d(width)
        self.pointwise = nn.Conv1d(width, width, 1, bias=False)
        self.norm2 = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        padded = torch.cat((cache, x), dim=2)
        y = torch.relu(self.norm1(self.depthwise(padded)))
        y = self.dropout(self.norm2(self.pointwise(y)))
        return torch.relu(x + y), padded[:, :, padded.shape[2] - self.keep :]


class Heard(NamedTuple):
    """Logits for each row of 40 ms: labels [B, T / 4, L], onsets of counted sounds [B, T / 4, C], words [B, T / 4, W].

    teacher [B, T / 32, 521] for each chunk.
    """

    labels: Tensor
    onsets: Tensor
    words: Tensor
    teacher: Tensor
    caches: list[Tensor]


class Shape(NamedTuple):
    """How large an encoder is. stem: channels of the first convolution, which halves time and mel. blocks: channels and stride (time, mel)
    of each separable block; time is halved once among them. width: channels of the temporal stack, with one step for each dilation.
    levels: its steps that the heads read, for an onset is a matter of 0.2 s, rain one of seconds (multi-layer features as in GAMA).
    """

    stem: int = 32
    blocks: tuple[tuple[int, tuple[int, int]], ...] = (
        *((64, (1, 2)), (128, (2, 2)), (128, (1, 1))),
        *((256, (1, 2)), (256, (1, 1)), (256, (1, 1))),
    )
    width: int = 384
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 4)
    levels: tuple[int, ...] = (0, 2, 5)


class Encoder(nn.Module):
    """Log-mels [B, T, 64] (T a multiple of 32) to logits, with a training-only head that imitates the teacher.

    mean, scale: the log-mel is used as (x - mean) * scale, stored with the weights.
    """

    def __init__(self, width: int = 0, shape: Shape | None = None) -> None:
        """shape: of the network. width: another than the shape's, for small instances in tests."""
        super().__init__()
        shape = shape or Shape()
        width = width or shape.width
        self.register_buffer("mean", torch.tensor(-8.0))
        self.register_buffer("scale", torch.tensor(0.2))
        self.stem = Causal2d(1, shape.stem, (2, 2))
        inputs = [shape.stem, *(channels for channels, _ in shape.blocks)]
        self.blocks = nn.ModuleList([Separable(n, *block) for n, block in zip(inputs, shape.blocks, strict=False)])
        bands = BANDS // 2
        self.cached = [(1, 1, BANDS)]
        """Channels, columns and bands that each convolution keeps of its input."""
        for n, (_, stride) in zip(inputs, shape.blocks, strict=False):
            self.cached.append((n, 3 - stride[0], bands))
            bands //= stride[1]
        self.flatten = nn.Conv1d(inputs[-1] * bands, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.temporal = nn.ModuleList([Dilated(width, d) for d in shape.dilations])
        self.dropout = nn.Dropout(0.2)
        self.levels = shape.levels
        self.heads = nn.Conv1d(width * len(shape.levels), len(STARTER_LABELS) + len(COUNTED) + len(WORDS), 1)
        self.teacher = nn.Linear(width, TEACHER_CLASSES)

    def caches(self, batch: int) -> list[Tensor]:
        """The state before the first sample: zeros."""
        state = [self.mean.new_zeros(batch, *shape) for shape in self.cached]
        width = self.flatten.out_channels
        return state + [self.mean.new_zeros(batch, width, step.keep) for step in self.temporal]

    def features(self, mels: Tensor, caches: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """[B, T, 64] -> [B, 3 width, T / 4] (one width for each of the levels) and the state after it."""
        x = ((mels - self.mean) * self.scale).unsqueeze(1)
        after = []
        for step, cache in zip([self.stem, *self.blocks], caches, strict=False):
            x, cache = step(x, cache)
            after.append(cache)
        x = x.permute(0, 1, 3, 2).flatten(1, 2)
        x = torch.relu(self.norm(self.flatten(x)))
        levels = []
        for index, (step, cache) in enumerate(zip(self.temporal, caches[len(after) :], strict=True)):
            x, cache = step(x, cache)
            after.append(cache)
            if index in self.levels:
                levels.append(x)
        return torch.cat(levels, dim=1), after

    def logits(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features -> labels, onsets and words, each [B, T / 4, …]."""
        labels, onsets, words = self.heads(features).transpose(1, 2).split([len(STARTER_LABELS), len(COUNTED), len(WORDS)], dim=2)
        return labels, onsets, words

    def forward(self, mels: Tensor, caches: list[Tensor] | None = None) -> Heard:
        x, after = self.features(mels, self.caches(len(mels)) if caches is None else caches)
        x = self.dropout(x)
        rows = CHUNK_FRAMES // ROW_FRAMES
        chunks = x[:, -self.flatten.out_channels :].unflatten(2, (-1, rows)).mean(dim=3).transpose(1, 2)
        return Heard(*self.logits(x), self.teacher(chunks), after)


def go_on_from(model: Encoder, weights: Mapping[str, Tensor]) -> None:
    """Takes these weights to go on learning from, without dropout: what is fitted for so short a time has not overfitted."""
    model.load_state_dict(weights)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0


def keep(path: Path, model: Encoder, history: Sequence[Mapping[str, float]], folds: str, rarity: Tensor) -> None:
    """An edition of the encoder as later stages find it. rarity: weights of rare labels."""
    torch.save({"mean_model": model.state_dict(), "history": list(history), "folds": folds, "rarity": rarity}, path)
