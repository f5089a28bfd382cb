"""What the language model is given of the encoder's scores: the decisions of the runtime's own sound tracker, made inside the model.

Scores of each 40 ms pass through the same moving mean, thresholds and bridge as in `edge.sounds.SoundTracker`; a row of evidence sums
up 320 ms: which sounds began (and how long ago they had begun to rise), which go on, which ended, how many single events, which word
was said, how loud it was, and where in the turn this is. So captions rest on what the sound records tell, nothing can be
learnt by heart, and position in time reaches the language model. State is carried from chunk to chunk like the encoder's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED, STARTER_LABELS, WORDS

ROWS = 8
"""Rows of scores (40 ms) in one row of evidence (320 ms)."""
ROW_SAMPLES = 640
LEVELS_DB = torch.arange(-60.0, 40.0, 4.0)
"""Centres of the level's bins: mel energies of a full-scale sine lie near +30 dB."""
TIMES = 8
ONSET_ON, WORD_ON = 0.5, 0.5
L, C, W = len(STARTER_LABELS), len(COUNTED), len(WORDS)
WIDTH = 5 * L + C + W + len(LEVELS_DB) + 1 + 2 * TIMES


class Marks(NamedTuple):
    """Decisions row by row: began, age (rows since it began to rise), active, above, ended float32[B, R, L]; onsets [B, R, C]; words.

    level_db float32[B, R / 8]: of each chunk.
    """

    began: Tensor
    age: Tensor
    active: Tensor
    above: Tensor
    ended: Tensor
    onsets: Tensor
    words: Tensor
    level_db: Tensor


class Evidence(nn.Module):
    """Scores and log-mels -> rows of evidence [B, T, WIDTH].

    sounds: the manifest's table of thresholds. onset_on, word_on: probability from which an onset or a word counts.
    """

    def __init__(self, sounds: Mapping[str, Any]) -> None:
        super().__init__()
        options = [sounds["default"] | sounds["labels"].get(label, {}) for label in STARTER_LABELS]
        self.longest = max(o["smooth_rows"] for o in options)
        kernel = torch.zeros(self.longest, L)
        for i, o in enumerate(options):
            kernel[: o["smooth_rows"], i] = 1.0
        self.register_buffer("kernel", kernel)
        self.register_buffer("on", torch.tensor([float(o["on"]) for o in options]))
        self.register_buffer("off", torch.tensor([float(o["off"]) for o in options]))
        self.register_buffer("bridge", torch.tensor([o["bridge_s"] * SAMPLE_RATE / ROW_SAMPLES for o in options]))
        self.register_buffer("lag", torch.tensor([float((o["smooth_rows"] - 1) // 2) for o in options]))

    def state(self, batch: int) -> Tensor:
        """The state before the first row, [B, S]: recent scores, tracks, onsets, words, chunks so far."""
        return torch.zeros(batch, (self.longest - 1) * L + 3 * L + C + W + 1)

    def forward(self, labels: Tensor, onsets: Tensor, words: Tensor, mels: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, R, …] and log-mels [B, 4 R, bands] -> evidence [B, R / 8, WIDTH], state."""
        marks, chunk, state = self.marks(labels, onsets, words, mels, state)
        b, rows = labels.shape[:2]

        def grouped(x: Tensor) -> Tensor:
            return x.reshape(b, rows // ROWS, ROWS, x.shape[2])

        began = grouped(marks.began)
        left = torch.arange(ROWS - 1.0, -1.0, -1.0)[None, None, :, None]  # rows from here to the end of the chunk
        age = ((grouped(marks.age) + left) * began).sum(dim=2) / 32.0
        level = marks.level_db.unsqueeze(2)
        bins = torch.relu(1.0 - (level - LEVELS_DB).abs() / 4.0)
        angles = chunk.unsqueeze(2) * (3.14159265 / 2.0 ** torch.arange(1, TIMES + 1))
        parts = [
            began.sum(dim=2),
            age,
            grouped(marks.active)[:, :, -1],
            grouped(marks.above)[:, :, -1],
            grouped(marks.ended).sum(dim=2),
            grouped(marks.onsets).sum(dim=2),
            grouped(marks.words).sum(dim=2),
            bins,
            level / 40.0,
            torch.sin(angles),
            torch.cos(angles),
        ]
        return torch.cat(parts, dim=2), state

    def marks(self, labels: Tensor, onsets: Tensor, words: Tensor, mels: Tensor, state: Tensor) -> tuple[Marks, Tensor, Tensor]:
        """The decisions, the number of each chunk [B, R / 8], and the next state."""
        b, rows, _ = labels.shape
        keep = (self.longest - 1) * L
        recent, rise, gap, active, onset, word, chunks = state.split([keep, L, L, L, C, W, 1], dim=1)
        scores = torch.cat((recent.reshape(b, self.longest - 1, L), torch.sigmoid(labels)), dim=1)
        heard = torch.arange(1.0, rows + 1)[None, :, None] + chunks.unsqueeze(2) * ROWS
        width = torch.minimum(heard, self.kernel.sum(dim=0))  # a turn's first rows have less behind them
        total = sum(
            (self.kernel[i] * scores[:, self.longest - 1 - i : self.longest - 1 - i + rows] for i in range(1, self.longest)), torch.zeros(1)
        )
        smooth = (total + self.kernel[0] * scores[:, self.longest - 1 :]) / width
        above_all, on_all = (smooth >= self.off).float(), (smooth >= self.on).float()
        found: list[list[Tensor]] = [[], [], [], []]
        for t in range(rows):
            above, on = above_all[:, t], on_all[:, t]
            rise = (rise + 1) * torch.maximum(above, active)
            gap = (gap + 1) * (1 - above)
            began = on * (1 - active)
            active = torch.maximum(active, on)
            ended = active * (gap > self.bridge).float()
            active = active - ended
            for kept, value in zip(found, (began, rise + self.lag, active, ended), strict=True):
                kept.append(value)
            rise = rise * (1 - ended)
        onset_now = (torch.sigmoid(onsets) >= ONSET_ON).float()
        onset_before = torch.cat((onset.unsqueeze(1), onset_now[:, :-1]), dim=1)
        word_p = torch.cat((torch.zeros_like(words[:, :, :1]), words), dim=2).softmax(dim=2)[:, :, 1:]
        word_now = (word_p >= WORD_ON).float()
        word_before = torch.cat((word.unsqueeze(1), word_now[:, :-1]), dim=1)
        level = 4.342945 * torch.log(torch.exp(mels).sum(dim=2).reshape(b, rows // ROWS, -1).mean(dim=2) + 1e-10)
        marks = Marks(
            *(torch.stack(found[i], dim=1) for i in (0, 1, 2)),
            above_all,
            torch.stack(found[3], dim=1),
            onset_now * (1 - onset_before),
            word_now * (1 - word_before),
            level,
        )
        chunk = chunks + torch.arange(0.0, rows // ROWS)[None, :]
        after = [scores[:, rows:].reshape(b, keep), rise, gap, active, onset_now[:, -1], word_now[:, -1], chunks + rows // ROWS]
        return marks, chunk, torch.cat(after, dim=1)
