"""What a bundle costs: bytes, time to load, CPU for a second of audio on one core."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.pipeline import Line
from edge.types import SAMPLE_RATE
from export.evaluate.ear import Ear, Stream
from export.evaluate.exam import Exam
from export.evaluate.figure import Figure, value

SCENES = 40
LOADS = 3


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """Figures bundle_bytes, load_s, encoder_ms_per_s, captioner_ms_per_s; files {name: bytes}; meters of every stair."""
    loads = [ear.load_s]
    for _ in range(LOADS - 1):
        with Ear(ear.path) as again:
            loads.append(again.load_s)
    count = exam.of(SCENES)
    bundle = Bundle.open(ear.path)
    try:
        line = Line(bundle)  # one thread is the usual
        with closing(line):
            pieces = (exam.two_sound(index).samples for index in range(count))
            for _ in line.run(Stream(pieces)):
                pass
            meters = {
                name: {"calls": m.calls, "seconds": round(m.samples / SAMPLE_RATE, 2), "cpu_s": round(m.cpu_s, 4)}
                for name, m in line.meters.items()
            }
    finally:
        bundle.close()
    what = f"{count} two-sound scenes on end, one thread"
    figures = {"bundle_bytes": value(sum(ear.files.values()), "bytes", len(ear.files), "mixed", "the bundle's files")}
    figures["load_s"] = value(min(loads), "s", len(loads), "mixed", "shortest of the loads in one process")
    figures |= {f"{name}_ms_per_s": spent(meters[name], what) for name in ("encoder", "captioner") if name in meters}
    return {"figures": figures, "files": ear.files, "loads_s": [round(s, 3) for s in loads], "meters": meters, "path": Path(ear.path).name}


def spent(meter: dict[str, Any], what: str) -> Figure:
    """Milliseconds of CPU for each second of audio that the stair looked at."""
    seconds = meter["seconds"]
    return value(1000 * meter["cpu_s"] / seconds if seconds else None, "ms/s", round(seconds), "mixed", what)
