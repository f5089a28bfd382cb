"""What the benchmarks of the whole line share: the stamp on a result, the `auricle` command in a process of its own, and real sound."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from native_ring import machine

from edge.bundle import Bundle
from edge.types import SAMPLE_RATE, Samples

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
DEMO = ROOT / "edge" / "data" / "demo_scene.flac"
MET, MISSED, UNMEASURED = 0, 1, 2
"""Exit codes of a benchmark: every bar met, one missed, or what it needs is not there."""

Record = dict[str, Any]


def parser(about: str | None) -> argparse.ArgumentParser:
    """The flags that every benchmark of the line has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--bundle", default="starter", help="a name that ships with auricle, a folder or a tar (usual: starter)")
    made.add_argument("--output", type=Path, metavar="FILE", help="write the JSON result there")
    return made


def stamp(bundle: str) -> dict[str, Any]:
    """Where, with which source and with which models the figures were taken."""
    opened = Bundle.open(bundle)
    try:
        made_by = dict(opened.manifest.created_by)
        models = {model.role: model.sha256[:12] for model in opened.manifest.models}
        return {"machine": machine(), "bundle": {"name": opened.name, "version": opened.version, "made_by": made_by, "sha256": models}}
    finally:
        opened.close()


def finish(options: argparse.Namespace, result: Mapping[str, Any], bars: Mapping[str, bool]) -> int:
    """Writes the stamped result and says which bars were met; returns the exit code."""
    if options.output:
        whole = {**stamp(options.bundle), **result, "bars": dict(bars), "met": all(bars.values())}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'}  {bar}")
    return MET if all(bars.values()) else MISSED


def unmeasured(why: str) -> int:
    print(f"not measured: {why}", file=sys.stderr)
    return UNMEASURED


def command(*arguments: str | os.PathLike[str]) -> list[str]:
    """The `auricle` of this very environment."""
    return [str(Path(sys.executable).with_name("auricle")), *map(os.fspath, arguments)]


def environment() -> dict[str, str]:
    """Without the user's own settings, so that defaults are measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AURICLE_")}


def run(*arguments: str | os.PathLike[str], timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """One `auricle` command to its end; interrupted (SIGINT) after timeout_s, killed 5 s later. Standard input is empty."""
    process = subprocess.Popen(
        command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, -int(signal.SIGINT), out, err)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def records(*arguments: str | os.PathLike[str]) -> list[Record]:
    """Standard output of a command that writes jsonl. Raises: RuntimeError with what it said when it failed."""
    done = run(*arguments)
    if done.returncode:
        raise RuntimeError(f"auricle {' '.join(map(str, arguments[:6]))} … ended with {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_session(lines: Iterable[Record]) -> Iterator[list[Record]]:
    """The records of each file, its session record first."""
    current: list[Record] = []
    for record in lines:
        if record["type"] == "session" and current:
            yield current
            current = []
        current.append(record)
    if current:
        yield current


def finals(lines: Iterable[Record]) -> list[Record]:
    return [record for record in lines if record["type"] == "caption" and record["final"]]


def timeless(record: Record) -> Record:
    """The record without what depends on the moment, the machine or the file's name."""
    return {key: value for key, value in record.items() if key not in ("latency", "started", "source")}


def mono(path: Path) -> Samples:
    """A recording as float32[n] at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mixed: Samples = samples.mean(axis=1, dtype=np.float32)
    return mixed if rate == SAMPLE_RATE else soxr.resample(mixed, rate, SAMPLE_RATE)


def write_wav(path: Path, samples: Samples, rate: int = SAMPLE_RATE, subtype: str = "FLOAT") -> Path:
    """float32[n] or float32[n, channels], unclipped."""
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Left-aligned columns for a person."""
    text = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in text) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in text)


def elapsed(since: float) -> str:
    return f"{time.monotonic() - since:.0f} s"
