"""Scenes with known truth: real and synthetic events on a time line, with gain, overlap, room, colour, speed and background.

A scene is a pure function of its seed and of the sources it may draw from. Its truth has one row for each 40 ms, so that
what the encoder is taught at a row is what sounded there, not what the file was called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train import synth
from export.train.labels import STARTER_LABELS
from export.train.recordings import Recording

SCENE_SAMPLES = 512 * 160 + 240
"""A scene yields exactly 512 log-mel frames (5.12 s)."""
ROW_SAMPLES = 640
ROWS = 128
UNSURE = 255
"""Truth value of a row where a sound is there but masked: neither taught nor punished."""

Rng = np.random.Generator
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """samples float32[SCENE_SAMPLES]; truth uint8[128, L]: 0 absent, 1 present, 255 not to be judged."""

    samples: Samples
    truth: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sources:
    """What scenes are drawn from: recordings by label, and synthesisers by label ("other:…" are never labelled)."""

    recordings: dict[str, list[Recording]]
    synthesisers: dict[str, Callable[[Rng], Samples]]
    speech: Sequence[Samples]
    speech_share: float = 0.1
    """Scenes in which somebody speaks and nothing else has a label, on top of the mixtures."""

    @staticmethod
    def of(recordings: Sequence[Recording], speech: Sequence[Samples], speech_share: float = 0.1) -> Sources:
        by_label: dict[str, list[Recording]] = {}
        for recording in recordings:
            by_label.setdefault(recording.label, []).append(recording)
        return Sources(by_label, dict(synth.SYNTHESISERS), speech, speech_share)


def _spoken(rng: Rng, sources: Sources) -> Samples:
    """Either one synthetic utterance or a few real digits and letters in a row."""
    real = sources.recordings.get("Speech", [])
    if sources.speech and (not real or rng.random() < 0.55):
        return sources.speech[rng.integers(len(sources.speech))]
    parts: list[Samples] = []
    for _ in range(rng.integers(1, 7)):
        parts += [real[rng.integers(len(real))].samples, np.zeros(int(rng.uniform(0.05, 0.5) * SAMPLE_RATE), np.float32)]
    return np.concatenate(parts)


def draw(rng: Rng, sources: Sources, label: str) -> Samples:
    """One event of the label: a recording where there are any (seven times in ten), else synthetic; cut, warped, coloured, in a room."""
    real = sources.recordings.get(label.removeprefix("other:") if label.startswith("other:") else label, [])
    if label == "Speech":
        x = _spoken(rng, sources)
    elif real and (label not in sources.synthesisers or rng.random() < 0.75):
        x = real[rng.integers(len(real))].samples
    elif label in sources.synthesisers:
        x = sources.synthesisers[label](rng)
    else:
        x = sources.recordings[""][rng.integers(len(sources.recordings[""]))].samples
    if len(x) > SAMPLE_RATE and rng.random() < 0.4:  # a part of it, so that no model can learn a recording as a whole
        size = int(rng.uniform(0.5, 1.0) * len(x))
        start = rng.integers(0, len(x) - size + 1)
        x = x[start : start + size]
    if rng.random() < 0.7:
        # Speech is stretched further: slow, sung and childlike vowels were taken for horns and babies.
        x = synth.warp(rng, x, 0.65, 1.45) if label == "Speech" else synth.warp(rng, x)
    if rng.random() < 0.6:
        x = synth.colour(rng, x)
    if rng.random() < 0.35:
        x = synth.room(rng, x)
    return np.ascontiguousarray(x[: SCENE_SAMPLES * 2], np.float32)


def _row_energy(x: Samples) -> NDArray[np.float64]:
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


def _place(rng: Rng, x: Samples, start: int) -> Samples:
    lane = np.zeros(SCENE_SAMPLES, np.float32)
    stop = min(SCENE_SAMPLES, start + len(x))
    lane[start:stop] = x[: stop - start]
    edge = min(80, stop - start)
    lane[start : start + edge] *= np.linspace(0, 1, edge, dtype=np.float32)
    return lane


def _choose(rng: Rng, pool: Sequence[str], count: int) -> list[str]:
    return [str(label) for label in rng.choice(pool, size=count, replace=False)]


def _plan(rng: Rng, sources: Sources) -> list[str]:
    """Which events the scene holds. The shares are the recipe: one real sound, mixtures, distractors, nothing at all."""
    recorded = [label for label in STARTER_LABELS if sources.recordings.get(label)]
    named = [label for label in STARTER_LABELS if label != "Noise"]
    others = [key for key in sources.synthesisers if key.startswith("other:")] + ["other:"] * bool(sources.recordings.get(""))
    if rng.random() < sources.speech_share:
        return ["Speech"]
    kind = rng.random()
    if kind < 0.36:
        return _choose(rng, [label for label in recorded if label != "Music"], 1)
    if kind < 0.56:
        return _choose(rng, named, 1)
    if kind < 0.76:
        return _choose(rng, named, 2)
    if kind < 0.82:
        return _choose(rng, named, 3)
    if kind < 0.90:
        return _choose(rng, others, int(rng.integers(1, 3)))
    if kind < 0.93:
        return _choose(rng, others, 1) + _choose(rng, named, 1)
    return ["Noise"] if rng.random() < 0.75 else []


def render(rng: Rng, sources: Sources) -> Scene:
    """One scene. Levels: loudest event -42 to -4 dBFS (RMS of its loudest row), background 8 to 50 dB below it."""
    lanes: list[tuple[str, Samples]] = []
    plan = _plan(rng, sources)
    cursor = 0 if rng.random() < 0.45 else int(rng.uniform(0, 1.5) * SAMPLE_RATE)
    for label in plan:
        x = draw(rng, sources, label)
        if len(x) == 0:
            continue
        if label in ("Noise", "Wind", "Rain", "Waves, surf", "Engine", "Music") and rng.random() < 0.7:
            x = np.tile(x, 1 + SCENE_SAMPLES // len(x))
            start = 0 if rng.random() < 0.8 else cursor
        else:
            start = min(cursor, SCENE_SAMPLES - SAMPLE_RATE // 3)
        lane = _place(rng, x, start)
        peak = np.sqrt(_row_energy(lane).max())
        lanes.append((label, lane * np.float32(10 ** (rng.uniform(-12, 0) / 20) / max(peak, 1e-6))))
        overlap = rng.random() < 0.35
        cursor = start + int(rng.uniform(0.0, 0.5) * SAMPLE_RATE) if overlap else start + int(len(x) + rng.uniform(0.0, 0.8) * SAMPLE_RATE)
        if cursor > SCENE_SAMPLES - SAMPLE_RATE // 2:
            cursor = int(rng.uniform(0, 3.5) * SAMPLE_RATE)
    babble = _babble(rng, sources) if plan == ["Speech"] and rng.random() < 0.4 else None
    return _mix(rng, lanes, babble)


def _babble(rng: Rng, sources: Sources) -> Samples:
    """Three to six other people far away in a room, RMS 1: what lies under a speech in a hall."""
    total = np.zeros(SCENE_SAMPLES, np.float32)
    for _ in range(int(rng.integers(3, 7))):
        voice = synth.room(rng, np.tile(_spoken(rng, sources), 4)[:SCENE_SAMPLES])[:SCENE_SAMPLES]
        total[: len(voice)] += np.roll(voice, int(rng.integers(len(voice)))) / max(float(np.abs(voice).max()), 1e-6)
    return total / np.float32(max(float(np.sqrt(np.mean(total**2))), 1e-6))


def _mix(rng: Rng, lanes: list[tuple[str, Samples]], babble: Samples | None = None) -> Scene:
    gain = np.float32(10 ** (rng.uniform(-42, -4) / 20))
    background = np.zeros(SCENE_SAMPLES, np.float32)
    if rng.random() < 0.75:
        name = str(rng.choice(["white", "pink", "brown"]))
        background = synth.noise(rng, SCENE_SAMPLES, name).astype(np.float32)
        background *= np.float32(10 ** (rng.uniform(-50, -8 if lanes else 0) / 20) / max(float(np.sqrt(np.mean(background**2))), 1e-6))
    if babble is not None:
        background += babble * np.float32(10 ** (rng.uniform(-45, -18) / 20))
    total = background + sum((lane for _, lane in lanes), np.zeros(SCENE_SAMPLES, np.float32))
    truth = np.zeros((ROWS, len(STARTER_LABELS)), np.uint8)
    energy_total = _row_energy(total)
    for label, lane in lanes:
        if label not in STARTER_LABELS:
            continue
        energy = _row_energy(lane)
        on = _active(energy)
        column = truth[:, STARTER_LABELS.index(label)]
        share = energy / energy_total
        column[on] = np.where(share[on] > 0.03, 1, np.where(column[on] == 1, 1, UNSURE))
    # Background noise that nothing covers is noise, whether or not anybody put it there as an event.
    column = truth[:, STARTER_LABELS.index("Noise")]
    alone = _row_energy(background) / energy_total > 0.5
    column[alone & (column == 0)] = UNSURE if lanes else 1
    samples = np.clip(total * gain, -1.0, 1.0).astype(np.float32)
    return Scene(samples, truth)
