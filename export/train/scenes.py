"""Scenes with known truth: real and synthetic events on a time line, with gain, overlap, room, colour, speed and background.

A scene is a pure function of its seed and of the sources it may draw from. Its truth is a list of events with onset and offset, and
for the encoder one row for each 40 ms, so that what is taught at a row is what sounded there, not what the file was called. The
mixtures and repeats that differ in order and number only are the hard negatives of CompA (Ghosh et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train import synth
from export.train.events import MERGE_S, instances, one
from export.train.labels import COUNTED, STARTER_LABELS
from export.train.recordings import BED, Recording
from export.train.truth import SCENE_SAMPLES, Lane, Scene, mix, row_energy

Rng = np.random.Generator
Samples = NDArray[np.float32]
BED_SHARE = 0.4
"""Scenes whose background is a recording, where there are some."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What scenes are drawn from: recordings by label, synthesisers by label ("other:…" are never labelled), voices, words by speaker."""

    recordings: dict[str, list[Recording]]
    synthesisers: dict[str, Callable[[Rng], Samples]]
    speech: Sequence[tuple[Samples, bool]]
    """Utterances, and whether digits may be said in them."""
    words: dict[str, list[Recording]]
    speech_share: float = 0.27
    """Scenes in which somebody speaks and nothing else has a label, on top of the mixtures."""
    beds: Sequence[Samples] = ()
    """What scenes may have as their background instead of noise: nothing in them has a label, or may have one."""
    files: dict[str, list[list[Recording]]] = field(default_factory=dict)
    """Recordings by label and by the file that they are pieces of: a minute of one rain is one rain, not six."""

    @staticmethod
    def of(recordings: Sequence[Recording], speech: Sequence[tuple[Samples, bool]], speech_share: float = 0.27) -> Sources:
        by_label: dict[str, list[Recording]] = {}
        by_file: dict[str, dict[str, list[Recording]]] = {}
        by_speaker: dict[str, list[Recording]] = {}
        for number, recording in enumerate(recordings):
            if recording.word:
                by_speaker.setdefault(recording.speaker, []).append(recording)
            else:
                by_label.setdefault(recording.label, []).append(recording)
                by_file.setdefault(recording.label, {}).setdefault(recording.name or str(number), []).append(recording)
        beds = [recording.samples for recording in by_label.get("", []) if recording.doubtful == BED]
        files = {label: list(held.values()) for label, held in by_file.items()}
        return Sources(by_label, dict(synth.SYNTHESISERS), speech, by_speaker, speech_share, beds, files)


def _scaled(positions: Sequence[int], before: int, after: int) -> tuple[int, ...]:
    return tuple(int(p * after / max(1, before)) for p in positions)


def _speak(rng: Rng, sources: Sources, alone: float = 0.5) -> Lane:
    """Sentences, or one to six digits and letters said one by one by one speaker.

    A sentence goes on into others half of the time, for running speech seldom stops; what it holds is no word said alone.
    """
    if sources.speech and (not sources.words or rng.random() >= alone):
        samples, digits = sources.speech[rng.integers(len(sources.speech))]
        while len(samples) < SCENE_SAMPLES and rng.random() < 0.5:
            more, unknown = sources.speech[rng.integers(len(sources.speech))]
            pause = np.zeros(int(rng.uniform(0.0, 0.4) * SAMPLE_RATE), np.float32)
            samples, digits = np.concatenate((samples, pause, more)), digits or unknown
        return Lane("Speech", samples, digits_unknown=digits)
    speaker = sources.words[list(sources.words)[rng.integers(len(sources.words))]]
    parts: list[Samples] = [np.zeros(int(rng.uniform(0.0, 0.3) * SAMPLE_RATE), np.float32)]
    words, at = [], len(parts[0])
    narrow = rng.random() < 0.3
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4, 6]))):
        said = speaker[rng.integers(len(speaker))]
        samples = synth.warp(rng, said.samples, 0.85, 1.2) if rng.random() < 0.7 else said.samples
        if narrow:
            samples = synth.narrow(samples)
        loud = np.flatnonzero(np.abs(samples) > 0.04 * np.abs(samples).max())
        words.append((said.word, at + int(loud[0]), at + int(loud[-1])))
        pause = np.zeros(int(rng.uniform(0.05, 0.6) * SAMPLE_RATE), np.float32)
        parts += [samples, pause]
        at += len(samples) + len(pause)
    return Lane("Speech", np.concatenate(parts), words=tuple(words))


