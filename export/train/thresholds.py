"""Chooses when each label's score is a sound: `auricle-export train thresholds` prints the table that `tracking.py` holds.

Heard are two-sound scenes, clips, repeated events and digits of the validation fold and speaker (under the seed of an exam that is never
reported), and people speaking. Label by label, twice over, the threshold and the length of its mean are taken that serve all of
them best; a third of a threshold's worth is that of its neighbours, so that a plateau wins over a peak. How much is told late is
reported only: to count it against them (tried with 0.4 of its share) cost a point of scenes and brought a point of lateness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.evaluate.exam import Exam
from export.train.labels import COUNTED, STARTER_LABELS
from export.train.measure import clip_logits
from export.train.tracking import BRIDGE_S, DEFAULT
from export.train.truth import ROW_SAMPLES

if TYPE_CHECKING:
    from export.train.model import Encoder

Floats = NDArray[np.float64]
NAMED = tuple(label for label in STARTER_LABELS if label != "Noise")
SEED = 11
ON = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MEANS = (5, 8, 10, 12)
SPEECH_MEANS = (5,)
"""A digit lasts 0.3 s."""
MOST = {"Smoke detector, smoke alarm": 0.6}
"""Highest threshold of what must not be told late."""
ROUNDS = 2
ROW_S = 0.04
LATE_S = 1.0
"""A sound is to be told within this of its onset."""
NEVER = np.inf


def tracked(scores: Floats, on: float, off: float, mean: int, bridge_s: float) -> tuple[Floats, Floats, Floats]:
    """`edge.sounds.SoundTracker` on N streams at once: scores [N, R] of one label, NaN behind a stream's end.

    Returns: for each stream the row where its first sound begins (inf for none), the row in which its last one ends (-1), and the row whose
    coming lets the first be told (inf).
    """
    n, rows = scores.shape
    total = np.concatenate((np.zeros((n, 1)), np.cumsum(np.nan_to_num(scores), axis=1)), axis=1)
    active, gap, begun = np.zeros(n, bool), np.zeros(n), np.zeros(n, int)
    rise, first, last, told = np.full(n, NEVER), np.full(n, NEVER), np.full(n, -1.0), np.full(n, NEVER)
    for row in range(rows):
        width = np.minimum(row + 1 - begun, mean)  # the mean begins anew behind every sound
        smooth = (total[:, row + 1] - total[np.arange(n), row + 1 - width]) / width
        there = ~np.isnan(scores[:, row])
        above = (smooth >= off) & there
        middle = row - (width - 1) // 2
        rise = np.where(above, np.where(np.isinf(rise), np.maximum(0, middle), rise), np.where(active, rise, NEVER))
        active |= (smooth >= on) & there
        told = np.where(active & np.isinf(first), row, told)
        first = np.where(active & np.isinf(first), rise, first)
        last = np.where(active & above, middle + 1, last)
        gap = np.where(above, 0, gap + 1)
        ended = active & (gap * ROW_S > bridge_s)
        active &= ~ended
        rise, begun = np.where(ended, NEVER, rise), np.where(ended, row + 1, begun)
    return first, last, told


@dataclass(frozen=True, slots=True)
class Heard:
    """Streams of one kind: scores [N, R, labels], the first and the second true label (-1 for none), whether these overlap, and the rows
    [N, 2] of their onsets (inf where nobody asks how late they are told).
    """

    scores: Floats
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    overlap: NDArray[np.bool_]
    onsets: Floats


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the streams: told rightly and with nothing else; with something else; of those with both named, overlap told rightly.

    late: of the sounds that are named, told later than LATE_S.
    """

    right: float
    invented: float
    overlap: float
    late: float


