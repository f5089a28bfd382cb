"""Hours in which nothing of what the bundle claims is there: noise whose level jumps, and people speaking a language it never heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge.types import SAMPLE_RATE, Samples
from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import Skipped, rate
from export.evaluate.lay import loudest
from export.evaluate.progress import tell
from export.train import packaged, synth
from export.train.language import read
from export.train.recordings import load

KINDS = ("white", "pink", "brown")
LONGER, TALK = "speech/jfk.wav", 20
"""The longer speech recording, in the data; it comes back once in so many utterances."""
FRENCH = ("asterisk/sounds/fr*/*.wav", "klettres/fr/*/*.ogg", "tuxpaint/stamps/**/*_desc_fr*.ogg")
"""Where packages have the voices that `packaged.voices` keeps apart, below its SHARE."""


def files(data: Path) -> list[Path]:
    """What the hour of speech is made of, the longer recording whether it is there or not."""
    return [data / LONGER, *(path for pattern in FRENCH for path in packaged.SHARE.glob(pattern))]


def noise(exam: Exam, seconds: float) -> Iterator[Samples]:
    """Pieces of 5 to 30 s of white, pink or brown noise at -60 to -20 dBFS; kind and level change from one sample to the next."""
    left = int(seconds * SAMPLE_RATE)
    number = 0
    while left > 0:
        rng = exam.rng(7, number)
        size = min(left, int(rng.uniform(5, 30) * SAMPLE_RATE))
        level = np.float32(10 ** (rng.uniform(-60, -20) / 20))
        yield np.clip(synth.noise(rng, size, str(rng.choice(KINDS))).astype(np.float32) * level, -1, 1)
        left, number = left - size, number + 1


def speech(exam: Exam, seconds: float) -> Iterator[Samples]:
    """People speaking French, and the longer speech: -35 to -12 dBFS, every third in a room, pauses of 0.3 to 4 s with faint noise."""
    voices = [samples for _, samples in packaged.voices(kept=True)]
    jfk = exam.data / LONGER
    talk = load(jfk) if jfk.is_file() else None
    if not voices and talk is None:
        raise Skipped(f"there are no French voices (apt-get install asterisk-core-sounds-fr-wav) and no {LONGER} in the data")
    left = int(seconds * SAMPLE_RATE)
    number = 0
    while left > 0:
        rng = exam.rng(8, number)
        said = talk if talk is not None and (number % TALK == 0 or not voices) else voices[int(rng.integers(len(voices)))]
        if rng.random() < 1 / 3:
            said = synth.room(rng, said)
        size = min(left, len(said) + int(rng.uniform(0.3, 4.0) * SAMPLE_RATE))
        piece = synth.noise(rng, size, "pink").astype(np.float32) * np.float32(10 ** (rng.uniform(-75, -60) / 20))
        gain = np.float32(10 ** (rng.uniform(-35, -12) / 20) / max(loudest(said), 1e-6))
        piece[: len(said)] += said[:size] * gain
        yield np.clip(piece, -1, 1)
        left, number = left - size, number + 1


def watch(ear: Ear, pieces: Iterator[Samples], allowed: frozenset[str]) -> dict[str, Any]:
    """What is claimed on a stream: false sounds by label and where, captions that name such a label, spans of voice."""
    labels: Counter[str] = Counter()
    where, captions, spans = [], [], 0
    for record in ear.stream(pieces):
        if record["type"] == "sound" and record["state"] == "start" and record["label"] not in allowed:
            labels[record["label"]] += 1
            where.append({"label": record["label"], "start_s": record["start"]})
        elif record["type"] == "caption" and record["final"] and any(sound.label not in allowed for sound in read(record["text"])):
            captions.append({"start_s": record["start"], "said": record["text"]})
        elif record["type"] == "speech":
            spans += 1
    return {
        "sounds": dict(labels.most_common()),
        "where": where[:200],
        "captions": len(captions),
        "said": captions[:50],
        "voice_spans": spans,
    }


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """Figures false_per_hour_noise, false_per_hour_speech, and those of captions; noise, speech: what was claimed, by label."""
    hours = exam.hours * (0.1 if exam.quick else 1.0)
    figures, details = {}, {}
    for name, make, allowed, origin in (
        ("noise", noise, frozenset(("Noise",)), "synthetic"),
        ("speech", speech, frozenset(("Noise", "Speech")), "real"),
    ):
        tell(f"  {hours:g} h of {name}")
        found = watch(ear, make(exam, hours * 3600), allowed)
        what = f"{hours:g} h of " + ("white, pink and brown noise" if name == "noise" else "French voices of Debian packages and a speech")
        figures[f"false_per_hour_{name}"] = rate(sum(found["sounds"].values()), hours, origin, what)
        figures[f"false_captions_per_hour_{name}"] = rate(found["captions"], hours, origin, what)
        details[name] = found
    return {"figures": figures, **details}