def _raw(rng: Rng, sources: Sources, label: str) -> Recording:
    """A recording (three times in four where there are a dozen files, less often where they are few), else synthetic."""
    kind = "" if label == "other:" else label
    files = sources.files.get(kind, [])
    if files and (kind not in sources.synthesisers or rng.random() < 0.75 * min(1.0, len(files) / 12)):
        pieces = files[rng.integers(len(files))]
        return pieces[rng.integers(len(pieces))]
    return Recording("", label, 0, sources.synthesisers[label](rng))


def part(rng: Rng, samples: Samples, low_s: float, high_s: float) -> Samples:
    """A stretch of that many seconds in which something is to be heard: within 10 dB of the loudest of five that were tried."""
    size = min(len(samples), int(rng.uniform(low_s, high_s) * SAMPLE_RATE))
    starts = rng.integers(0, len(samples) - size + 1, 5)
    power = [float(np.mean(samples[start : start + size] ** 2)) for start in starts]
    start = next(int(s) for s, p in zip(starts, power, strict=True) if p >= 0.1 * max(power))
    return samples[start : start + size]


def draw(rng: Rng, sources: Sources, label: str, times: int = 0, beside: bool = False) -> Lane:
    """One lane of the label: cut, warped, coloured, in a room.

    times: so many single events of a counted label, evenly or not. beside: other lanes are heard as well.
    """
    if label == "Speech":
        lane = _speak(rng, sources)
    elif times:
        lane = _repeated(rng, _raw(rng, sources, label).samples, label, times)
    else:
        recording = _raw(rng, sources, label)
        x = recording.samples
        # A part of it, so that no model can learn a recording as a whole; beside other sounds mostly a short one.
        if len(x) > SAMPLE_RATE and rng.random() < (0.7 if beside else 0.45):
            x = part(rng, x, *((0.6, 3.2) if beside or rng.random() < 0.5 else (0.5 * len(x) / SAMPLE_RATE, len(x) / SAMPLE_RATE)))
        starts = [a for a, _ in instances(x, MERGE_S[label])] if label in COUNTED else []
        lane = Lane(label, x, tuple(starts), doubtful=recording.doubtful)
    x = lane.samples
    if rng.random() < 0.7:
        # Speech is stretched further: slow, sung and childlike vowels were taken for horns and babies. Words less: they must stay words.
        x = synth.warp(rng, x, 0.65, 1.45) if label == "Speech" and not lane.words else synth.warp(rng, x)
    before, after = len(lane.samples), len(x)
    if rng.random() < 0.6:
        x = synth.colour(rng, x)
    if rng.random() < 0.35:
        x = synth.room(rng, x)
    words = tuple((w, int(a * after / max(1, before)), int(b * after / max(1, before))) for w, a, b in lane.words)
    samples = np.ascontiguousarray(x[: SCENE_SAMPLES * 2], np.float32)
    return replace(lane, samples=samples, onsets=_scaled(lane.onsets, before, after), words=words)


def _repeated(rng: Rng, samples: Samples, label: str, times: int) -> Lane:
    """`times` single events of one recording, 0.25 to 1 s of quiet between them (raps and beeps 0.08 to 0.5 s)."""
    low, high = (0.08, 0.5) if label in ("Knock", "Beep, bleep") else (0.25, 1.0)
    pause = rng.uniform(low, high)
    parts, onsets, at = [], [], 0
    event = one(rng, samples, label)
    for _ in range(times):
        if rng.random() < 0.5:
            event = one(rng, samples, label)
        single = event * np.float32(10 ** (rng.uniform(-4, 0) / 20))
        gap = np.zeros(int(np.clip(pause * rng.uniform(0.75, 1.3), low, high) * SAMPLE_RATE), np.float32)
        lead = instances(single, 2.0)
        onsets.append(at + (lead[0][0] if lead else 0))
        parts += [single, gap]
        at += len(single) + len(gap)
    return Lane(label, np.concatenate(parts), tuple(onsets))


def _place(x: Samples, start: int) -> Samples:
    full = np.zeros(SCENE_SAMPLES, np.float32)
    stop = min(SCENE_SAMPLES, start + len(x))
    full[start:stop] = x[: stop - start]
    edge = min(80, stop - start)
    full[start : start + edge] *= np.linspace(0, 1, edge, dtype=np.float32)
    return full


def _choose(rng: Rng, pool: Sequence[str], count: int) -> list[str]:
    return [str(label) for label in rng.choice(pool, size=count, replace=False)]