class Tally:
    """What a table of thresholds makes of the streams; one label's column can be exchanged."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self._first = np.full((len(heard.first), len(NAMED)), NEVER)
        self._last = np.full((len(heard.first), len(NAMED)), -1.0)
        self._told = np.full((len(heard.first), len(NAMED)), NEVER)

    def put(self, label: str, on: float, mean: int) -> None:
        column, scores = NAMED.index(label), self.heard.scores[:, :, STARTER_LABELS.index(label)]
        found = tracked(scores, on, off_of(on), mean, bridge_of(label))
        self._first[:, column], self._last[:, column], self._told[:, column] = found

    def shares(self) -> Shares:
        heard, row = self.heard, np.arange(len(self.heard.first))
        two = heard.second >= 0
        a, b = self._first[row, heard.first], np.where(two, self._first[row, heard.second], NEVER)
        named = np.isfinite(a) & (~two | np.isfinite(b))
        others = np.isfinite(self._first).sum(axis=1) - np.isfinite(a) - np.isfinite(b)
        right = named & (others == 0) & (~two | (a < b))
        together = (b < self._last[row, heard.first]) == heard.overlap
        both = named & two
        told = np.stack((self._told[row, heard.first], np.where(two, self._told[row, heard.second], NEVER)), axis=1)
        heard_of = np.isfinite(told) & np.isfinite(heard.onsets)
        late = heard_of & ((told + 1 - np.where(heard_of, heard.onsets, 0)) * ROW_S > LATE_S)
        told_rightly = (both & together).sum() / max(1, both.sum())
        shares = right.mean(), (others > 0).mean(), told_rightly, late.sum() / max(1, heard_of.sum())
        return Shares(*map(float, shares))


def off_of(on: float) -> float:
    return round(on / 2, 2)


def bridge_of(label: str) -> float:
    return float(BRIDGE_S.get(label, DEFAULT["bridge_s"]))


def heard(encoder: Encoder, items: Iterable[tuple[NDArray[np.float32], Sequence[str], bool, Sequence[int]]]) -> Heard:
    """items: samples, true labels in order of onset (one or two), whether they overlap, onsets in samples where lateness is asked for."""
    scores, truths, onsets = [], [], []
    for samples, labels, overlap, begun in items:
        onsets.append([at / ROW_SAMPLES for at in begun] + [NEVER] * (2 - len(begun)))
        scores.append(torch.sigmoid(clip_logits(encoder, samples)[0]).numpy().astype(np.float64))
        truths.append((NAMED.index(labels[0]), NAMED.index(labels[1]) if len(labels) > 1 else -1, overlap))
    longest = max(map(len, scores))
    held = np.stack([np.pad(s, ((0, longest - len(s)), (0, 0)), constant_values=np.nan) for s in scores])
    first, second, together = (np.array(column) for column in zip(*truths, strict=True))
    return Heard(held, first, second, together, np.array(onsets))


def material(encoder: Encoder, exam: Exam, voices: Sequence[NDArray[np.float32]]) -> dict[str, Heard]:
    """Everything that thresholds are chosen on. voices: people speaking, 150 stretches of ten seconds are made of them."""
    scenes = (exam.two_sound(index) for index in range(exam.of(exam.scenes)))
    counted = (exam.counted(label, times, index) for label in COUNTED for times in range(1, 5) for index in range(exam.of(5)))
    rng = np.random.default_rng(SEED)
    return {
        "scenes": heard(
            encoder, ((s.samples, [e.label for e in s.events], s.kind == "overlap", [e.start for e in s.events]) for s in scenes)
        ),
        "clips": heard(encoder, ((clip.samples, [clip.label], False, ()) for clip in exam.clips())),
        "counts": heard(encoder, ((s.samples, [s.events[0].label], False, ()) for s in counted)),
        "digits": heard(encoder, ((exam.digit(k).samples, ["Speech"], False, ()) for k in range(0, len(exam.digits), 2))),
        "speech": heard(encoder, ((_talk(rng, voices), ["Speech"], False, ()) for _ in range(exam.of(150)))),
    }


def _talk(rng: np.random.Generator, voices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    parts = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    while sum(map(len, parts)) < 10 * SAMPLE_RATE:
        voice = voices[int(rng.integers(len(voices)))] * np.float32(10 ** (rng.uniform(-12, 0) / 20))
        parts += [voice, np.zeros(int(rng.uniform(0.1, 0.6) * SAMPLE_RATE), np.float32)]
    x = np.concatenate(parts)
    return (x + rng.normal(0, 10 ** (rng.uniform(-70, -50) / 20), len(x))).astype(np.float32)


def worth(found: dict[str, Shares]) -> float:
    """What is sought: scenes first; a sound that is not there costs more than one that is missed."""
    scenes = found["scenes"]
    others = sum(found[name].right for name in found if name != "scenes")
    return scenes.right + 0.15 * scenes.overlap - 0.6 * scenes.invented + 0.3 * others


def choose(streams: dict[str, Heard], begin: dict[str, tuple[float, int]], tell: Callable[[str], None]) -> dict[str, tuple[float, int]]:
    """begin: label -> threshold and rows of the mean to start from. Returns the chosen ones."""
    tallies, table = {name: Tally(held) for name, held in streams.items()}, dict(begin)

    def value(label: str, on: float, mean: int) -> float:
        for tally in tallies.values():
            tally.put(label, on, mean)
        return worth({name: tally.shares() for name, tally in tallies.items()})

    for label, (on, mean) in table.items():
        value(label, on, mean)
    for number in range(ROUNDS):
        for label in table:
            means = SPEECH_MEANS if label == "Speech" else MEANS
            ons = [on for on in ON if on <= MOST.get(label, max(ON))]
            found = {(on, mean): value(label, on, mean) for on in ons for mean in means}
            table[label] = max(found, key=lambda key: _plateau(found, *key))
            value(label, *table[label])
        shares = {name: tally.shares() for name, tally in tallies.items()}
        tell(
            f"round {number + 1}: "
            + ", ".join(f"{name} right {s.right:.3f} invented {s.invented:.3f} late {s.late:.3f}" for name, s in shares.items())
        )
    return table


def _plateau(found: dict[tuple[float, int], float], on: float, mean: int) -> float:
    at = ON.index(on)
    beside = [found[ON[k], mean] for k in (at - 1, at + 1) if 0 <= k < len(ON) and (ON[k], mean) in found]
    return found[on, mean] * 2 / 3 + sum(beside) / len(beside) / 3
