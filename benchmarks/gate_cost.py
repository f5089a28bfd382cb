"""What does the gate cost, in CPU-seconds per hour of audio, on silence, on noise and on speech?

    python benchmarks/gate_cost.py [--minutes 10] [--rounds 5] [--block 4096] [--speech jfk.wav] [--output results/gate_cost.json]

Prints one JSON object: for each kind of sound the median, smallest and largest over the rounds (interleaved, thread CPU time, the
process's start-up excluded), the share of voice activity in it, and how much of the audio voice activity looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile

from edge.gate import Gate
from edge.types import SAMPLE_RATE, AudioBlock, Samples
from edge.vad import Silero


def kinds(seconds: int, speech: Path) -> dict[str, Samples]:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(seconds * SAMPLE_RATE).astype(np.float32)
    made = {
        "digital silence": np.zeros(seconds * SAMPLE_RATE, dtype=np.float32),
        "white noise at -75 dBFS": noise * np.float32(10 ** (-75 / 20)),
        "white noise at -40 dBFS": noise * np.float32(10 ** (-40 / 20)),
    }
    if speech.is_file():
        one, rate = soundfile.read(speech, dtype="float32")
        assert rate == SAMPLE_RATE, f"{speech} is not at 16 kHz"
        made["speech without a pause"] = np.tile(one, seconds * SAMPLE_RATE // len(one) + 1)[: seconds * SAMPLE_RATE]
        pause = np.zeros(50 * SAMPLE_RATE, dtype=np.float32)
        made["11 s of speech a minute"] = np.tile(np.concatenate([one, pause]), seconds // 60 + 1)[: seconds * SAMPLE_RATE]
    return made


def cost(vad: Silero, samples: Samples, block: int) -> tuple[float, float, float]:
    """CPU-seconds per hour of audio of the whole gate and of voice activity, and the share of samples that the latter looked at."""
    gate = Gate(vad)
    clock = time.thread_time()
    for start in range(0, len(samples), block):
        for _ in gate.push(AudioBlock(start, samples[start : start + block])):
            pass
    for _ in gate.finish():
        pass
    hours = len(samples) / SAMPLE_RATE / 3600
    meter = gate.meters["vad"]
    return (time.thread_time() - clock) / hours, meter.cpu_s / hours, meter.samples / len(samples)


def machine() -> str:
    """The processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", type=int, default=4096, help="samples a block; 512 is what listen uses")
    parser.add_argument("--speech", type=Path, default=here.parent.parent / "shared" / "data" / "speech" / "jfk.wav")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    sounds, vad = kinds(options.minutes * 60, options.speech), Silero()
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sounds}
    for _ in range(options.rounds):
        for name, samples in sounds.items():
            taken[name].append(cost(vad, samples, options.block))
    costs = {
        name: {
            "cpu_s_per_hour_median": round(statistics.median(c[0] for c in rows), 3),
            "cpu_s_per_hour_min": round(min(c[0] for c in rows), 3),
            "cpu_s_per_hour_max": round(max(c[0] for c in rows), 3),
            "of_it_voice_activity": round(statistics.median(c[1] for c in rows), 3),
            "voice_activity_duty": round(rows[0][2], 4),
        }
        for name, rows in taken.items()
    }
    about = {"machine": machine(), "commit": commit(), "minutes": options.minutes, "rounds": options.rounds, "block": options.block}
    text = json.dumps({**about, "cost": costs}, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
