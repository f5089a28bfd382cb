"""What can be heard of several sources at once: lanes mixed over a background, and the truth of it in events and in rows of 40 ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from export.train import synth
from export.train.labels import COUNTED, DIGITS, STARTER_LABELS, WORDS

Rng = np.random.Generator
Samples = NDArray[np.float32]
Truth = NDArray[np.uint8]
SCENE_SAMPLES = 512 * 160 + 240
"""A scene yields exactly 512 log-mel frames (5.12 s)."""
ROW_SAMPLES = 640
ROWS = 128
UNSURE = 255
"""Truth value of a row where a sound is there but masked: neither taught nor punished."""
FAINT = 0.03
"""Share of a row's energy up to which a sound in it is masked."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One source of sound in a scene. samples float32[n] begin at `start`. Positions below count from the lane's first sample.

    onsets: where single events of a counted sound begin. words: (word, start, stop) said alone. digits_unknown: words may be digits.
    doubtful: labels for which its rows are not judged.
    """

    label: str
    samples: Samples
    onsets: tuple[int, ...] = ()
    words: tuple[tuple[str, int, int], ...] = ()
    digits_unknown: bool = False
    start: int = 0
    doubtful: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """What sounded: [start, stop) in samples of the scene, how many single events (0: not counted), words, dBFS of its loudest row."""

    label: str
    start: int
    stop: int
    count: int
    words: tuple[str, ...]
    dbfs: float


@dataclass(frozen=True, slots=True)
class Scene:
    """samples float32[SCENE_SAMPLES]; events in order of onset.

    Rows of 40 ms, 0 absent, 1 present, 255 not to be judged: truth uint8[128, L] labels, onsets uint8[128, C], words uint8[128, W].
    """

    samples: Samples
    events: tuple[Event, ...]
    truth: Truth
    onsets: Truth
    words: Truth


def row_energy(x: Samples) -> NDArray[np.float64]:
    """Mean square of each row of SCENE_SAMPLES samples, never 0."""
    rows = x[: ROWS * ROW_SAMPLES].reshape(ROWS, ROW_SAMPLES).astype(np.float64)
    return np.mean(rows * rows, axis=1) + 1e-12


def _active(energy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows within 35 dB of the event's loudest row; holes up to 0.28 s belong to the sound (a tick's or bark's pauses do not end it)."""
    on = energy > max(float(energy.max()) * 10**-3.5, 1e-9)
    where = np.flatnonzero(on)
    for a, b in pairwise(where):
        if b - a <= 7:
            on[a:b] = True
    return on


def mix(rng: Rng, lanes: Sequence[Lane], babble: Samples | None = None, bed: Samples | None = None) -> Scene:
    """Lanes of SCENE_SAMPLES each, added over a background at random gains, with the truth of what can be heard.

    bed: a recording as long, which is the background instead of noise.
    """
    gain = np.float32(10 ** (rng.uniform(-42, -4) / 20))
    background = np.zeros(SCENE_SAMPLES, np.float32)
    if bed is not None:
        background = bed * np.float32(10 ** (rng.uniform(-45, -6) / 20) / max(float(np.sqrt(np.mean(bed**2))), 1e-6))
    elif rng.random() < 0.75:
        name = str(rng.choice(["white", "pink", "brown"]))
        background = synth.noise(rng, SCENE_SAMPLES, name).astype(np.float32)
        background *= np.float32(10 ** (rng.uniform(-50, -8 if lanes else 0) / 20) / max(float(np.sqrt(np.mean(background**2))), 1e-6))
    if babble is not None:
        background += babble * np.float32(10 ** (rng.uniform(-45, -18) / 20))
    total = background + sum((lane.samples for lane in lanes), np.zeros(SCENE_SAMPLES, np.float32))
    return Scene(np.clip(total * gain, -1.0, 1.0).astype(np.float32), *_truths(lanes, total, background, float(gain), bed is None))


def _truths(
    lanes: Sequence[Lane], total: Samples, background: Samples, gain: float, noise: bool
) -> tuple[tuple[Event, ...], Truth, Truth, Truth]:
    """noise: whether the background is nothing else."""
    truth = np.zeros((ROWS, len(STARTER_LABELS)), np.uint8)
    onsets, words = np.zeros((ROWS, len(COUNTED)), np.uint8), np.zeros((ROWS, len(WORDS)), np.uint8)
    energy_total = row_energy(total)
    events = []
    for lane in lanes:
        energy = row_energy(lane.samples)
        on = _active(energy)
        for label in lane.doubtful:
            column = truth[:, STARTER_LABELS.index(label)]
            column[on & (column == 0)] = UNSURE
        if lane.label not in STARTER_LABELS:
            continue
        column = truth[:, STARTER_LABELS.index(lane.label)]
        share = energy / energy_total
        column[on] = np.where(share[on] > FAINT, 1, np.where(column[on] == 1, 1, UNSURE))
        rows = np.flatnonzero(on)
        starts = [lane.start + at for at in lane.onsets if lane.start + at < SCENE_SAMPLES]
        said = [(w, lane.start + a, lane.start + b) for w, a, b in lane.words if lane.start + b < SCENE_SAMPLES]
        if len(rows):
            level = 10 * np.log10(energy.max() * gain * gain)
            first, last = int(rows[0]) * ROW_SAMPLES, (int(rows[-1]) + 1) * ROW_SAMPLES
            events.append(Event(lane.label, first, last, len(starts), tuple(w for w, _, _ in said), float(level)))
        if lane.label in COUNTED:
            _mark_onsets(onsets[:, COUNTED.index(lane.label)], starts, share)
        if lane.label == "Speech":
            _mark_words(words, lane, said, share)
    # Background noise that nothing covers is noise, whether or not anybody put it there as an event.
    column = truth[:, STARTER_LABELS.index("Noise")]
    alone = row_energy(background) / energy_total > 0.5
    column[alone & (column == 0)] = 1 if noise and not lanes else UNSURE
    return tuple(sorted(events, key=lambda event: event.start)), truth, onsets, words


def _mark_onsets(column: Truth, starts: Sequence[int], share: NDArray[np.float64]) -> None:
    """Two rows, 80 to 160 ms behind each onset: a causal encoder must have heard something of it. The rows beside them are not judged."""
    for start in starts:
        row = start // ROW_SAMPLES
        sure = share[row : row + 4].max(initial=0) > 0.1
        around = column[row + 1 : row + 6]
        around[around == 0] = UNSURE
        column[row + 2 : row + 4] = 1 if sure else UNSURE
    for first, second in pairwise(sorted(starts)):
        if 4 <= (second - first) // ROW_SAMPLES <= 6:  # at least one row between two onsets says "not now"
            column[second // ROW_SAMPLES + 1 : second // ROW_SAMPLES + 2] = 0


def _mark_words(words: Truth, lane: Lane, said: Sequence[tuple[str, int, int]], share: NDArray[np.float64]) -> None:
    """A word is spotted where it ends: from 80 ms before its end to 120 ms behind it. Its other rows are not judged for it."""
    if lane.digits_unknown:
        words[:, : len(DIGITS)] = UNSURE
    for word, start, stop in said:
        column = words[:, WORDS.index(word)]
        first, last = start // ROW_SAMPLES, stop // ROW_SAMPLES
        clear = share[first : last + 1].max(initial=0) > 0.3
        column[first : last + 6] = np.where(column[first : last + 6] == 1, 1, UNSURE)
        column[max(first, last - 2) : last + 3] = 1 if clear else UNSURE
