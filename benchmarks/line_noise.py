"""Does noise stay noise? Silence, white, pink and brown noise through the whole line, and what it claims to hear.

    python benchmarks/line_noise.py [--minutes 10] [--levels -60 -50 -40 -30 -20] [--bundle B] [--output benchmarks/results/line_noise.json]

Each kind at each level is a stream of its own of so many minutes; "stepped" is one more, in which kind and level change abruptly every
12 s, which opens the gate again and again. A caption claims a sound when its text names one, or says anything without the words noise
or static in it; every revision counts, not only finals. Bar: no such caption. Sounds with other labels are counted beside it.
Generators are seeded (numpy PCG64): the same noise on every machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from common import ROOT, Record, elapsed, finish, parser, table

from edge import Listener
from edge.types import SAMPLE_RATE, Samples

sys.path.insert(0, str(ROOT))
from export.train.language import PHRASES

KINDS = ("white", "pink", "brown")
EXPONENTS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
"""Amplitude falls with frequency to this power."""
NOISE = frozenset(("Noise", "White noise", "Pink noise", "Static"))
PERIOD_S = 60
"""Noise is shaped by one FFT a minute; neighbouring minutes overlap by FADE samples at constant power."""
FADE = SAMPLE_RATE // 2
STEP_S = 12


def shaped(kind: str, n: int, rng: np.random.Generator) -> Samples:
    """float32[n] of RMS 1; below 20 Hz nothing, or brown noise would be a slow drift."""
    hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n)) * np.where(hz >= 20, 1 / np.maximum(hz, 20) ** EXPONENTS[kind], 0)
    samples = np.fft.irfft(spectrum, n)
    return (samples / np.sqrt(np.mean(samples**2))).astype(np.float32)


def steady(kind: str, dbfs: float, seconds: int, seed: int) -> Iterator[Samples]:
    """The stream in pieces of about a minute, without a seam."""
    rng = np.random.default_rng(seed)
    rise = np.sqrt(np.linspace(0, 1, FADE, dtype=np.float32))
    tail = np.zeros(0, np.float32)
    left = seconds * SAMPLE_RATE
    while left > 0:
        piece = shaped(kind, PERIOD_S * SAMPLE_RATE + FADE, rng) * np.float32(10 ** (dbfs / 20))
        if len(tail):
            piece[:FADE] = piece[:FADE] * rise + tail * rise[::-1]
        piece, tail = piece[:-FADE], piece[-FADE:]
        yield np.clip(piece[:left], -1, 1)
        left -= len(piece)


def stepped(levels: list[float], seconds: int, seed: int) -> Iterator[Samples]:
    rng = np.random.default_rng(seed)
    for _ in range(-(-seconds // STEP_S)):
        kind, dbfs = rng.choice([*KINDS, "silence"]), rng.choice(levels)
        if kind == "silence":
            yield np.zeros(STEP_S * SAMPLE_RATE, np.float32)
        else:
            yield np.clip(shaped(str(kind), STEP_S * SAMPLE_RATE, rng) * np.float32(10 ** (dbfs / 20)), -1, 1)


def streams(levels: list[float], seconds: int) -> Iterator[tuple[str, Iterator[Samples]]]:
    yield "silence", iter([np.zeros(seconds * SAMPLE_RATE, np.float32)])
    for at, kind in enumerate(KINDS):
        for dbfs in levels:
            yield f"{kind} {dbfs:g} dBFS", steady(kind, dbfs, seconds, seed=1000 * at - int(dbfs))
    yield "stepped", stepped(levels, seconds, seed=7)


def claims(text: str) -> bool:
    said = text.lower()
    named = any(phrase in said for label, phrase in PHRASES.items() if label not in NOISE)
    return named or (bool(said.strip()) and not any(word in said for word in ("noise", "static")))


def count(records: Iterator[Record]) -> dict[str, Any]:
    """What one stream led to."""
    captions, sounds, finals = 0, Counter[str](), 0
    noise, first = 0, ""
    for record in records:
        if record["type"] == "caption":
            finals += record["final"]
            if claims(record["text"]):
                captions += 1
                first = first or record["text"]
        elif record["type"] == "sound" and record["state"] == "start":
            if record["label"] in NOISE:
                noise += 1
            else:
                sounds[record["label"]] += 1
        elif record["type"] == "speech":
            sounds["(speech span)"] += 1
    return {"captions": captions, "finals": finals, "sounds": dict(sounds.most_common()), "noise_sounds": noise, "first": first[:80]}


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--minutes", type=float, default=10.0, help="of each stream")
    parse.add_argument("--levels", type=float, nargs="+", default=[-60.0, -50.0, -40.0, -30.0, -20.0], metavar="DBFS")
    options = parse.parse_args()
    began, seconds = time.monotonic(), round(options.minutes * 60)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, Listener(options.bundle) as listener:
        path = Path(folder) / "noise.wav"
        for name, pieces in streams(options.levels, seconds):
            with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "FLOAT") as file:
                for piece in pieces:
                    file.write(piece)
            found[name] = count(listener.listen(path))
            print(f"{name:<16} {found[name]}", flush=True)
    hours = seconds * len(found) / 3600
    captions = sum(row["captions"] for row in found.values())
    sounds = sum(sum(row["sounds"].values()) for row in found.values())
    worst = [[name, row["captions"], sum(row["sounds"].values()), row["first"]] for name, row in found.items() if row["captions"]]
    print(table(worst, ["stream", "captions", "sounds", "for example"]) if worst else "no caption claims a sound")
    print(f"{hours:.2f} h in {elapsed(began)}: {captions / hours:.1f} claiming captions and {sounds / hours:.1f} other sounds an hour")
    result = {
        "minutes_each": options.minutes,
        "levels_dbfs": options.levels,
        "claiming_captions": captions,
        "claiming_captions_per_hour": round(captions / hours, 2),
        "other_sounds_per_hour": round(sounds / hours, 2),
        "streams": found,
    }
    return finish(options, result, {"no caption claims a sound that is not noise": captions == 0})


if __name__ == "__main__":
    raise SystemExit(main())
