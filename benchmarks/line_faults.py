"""Does every fault of a file, a device or a bundle end in one clear sentence?

    python benchmarks/line_faults.py [--bundle B] [--output benchmarks/results/line_faults.json]

Each fault is made from good material (the demo scene, the bundle) and met by the verbs that can meet it. Asked of each: exit code 1 or 2,
exactly one line on stderr that names the thing, no traceback, nothing on stdout, nothing written to --output, within 20 s. Eight
channels are no fault: they are mixed, so the exit code must be 0, stderr empty and every record sound.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from common import DEMO, ROOT, finish, mono, parser, run, table, write_wav

from edge.bundle import locate
from edge.types import SAMPLE_RATE

sys.path.insert(0, str(ROOT / "tests"))
from sound_server import HAS_PULSEAUDIO, NULL_SINK_MICROPHONE, pulse_server

TIMEOUT_S = 20.0


def files(folder: Path) -> Iterator[tuple[str, Path, bool]]:
    """(fault, path, whether the runtime may also deal with it)."""
    voice = mono(DEMO)[: 8 * SAMPLE_RATE]

    def made(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def encoded(kind: str) -> bytes:
        out = io.BytesIO()
        soundfile.write(out, voice, SAMPLE_RATE, format=kind)
        return out.getvalue()

    yield "missing", folder / "nowhere.wav", False
    yield "a folder", folder, False
    yield "empty", made("empty.wav", b""), False
    yield "text", made("text.wav", b"This is a letter, not a sound.\n" * 50), False
    yield "random bytes", made("random.flac", np.random.default_rng(0).bytes(50_000)), False
    for kind in ("WAV", "FLAC", "OGG"):
        whole = encoded(kind)
        yield f"{kind} cut in half", made(f"half.{kind.lower()}", whole[: len(whole) // 2]), False
        yield f"{kind} header only", made(f"header.{kind.lower()}", whole[:40]), False
    yield "0 seconds", write_wav(folder / "nothing.wav", voice[:0]), False
    broken = voice.copy()
    broken[::1000] = np.nan
    broken[500::1000] = np.inf
    yield "NaN and Inf in it", write_wav(folder / "nan.wav", broken), False
    yield "NaN throughout", write_wav(folder / "all_nan.wav", np.full_like(voice, np.nan)), False
    yield "8 channels", write_wav(folder / "eight.wav", np.repeat(voice[:, None], 8, axis=1)), True


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    change(content)
    manifest.write_text(json.dumps(content))


def bundle_faults(good: Path) -> dict[str, Callable[[Path], object]]:
    """What is done to a copy of the good bundle."""
    models = [entry["file"] for entry in json.loads((good / "manifest.json").read_text())["models"]]
    first, last = models[0], models[-1]

    def outside(folder: Path, name: str) -> None:
        shutil.move(folder / first, folder.parent / f"outside-{folder.name}")
        edit(folder, lambda manifest: manifest["models"][0].update(file=name))

    def link(folder: Path) -> None:
        shutil.move(folder / first, folder.parent / f"linked-{folder.name}")
        (folder / first).symlink_to(folder.parent / f"linked-{folder.name}")

    return {
        "one flipped bit, first model": lambda folder: flip(folder / first, (folder / first).stat().st_size // 2),
        "one flipped bit, last model": lambda folder: flip(folder / last, -1),
        "one flipped bit, manifest": lambda folder: flip(
            folder / "manifest.json", (folder / "manifest.json").read_text().index('"sha256": "') + 13
        ),
        "model missing": lambda folder: (folder / last).unlink(),
        "manifest missing": lambda folder: (folder / "manifest.json").unlink(),
        "manifest empty": lambda folder: (folder / "manifest.json").write_text(""),
        "extra file": lambda folder: (folder / "extra.bin").write_bytes(b"x"),
        "extra folder": lambda folder: (folder / "more").mkdir(),
        "escaping by ../": lambda folder: outside(folder, f"../outside-{folder.name}"),
        "escaping by an absolute path": lambda folder: outside(folder, str(folder.parent / f"outside-{folder.name}")),
        "escaping by a symlink": link,
        "model cut in half": lambda folder: (folder / first).write_bytes(
            (folder / first).read_bytes()[: (folder / first).stat().st_size // 2]
        ),
        "newer schema": lambda folder: edit(folder, lambda manifest: manifest.update(schema=99)),
    }


def bundles(folder: Path, good: Path) -> Iterator[tuple[str, Path]]:
    yield "bundle: missing", folder / "no-such-bundle"
    yield "bundle: a file that is none", write_wav(folder / "sound.wav", np.zeros(4000, np.float32))
    for at, (fault, harm) in enumerate(bundle_faults(good).items()):
        copy = folder / f"bundle-{at}"
        shutil.copytree(good, copy)
        harm(copy)
        yield f"bundle: {fault}", copy
    tar = folder / "escaping.tar"
    with tarfile.open(tar, "w") as archive:
        for path in sorted(good.iterdir()):
            archive.add(path, path.name if path.name == "manifest.json" else f"../{path.name}")
    yield "bundle: tar with ../ in it", tar
    whole = folder / "cut.tar"
    with tarfile.open(whole, "w") as archive:
        for path in sorted(good.iterdir()):
            archive.add(path, path.name)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    yield "bundle: tar cut off", whole


def sound_records(text: str) -> bool:
    """Every line is JSON with finite numbers, and there is a session."""
    try:
        lines = [json.loads(line, parse_constant=lambda word: math.nan) for line in text.splitlines()]
    except ValueError:
        return False
    numbers = [value for line in lines for value in line.values() if isinstance(value, float)]
    return bool(lines) and lines[0]["type"] == "session" and all(map(math.isfinite, numbers))


def verdict(case: str, arguments: list[str], names: str, written: Path | None, may_work: bool) -> dict[str, Any]:
    """Runs one command and says what is wrong with how it ended."""
    began = time.monotonic()
    done = run(*arguments, timeout_s=TIMEOUT_S)
    took_s = time.monotonic() - began
    said = done.stderr.splitlines()
    left = [] if written is None or not written.exists() else [p.name for p in ([written] if written.is_file() else written.iterdir())]
    wrong = []
    if done.returncode == 0 and may_work:
        content = done.stdout or "".join(p.read_text() for p in (written.iterdir() if written and written.is_dir() else [written]) if p)
        wrong += [] if sound_records(content) else ["records are broken"]
        wrong += [f"{len(said)} lines on stderr"] if said else []
    else:
        wrong += [] if done.returncode in (1, 2) else [f"exit code {done.returncode}"]
        wrong += [] if len(said) == 1 else [f"{len(said)} lines on stderr"]
        wrong += ["a traceback"] if "Traceback" in done.stderr else []
        wrong += ["called a defect"] if "defect in auricle" in done.stderr else []
        wrong += [] if names in done.stderr else [f"{names} is not named"]
        wrong += ["something on stdout"] if done.stdout else []
        wrong += [f"wrote {' '.join(left)}"] if left else []
    sentence = said[0] if said else ("dealt with" if done.returncode == 0 else "")
    return {"case": case, "code": done.returncode, "seconds": round(took_s, 1), "said": sentence, "wrong": wrong}


def cases(folder: Path, bundle: str) -> Iterator[tuple[str, list[str], str, Path | None, bool]]:
    """(case, arguments, what the sentence must name, where --output would write, whether exit 0 is right too)."""
    common = ["--bundle", bundle, "--format", "jsonl"]
    sounds, place = folder / "sounds", folder / "bundles"
    sounds.mkdir()
    place.mkdir()
    for number, (fault, path, may_work) in enumerate(files(sounds)):
        target = folder / f"out-{number}"
        yield f"caption: {fault}", ["caption", *common, "--output", str(target), str(path)], path.name, target, may_work
        yield f"caption, to stdout: {fault}", ["caption", *common, str(path)], path.name, None, may_work
        target = folder / f"out-{number}.jsonl"
        if not may_work:  # else it would take the sound's own time
            yield f"listen: {fault}", ["listen", *common, "--output", str(target), "--input", str(path)], path.name, target, False
    target = folder / "device.jsonl"
    device = ["listen", *common, "--output", str(target), "--device", "the moon"]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PULSE_SERVER", f"unix:{folder / 'none'}")
        yield "listen: a device, no sound server", device, "microphone", target, False
        if HAS_PULSEAUDIO:
            (folder / "pulse").mkdir()
            with pulse_server(folder / "pulse", environment, NULL_SINK_MICROPHONE.format(rate=16_000, channels=1)):
                yield "listen: unknown device", device, "the moon", target, False
    own = write_wav(folder / "own.wav", mono(DEMO)[: 4 * SAMPLE_RATE])
    yield "listen: --output is the input", ["listen", *common, "--output", str(own), "--input", str(own)], own.name, None, False
    yield "caption: --output is a file", ["caption", *common, "--output", str(own), str(DEMO)], own.name, None, False
    for number, (fault, path) in enumerate(bundles(place, locate(bundle))):
        target = folder / f"bundle-out-{number}"
        bad = ["--bundle", str(path), "--format", "jsonl", "--output", str(target)]
        yield f"caption: {fault}", ["caption", *bad, str(DEMO)], path.name, target, False
        yield f"inspect: {fault}", ["inspect", str(path)], path.name, None, False


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--only", default="", help="only cases with this in their name")
    options = parse.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = [verdict(*case) for case in cases(folder, options.bundle) if options.only in case[0]]
        for row in found:
            row["said"] = row["said"].replace(name, "…")
    rows = [
        [r["case"], r["code"], f"{r['seconds']} s", "; ".join(r["wrong"]) or "ok", r["said"].removeprefix("auricle: ")[:150]] for r in found
    ]
    print(table(rows, ["case", "exit", "took", "", "said"]))
    wrong = [row["case"] for row in found if row["wrong"]]
    print(f"{len(found)} cases, {len(wrong)} wrong")
    return finish(options, {"cases": found}, {"every fault ends in one clear sentence, exit code 1 or 2, nothing written": not wrong})


if __name__ == "__main__":
    raise SystemExit(main())
