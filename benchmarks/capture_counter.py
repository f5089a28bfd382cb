"""Does every sample arrive once or lie in a gap? A minute of counter signal through a real PulseAudio server, several times.

    python benchmarks/capture_counter.py [--seconds 60] [--runs 3] [--busy N]

Sample n of the signal is (n + 1) * 2^-20, exact in float32, so every drop and doubling can be decoded. --busy: N processes that
do nothing but spin meanwhile. Prints one JSON line a run; exit code 1 when a sample is missing or doubled.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sound_server import MICROPHONE, NULL_SINK_MICROPHONE, pulse_server

from edge.capture import Microphone
from edge.ring import blocks
from edge.types import AudioBlock, Gap

UNIT = 2.0**-20


def spin() -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # dies with its parent, even with one that was killed
        sum(range(100_000))


def run(seconds: float) -> dict[str, object]:
    samples = round(seconds * 16_000)
    signal = (np.arange(1, samples + 1) * UNIT).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        script = NULL_SINK_MICROPHONE.format(rate=16_000, channels=1)
        with pulse_server(Path(folder), monkeypatch, script) as server:
            microphone = Microphone(MICROPHONE)
            cpu_s, began_s = time.thread_time(), time.monotonic()
            playing = server.play(signal)
            line: list[np.ndarray] = []
            gaps: list[Gap] = []
            for record in blocks(microphone):
                if isinstance(record, AudioBlock):
                    values = np.round(record.samples.astype(np.float64) / UNIT).astype(np.int64)
                    line.append(values)
                    if playing.poll() is not None and not values.any():
                        break
                elif isinstance(record, Gap):
                    gaps.append(record)
                    line.append(np.full(record.stop - record.start, -1))
            cpu_s, elapsed_s = time.thread_time() - cpu_s, time.monotonic() - began_s
            microphone.close()
    heard = np.concatenate(line)
    values = heard[heard > 0]
    places = np.flatnonzero(heard > 0)
    lost = samples - len(np.unique(values))
    inside = heard[places[0] : places[-1] + 1] if len(places) else heard
    return {
        "samples": samples,
        "heard": len(values),
        "doubled": len(values) - len(np.unique(values)),
        "lost": lost,
        "in_gaps": int((inside == -1).sum()),
        "gaps": [(gap.stop - gap.start, gap.reason) for gap in gaps],
        "in_order": bool((np.diff(values) > 0).all()),
        "listen_thread_cpu_percent": round(100 * cpu_s / elapsed_s, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    spinners = [multiprocessing.Process(target=spin, daemon=True) for _ in range(options.busy)]
    for spinner in spinners:
        spinner.start()
    failed = False
    for _ in range(options.runs):
        found = run(options.seconds)
        print(json.dumps(found), flush=True)
        failed |= found["doubled"] != 0 or found["lost"] != found["in_gaps"] or not found["in_order"]
    for spinner in spinners:
        spinner.kill()
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
