"""What does the gate cost, in CPU-seconds per hour of audio, on silence, on noise and on speech?

    python benchmarks/gate_cost.py [--minutes 10] [--rounds 5] [--speech jfk.wav]

Prints one JSON object: for each kind of sound the median, smallest and largest over the rounds (interleaved, thread CPU time, the
process's start-up excluded), the share of the level and of voice activity, and how much of the audio voice activity looked at.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import soundfile

from edge.gate import Gate
from edge.types import SAMPLE_RATE, AudioBlock, Samples
from edge.vad import Silero

BLOCK = 1600
"""Samples a block, as capture hands them on: 100 ms."""


def kinds(seconds: int, speech: Path) -> dict[str, Samples]:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(seconds * SAMPLE_RATE).astype(np.float32)
    made = {
        "digital silence": np.zeros(seconds * SAMPLE_RATE, dtype=np.float32),
        "white noise at -70 dBFS": noise * np.float32(10 ** (-70 / 20)),
        "white noise at -40 dBFS": noise * np.float32(10 ** (-40 / 20)),
    }
    if speech.is_file():
        one, rate = soundfile.read(speech, dtype="float32")
        assert rate == SAMPLE_RATE, f"{speech} is not at 16 kHz"
        made["speech without a pause"] = np.tile(one, seconds * SAMPLE_RATE // len(one) + 1)[: seconds * SAMPLE_RATE]
        pause = np.zeros(50 * SAMPLE_RATE, dtype=np.float32)
        made["11 s of speech a minute"] = np.tile(np.concatenate([one, pause]), seconds // 60 + 1)[: seconds * SAMPLE_RATE]
    return made


def cost(vad: Silero, samples: Samples) -> tuple[float, float, float]:
    vad.reset()
    gate = Gate(vad)
    clock = time.thread_time()
    for start in range(0, len(samples), BLOCK):
        for _ in gate.push(AudioBlock(start, samples[start : start + BLOCK])):
            pass
    for _ in gate.finish():
        pass
    hours = len(samples) / SAMPLE_RATE / 3600
    vad_meter = gate.meters["vad"]
    return (time.thread_time() - clock) / hours, vad_meter.cpu_s / hours, vad_meter.samples / len(samples)


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speech", type=Path, default=here.parent.parent / "shared" / "data" / "speech" / "jfk.wav")
    options = parser.parse_args()
    sounds = kinds(options.minutes * 60, options.speech)
    vad = Silero()
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sounds}
    for _ in range(options.rounds):
        for name, samples in sounds.items():
            taken[name].append(cost(vad, samples))
    result = {
        name: {
            "cpu_s_per_hour": {
                "median": round(statistics.median(c[0] for c in rows), 3),
                "min": min(c[0] for c in rows),
                "max": max(c[0] for c in rows),
            },
            "of_it_voice_activity": round(statistics.median(c[1] for c in rows), 3),
            "voice_activity_duty": round(rows[0][2], 4),
        }
        for name, rows in taken.items()
    }
    print(
        json.dumps(
            {"machine": platform.processor() or platform.machine(), "minutes": options.minutes, "rounds": options.rounds, **result},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
