"""What does a block of 512 samples cost on its way through the ring: in C++, to a second thread, and through Python?

    python benchmarks/native_ring.py [--rounds 20] [--include DIR ...] [--output benchmarks/results/native_ring.json]

Peers in C++ (boost::lockfree::spsc_queue, moodycamel::BlockingReaderWriterCircularBuffer) are measured where the compiler or an
--include folder finds their headers. All candidates take turns within a round; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge._native import Ring

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 512
"""float32 samples: 32 ms at 16 kHz."""


def machine() -> dict[str, object]:
    """Where and with which source the figures were taken."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    git = shutil.which("git")
    commit = (
        subprocess.run([git, "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip() if git else ""
    )
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def in_cpp(rounds: int, include: list[Path]) -> dict[str, dict[str, list[float]]]:
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "native_ring"
        sources = [ROOT / "benchmarks/native_ring.cpp", ROOT / "native/src/ring.cpp"]
        folders = [f"-I{ROOT / 'native/include'}", *(f"-I{path}" for path in include)]
        compiler = os.environ.get("CXX", "c++")
        subprocess.run([compiler, "-std=c++17", "-O3", "-DNDEBUG", *folders, *sources, "-pthread", "-o", program], check=True)
        for line in subprocess.run([program, str(rounds)], check=True, capture_output=True, text=True).stdout.splitlines():
            question, candidate, nanoseconds = line.split()
            figures[question][candidate].append(float(nanoseconds))
    return figures


def ways_through_python() -> dict[str, Callable[[], None]]:
    """One block in and out; what the second thread would do is done by the first."""
    block = np.zeros(BLOCK, np.float32)
    out = np.empty(BLOCK, np.float32)
    ring, recipe, line = Ring(1 << 16), queue.Queue[bytes](), deque[np.ndarray]()

    def through_ring() -> None:
        ring.write(block)
        ring.read(ring.head - BLOCK, out)

    def through_recipe() -> None:  # sounddevice's documentation: bytes in a queue.Queue
        recipe.put(bytes(block))
        np.frombuffer(recipe.get(), np.float32)

    def through_deque() -> None:
        line.append(block.copy())
        line.popleft()

    return {"auricle": through_ring, "bytes_queue": through_recipe, "copy_deque": through_deque}


def in_python(rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = defaultdict(list)
    repeats = 2000
    for _ in range(rounds):
        for name, way in ways_through_python().items():
            way()
            begin = time.perf_counter_ns()
            for _ in range(repeats):
                way()
            figures[name].append((time.perf_counter_ns() - begin) / repeats)
    return figures


def summary(figures: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    ours = statistics.median(figures["auricle"])
    return {
        name: {
            "median_ns": round(statistics.median(values), 1),
            "min_ns": round(min(values), 1),
            "rounds": len(values),
            "times_ours": round(statistics.median(values) / ours, 2),
        }
        for name, values in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--include", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    result = {"machine": machine(), "block_samples": BLOCK}
    result |= {question: summary(figures) for question, figures in in_cpp(options.rounds, options.include).items()}
    result["through_python"] = summary(in_python(options.rounds))
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
