"""Parts cut from recordings and laid on a time line over noise; the truth says where each of them sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train import synth
from export.train.events import MERGE_S, instances
from export.train.labels import COUNTED
from export.train.language import Fact

Samples = NDArray[np.float32]
ROW = 640
"""Levels are RMS of rows of 40 ms, as in the training's truth."""
RANGE_DB = 25.0
"""A sound is where its rows lie within this of its loudest."""
BRIDGE_S = {"Tick-tock": 1.3}
"""Pauses up to this long lie inside one sound; 0.6 s as in the runtime for the others. A clock may tick once a second."""
LONGEST_S = 3.0
LEAD_S, TAIL_S = 0.7, 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """One sound, from its first sample to its last. samples: float32[n], loudest row of RMS 1. real: recorded, not synthesised."""

    label: str
    samples: Samples
    real: bool
    count: int = 0
    words: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """Where a sound is in a scene: [start, stop) in samples; dbfs: RMS of its loudest row."""

    label: str
    start: int
    stop: int
    real: bool
    count: int
    words: tuple[str, ...]
    dbfs: float
    source: str


@dataclass(frozen=True, slots=True)
class Scene:
    """samples: float32[n], mono, 16 kHz. events in order of onset. kind: "sequence", "overlap", "count" or "digit"."""

    name: str
    kind: str
    samples: Samples
    events: tuple[Truth, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def origin(self) -> str:
        real = [event.real for event in self.events]
        return "real" if all(real) else "mixed" if any(real) else "synthetic"

    @property
    def recordings(self) -> frozenset[str]:
        """What it was cut from; nothing of what is synthetic."""
        return frozenset(event.source for event in self.events if event.real)

    def facts(self) -> list[Fact]:
        """The truth as what may be said of it."""
        return [Fact(e.label, e.start, e.stop, e.count, e.words, e.dbfs) for e in self.events]


def rows(samples: Samples) -> NDArray[np.float64]:
    """RMS of each row of 40 ms; what is left behind the last counts as a row."""
    padded = np.concatenate([samples, np.zeros(-len(samples) % ROW, np.float32)]).reshape(-1, ROW).astype(np.float64)
    return np.sqrt(np.mean(padded**2, axis=1))


def loudest(samples: Samples) -> float:
    """RMS of the loudest row."""
    return float(rows(samples).max(initial=0.0))


def runs(level: NDArray[np.float64], bridge_rows: float) -> list[tuple[int, int]]:
    """[first, last + 1) of the rows that sound, pauses up to bridge_rows included."""
    on = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (-RANGE_DB / 20))
    found: list[tuple[int, int]] = []
    for row in on.tolist():
        if found and row - found[-1][1] <= bridge_rows:
            found[-1] = (found[-1][0], row + 1)
        else:
            found.append((row, row + 1))
    return found


def cut(rng: np.random.Generator, samples: Samples, label: str, low_s: float, source: str, real: bool) -> Part:
    """An energetic part of low_s to 3 s, or less where the sound is shorter; both ends are in the sound and faded.

    The run of rows with the most energy is taken, and in it one of the windows with at least half of what the best window holds.
    """
    bridge_s = BRIDGE_S.get(label, 0.6)
    low_s = max(low_s, 2.2) if label in BRIDGE_S else low_s
    level = rows(samples)
    energy = level**2
    spans = runs(level, bridge_s * SAMPLE_RATE / ROW)
    if not spans:
        return Part(label, samples[:0], real, 0, (), source)
    first, last = max(spans, key=lambda span: float(energy[span[0] : span[1]].sum()))
    wanted = round(rng.uniform(min(low_s, LONGEST_S), LONGEST_S) * SAMPLE_RATE / ROW)
    if last - first > wanted:
        total = np.concatenate([[0.0], np.cumsum(energy[first:last])])
        held = total[wanted:] - total[:-wanted]
        first += int(rng.choice(np.flatnonzero(held >= held.max() / 2)))
        inner = runs(level[first : first + wanted], bridge_s * SAMPLE_RATE / ROW)
        first, last = first + inner[0][0], first + inner[-1][1]
    part = samples[first * ROW : last * ROW].copy()
    for fade, ramp in ((80, part[:80]), (320, part[::-1][:320])):
        ramp *= np.linspace(0, 1, min(fade, len(part)), dtype=np.float32)
    part /= np.float32(max(loudest(part), 1e-6))
    count = len(instances(part, MERGE_S[label])) if label in COUNTED else 0
    return Part(label, part, real, count, (), source)


def lay(
    rng: np.random.Generator,
    name: str,
    kind: str,
    parts: Sequence[Part],
    starts: Sequence[int],
    levels_db: Sequence[float],
    noise_db: tuple[float, float] = (-45, -30),
    overall_db: tuple[float, float] = (-30, -10),
    lead_s: float = LEAD_S,
) -> Scene:
    """A scene of the parts. starts: samples behind the lead-in. levels_db: of their loudest rows, one against the other.

    noise_db: pink noise below the loudest part. overall_db: level of that part in dBFS; less where samples would leave [-1, 1].
    """
    lead = int(lead_s * SAMPLE_RATE)
    size = lead + max(s + len(p.samples) for s, p in zip(starts, parts, strict=True)) + int(TAIL_S * SAMPLE_RATE)
    top = max(levels_db)
    total = synth.noise(rng, size, "pink").astype(np.float32) * np.float32(10 ** (rng.uniform(*noise_db) / 20))
    for part, start, level in zip(parts, starts, levels_db, strict=True):
        total[lead + start : lead + start + len(part.samples)] += part.samples * np.float32(10 ** ((level - top) / 20))
    gain = min(10 ** (rng.uniform(*overall_db) / 20), 0.98 / float(np.abs(total).max()))
    events = [
        Truth(p.label, lead + s, lead + s + len(p.samples), p.real, p.count, p.words, float(20 * np.log10(gain)) + level - top, p.source)
        for p, s, level in zip(parts, starts, levels_db, strict=True)
    ]
    return Scene(name, kind, (total * np.float32(gain)).astype(np.float32), tuple(sorted(events, key=lambda e: e.start)))
