"""How long until something is heard, in fresh processes: the command alone, the gate alone, the whole line."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from edge.bench.stats import distribution
from edge.errors import BackendError

_GATE = """
import sys
from edge.capture import AudioFile
from edge.gate import Gate
from edge.ring import blocks
from edge.vad import Silero
gate = Gate(Silero())
for block in blocks(AudioFile(sys.argv[1]), 512):
    gate.push(block)
    break
"""
_LINE = """
import sys
from contextlib import closing
from edge.bundle import Bundle
from edge.capture import AudioFile
from edge.config import Config
from edge.pipeline import Line
from edge.types import Vitals
line = Line(Bundle.open(sys.argv[2]), Config(memory_mb=1 << 20))
with closing(line.run(AudioFile(sys.argv[1]))) as records:
    for record in records:
        if isinstance(record, Vitals):
            break
"""


def startup(path: str, bundle: str, times: int) -> dict[str, Any]:
    """Milliseconds from the start of a process to its end: `auricle --version`; to the first block through the gate; to the same with the
    bundle loaded. Interleaved. Raises: BackendError when such a process fails.
    """
    programs = {
        "auricle --version": [sys.executable, "-m", "edge.cli", "--version"],
        "gate, first block": [sys.executable, "-c", _GATE, path],
        "whole line, first block": [sys.executable, "-c", _LINE, path, bundle],
    }
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(times):
        for name, words in programs.items():
            begin = time.perf_counter()
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BackendError(f"start-up: {name} failed ({(done.stderr.strip().splitlines() or ['no message'])[-1][:200]})")
            found[name].append(1000 * (time.perf_counter() - begin))
    return {name: distribution(values) for name, values in found.items()}
