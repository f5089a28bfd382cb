"""One evaluation: every part on the bundle, the same on another beside it where one is given, then evaluation.json and evaluation.html.

A part that is done lies in DIR/parts and is not examined again while bundle, options, runtime and exam stay the same: the exam's code, and
names and sizes of the files that it reads.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge import _native
from edge.bundle import Bundle
from export.evaluate import charts, clips, cost, counts, digits, hits, order, page, questions, quiet, rooms, scenes
from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import HEADLINES, Skipped, difference, receipt
from export.evaluate.peer import LABELS, Peer
from export.evaluate.progress import tell
from export.pack import commit

__all__ = ["EvaluateOptions", "evaluate", "receipt"]

SCHEMA = 1
PEER = "yamnet"
ROOT = Path(__file__).resolve().parents[2]
WORST = 10
PARTS: dict[str, tuple[Callable[[Any, Exam], dict[str, Any]], str]] = {
    "clips": (clips.measure, ""),
    "scenes": (scenes.measure, ""),
    "counts": (counts.measure, "captions"),
    "digits": (digits.measure, "captions"),
    "questions": (questions.measure, "answers"),
    "order": (order.measure, "answers"),
    "quiet": (quiet.measure, "bundle"),
    "rooms": (rooms.measure, "bundle"),
    "cost": (cost.measure, "bundle"),
}
"""Each part, and what it needs: a bundle that captions, one that answers questions, any bundle, or nothing (YAMNet can do it too)."""
LIBRARIES = ("numpy", "scipy", "onnxruntime", "llama-cpp-python", "soundfile", "soxr", "sed_eval", "matplotlib", "ai-edge-litert")


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """bundle, against: a name, a folder, a tar, or "yamnet"; against "" for none. The rest: see Exam."""

    bundle: str | Path
    data: Path
    out: Path
    fold: int = 4
    speaker: str = "theo"
    against: str | Path = ""
    scenes: int = 200
    hours: float = 1.0
    seed: int = 7
    quick: bool = False


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Writes OUT/evaluation.json and OUT/evaluation.html; returns what the first holds. Raises: EdgeError, OSError."""
    exam = Exam(options.data, options.fold, options.speaker, options.scenes, options.hours, options.seed, options.quick)
    _check(options, exam)
    found = examine(options.bundle, exam, options.out)
    evaluation = {
        "schema": SCHEMA,
        **found,
        "failures": failures(found["parts"]),
        "options": {key: getattr(options, key) for key in ("fold", "speaker", "scenes", "hours", "seed", "quick")},
        "machine": machine(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "libraries": libraries(),
    }
    if options.against:
        evaluation["against"] = compared(found["figures"], examine(options.against, exam, options.out / "against"))
    write(options.out / "evaluation.json", json.dumps(evaluation, indent=1, ensure_ascii=False) + "\n")
    heard = {row["index"]: exam.two_sound(row["index"]).samples for row in evaluation["failures"]}
    write(options.out / "evaluation.html", page.render(evaluation, charts.charts(evaluation["parts"]), heard))
    tell(f"the evaluation lies in {options.out}/evaluation.html and evaluation.json")
    return evaluation


def _check(options: EvaluateOptions, exam: Exam) -> None:
    """What is missing is told before minutes have passed. Raises: FileNotFoundError, BundleError, ImportError."""
    if options.speaker:
        _ = exam.digits
    if options.against and str(options.against) != PEER:
        Bundle.open(options.against).close()
    hits.sed_eval()
    importlib.import_module("matplotlib")


def examine(name: str | Path, exam: Exam, out: Path) -> dict[str, Any]:
    """{"bundle", "figures", "parts"} of one bundle; parts that are done are read from OUT/parts."""
    with Peer(exam.data) if str(name) == PEER else Ear(name) as ear:
        tell(f"examining {ear.name} {ear.version}")
        able = {"", *(("bundle",) if isinstance(ear, Ear) else ()), *("captions",) * ear.captions, *("answers",) * ear.answers}
        parts: dict[str, Any] = {}
        for part, (measure, needs) in PARTS.items():
            if needs not in able:
                parts[part] = {"skipped": _why(ear.name, needs), "figures": {}}
                tell(f"{part}: skipped, {parts[part]['skipped']}")
                continue
            parts[part] = kept(
                part, key_of(ear.sha256, exam, needs), out / "parts" / f"{part}.json", lambda measure=measure: measure(ear, exam)
            )
        figures = {key: figure for part in parts.values() for key, figure in part["figures"].items()}
        ordered = {key: figures[key] for key in HEADLINES if key in figures}
        return {"bundle": ear.about(), "figures": ordered | figures, "parts": parts}


def _why(name: str, needs: str) -> str:
    return {
        "captions": f"{name} has no language model, so it captions nothing",
        "answers": f"{name} answers no questions (its manifest has no ask_prompt)",
        "bundle": f"{name} is no bundle",
    }[needs]


def kept(part: str, key: Mapping[str, Any], path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The part's result, from its file if that was made with the same key."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["key"] == dict(key):
            tell(f"{part}: done before ({path})")
            return dict(held["result"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or broken off while it was written
    began = time.monotonic()
    tell(f"{part} …")
    try:
        result = make()
    except Skipped as why:
        tell(f"{part}: skipped, {why}")
        return {"skipped": str(why), "figures": {}}
    result["took_s"] = round(time.monotonic() - began, 1)
    write(path, json.dumps({"key": dict(key), "result": result}, indent=1, ensure_ascii=False) + "\n")
    headline = ", ".join(f"{key} {page.shown(f['value'], f['unit'])}" for key, f in result["figures"].items() if key in HEADLINES)
    tell(f"{part}: {headline} ({result['took_s']:.0f} s)")
    return dict(json.loads(json.dumps(result)))


def key_of(sha256: str, exam: Exam, needs: str) -> dict[str, Any]:
    """What a part's result depends on."""
    told = {"data": str(exam.data.resolve()), "fold": exam.fold, "speaker": exam.speaker, "scenes": exam.scenes, "hours": exam.hours}
    digests = {"code": code_digest(), "read": data_digest(exam), "libraries": libraries(), "cpu": machine()["cpu"]}
    return {"bundle": sha256, "needs": needs, **told, "seed": exam.seed, "quick": exam.quick, **digests}


def data_digest(exam: Exam) -> str:
    """sha256 over name and size of every file that a part reads; another file of the same name and size goes unseen.

    Of the published YAMNet only the labels: the model is in its bundle's digest.
    """
    files = {*exam.files(), *quiet.files(exam.data), *rooms.files(exam.data), exam.data / LABELS}
    there = [path for path in files if path.is_file()]
    named = sorted((str(path.relative_to(exam.data) if path.is_relative_to(exam.data) else path), path.stat().st_size) for path in there)
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def code_digest() -> str:
    """sha256 over the runtime, what of it is compiled included, and over what makes, judges and counts; not over training and this page."""
    whole = hashlib.sha256()
    names = ("ambience", "events", "labels", "language", "nouns", "questions", "packaged", "recordings", "teacher")
    makers = [ROOT / "export/train" / f"{name}.py" for name in names] + [ROOT / "export/train/ambience.toml"]
    judges = [p for p in sorted((ROOT / "export/evaluate").glob("*.py")) if p.stem not in ("run", "page", "charts", "progress")]
    runtime = [*sorted((ROOT / "edge").glob("**/*.py")), Path(_native.__file__)]
    for path in [*makers, *sorted((ROOT / "export/train").glob("synth*.py")), *judges, *runtime]:
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def failures(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The worst scenes, the worst first, at most ten; none where nothing is captioned."""
    part = parts["scenes"]
    rows = part.get("scenes", []) if "scenes_right" in part["figures"] else []
    return sorted((row for row in rows if row["faults"] > 0), key=lambda row: (-row["faults"], row["index"]))[:WORST]


def compared(mine: Mapping[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The other examination with how far mine lies above it, by figure."""
    apart = {key: difference(key, mine[key], other["figures"][key]) for key in HEADLINES if key in mine and key in other["figures"]}
    return {**other, "difference": {key: points for key, points in apart.items() if points is not None}}


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def machine() -> dict[str, Any]:
    """Where the figures were taken."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def libraries() -> dict[str, str]:
    """Versions of what was measured with."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found