def _plan(rng: Rng, sources: Sources) -> list[tuple[str, int]]:
    """Which lanes the scene holds, with the number of single events where that is set. The shares are the recipe."""
    recorded = [label for label in STARTER_LABELS if sources.recordings.get(label)]
    named = [label for label in STARTER_LABELS if label != "Noise"]
    recorded = recorded or named
    others = [key for key in sources.synthesisers if key.startswith("other:")] + ["other:"] * 12 * bool(sources.recordings.get(""))
    if rng.random() < sources.speech_share:
        return [("Speech", 0)]
    kind = rng.random()
    if kind < 0.22:
        plan = _choose(rng, [label for label in recorded if label not in ("Music", "Siren")], 1)
    elif kind < 0.32:
        plan = _choose(rng, named, 1)
    elif kind < 0.66:
        # Two sounds, one of them recorded more often than not: what stands side by side must be told apart.
        first = _choose(rng, recorded if rng.random() < 0.6 else named, 1)
        plan = first + _choose(rng, [label for label in named if label not in first], 1)
        rng.shuffle(plan)
    elif kind < 0.72:
        plan = _choose(rng, named, 3)
    elif kind < 0.79:
        label = _choose(rng, COUNTED, 1)[0]
        return [(label, int(rng.integers(1, 6)))] + [
            (other, 0) for other in _choose(rng, named, 1) if other != label and rng.random() < 0.3
        ]
    elif kind < 0.90:
        plan = _choose(rng, others, int(rng.integers(1, 3)))
    elif kind < 0.96:
        plan = _choose(rng, others, 1) + _choose(rng, named, 1)
    else:
        plan = ["Noise"] if rng.random() < 0.75 else []
    return [(label, 0) for label in plan]


def render(rng: Rng, sources: Sources) -> Scene:
    """One scene. Levels: loudest event -42 to -4 dBFS (RMS of its loudest row), background 8 to 50 dB below it."""
    lanes: list[Lane] = []
    plan = _plan(rng, sources)
    cursor = 0 if rng.random() < 0.45 else int(rng.uniform(0, 1.5) * SAMPLE_RATE)
    for label, times in plan:
        lane = draw(rng, sources, label, times, len(plan) > 1)
        x = lane.samples
        if len(x) == 0:
            continue
        if label in ("Noise", "Wind", "Rain", "Waves, surf", "Engine", "Music") and rng.random() < 0.7:
            x = np.tile(x, 1 + SCENE_SAMPLES // len(x))
            start = 0 if rng.random() < 0.8 else cursor
        else:
            start = min(cursor, SCENE_SAMPLES - SAMPLE_RATE // 3)
        placed = _place(x, start)
        peak = np.sqrt(row_energy(placed).max())
        scaled = placed * np.float32(10 ** (rng.uniform(-12, 0) / 20) / max(peak, 1e-6))
        lanes.append(replace(lane, samples=scaled, start=start))
        if rng.random() < 0.45:  # at the same time: both begin within half a second, or the next in the midst of this one
            cursor = start + int(rng.uniform(0.0, 0.5) * SAMPLE_RATE if rng.random() < 0.4 else rng.uniform(0.15, 0.75) * len(x))
        else:
            cursor = start + int(len(x) + rng.uniform(0.0, 0.8) * SAMPLE_RATE)
        if cursor > SCENE_SAMPLES - SAMPLE_RATE // 2:
            cursor = int(rng.uniform(0, 3.5) * SAMPLE_RATE)
    babble = _babble(rng, sources) if plan == [("Speech", 0)] and not lanes[0].words and rng.random() < 0.4 else None
    return mix(rng, lanes, babble, _bed(rng, sources) if sources.beds and rng.random() < BED_SHARE else None)


def _bed(rng: Rng, sources: Sources) -> Samples:
    """A stretch of a recorded background, coloured, from its beginning again where it is short."""
    x = sources.beds[int(rng.integers(len(sources.beds)))]
    x = np.roll(x, int(rng.integers(len(x))))
    if rng.random() < 0.6:
        x = synth.colour(rng, x)
    return np.ascontiguousarray(np.tile(x, 1 + SCENE_SAMPLES // len(x))[:SCENE_SAMPLES], np.float32)


def _babble(rng: Rng, sources: Sources) -> Samples:
    """Three to six other people far away in a room, RMS 1: what lies under a speech in a hall."""
    total = np.zeros(SCENE_SAMPLES, np.float32)
    for _ in range(int(rng.integers(3, 7))):
        voice = synth.room(rng, np.tile(_speak(rng, sources, 0.0).samples, 4)[:SCENE_SAMPLES])[:SCENE_SAMPLES]
        total[: len(voice)] += np.roll(voice, int(rng.integers(len(voice)))) / max(float(np.abs(voice).max()), 1e-6)
    return total / np.float32(max(float(np.sqrt(np.mean(total**2))), 1e-6))
