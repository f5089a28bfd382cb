"""What becomes of captions when the language model needs twenty times as long as there is, and when it is quick again?

    python benchmarks/line_overload.py [--bundle B] [--overload_s 60] [--quiet_s 60] [--output benchmarks/results/line_overload.json]

Scenes at the speed of real time: recordings of ESC-10 of 3 s each, 3 s apart. For the first --overload_s seconds of the clock every text
takes 20 hops (10 s) instead of some milliseconds, so that captioning every view would take 20 times the length of the stream; after that
the model is as quick as it is. Compared with the same file at any speed: finals and sounds, each with its span; whether the lag that each
status tells is what a clock beside it shows; how long behind the overload's end the line is live again; and resident memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import DATA, finish, mono, parser, unmeasured, write_wav

from edge.backends.llama import LlamaModel
from edge.config import Config, load
from edge.listener import Listener
from edge.types import SAMPLE_RATE

TIMES = 20
LIVE_S = 0.5
"""A line is live again where it lags by less than this: a hop."""


def scene(length_s: float) -> np.ndarray:
    """Recordings of 3 s, every class in turn, with as long a pause behind each."""
    clips = [mono(path) for path in sorted((DATA / "esc10").glob("*/*.ogg"))[::27]]
    gap = np.random.default_rng(1).normal(0, 1e-4, 3 * SAMPLE_RATE).astype(np.float32)
    parts: list[np.ndarray] = [gap]
    while sum(map(len, parts)) < length_s * SAMPLE_RATE:
        parts += [clips[len(parts) // 2 % len(clips)][: 3 * SAMPLE_RATE], gap]
    return np.concatenate(parts)


def spans(records: Sequence[dict[str, Any]], kind: str) -> list[tuple[Any, ...]]:
    """What must be the same: of finals their spans, of sounds label and onset."""
    if kind == "caption":
        return [(r["id"], r["start"], r["end"]) for r in records if r["type"] == kind and r["final"]]
    return [(r["id"], r["label"], r["start"]) for r in records if r["type"] == kind and r["state"] == "start"]


def texts(records: Sequence[dict[str, Any]]) -> dict[int, str]:
    return {r["id"]: r["text"] for r in records if r["type"] == "caption" and r["final"]}


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--overload_s", type=float, default=60.0)
    parse.add_argument("--quiet_s", type=float, default=60.0)
    options = parse.parse_args()
    if not (DATA / "esc10").is_dir():
        return unmeasured(f"no ESC-10 under {DATA}")
    gate = load().gate
    hop_s = gate.hop_s
    with tempfile.TemporaryDirectory() as name, Listener(options.bundle, Config(status_s=1.0)) as listener:
        path = Path(name) / "scenes.wav"
        write_wav(path, scene(options.overload_s + options.quiet_s))
        offline = list(listener.listen(path))
        decode = LlamaModel.decode
        live: list[tuple[float, dict[str, Any]]] = []
        memory: list[int] = []
        slow = 0

        def slowed(self: LlamaModel, *args: Any) -> list[int]:
            nonlocal slow
            if time.monotonic() - begun < options.overload_s:
                slow += 1
                time.sleep(TIMES * hop_s)
            return decode(self, *args)

        begun = time.monotonic()
        with mock.patch.object(LlamaModel, "decode", slowed):
            for record in listener.listen(path, realtime=True):
                if record["type"] == "session":
                    begun = time.monotonic()
                live.append((time.monotonic() - begun, record))
                if record["type"] == "status":
                    memory.append(resident())
    records = [record for _, record in live]
    statuses = [(at, r) for at, r in live if r["type"] == "status"]
    # A turn is closed by the silence behind it: its end lies so far before the sample that was the newest when the gate knew.
    behind = {end: gate.hang_over_s - gate.tail_s for _, _, end in spans(records, "caption")}
    errors = [abs(r["lag"] - max(0.0, at - r["at"] - behind.get(r["at"], 0.0))) for at, r in statuses]
    late = [at for at, r in statuses if at > options.overload_s and r["lag"] > LIVE_S]
    own, wanted = texts(records), texts(offline)
    result = {
        "overload_s": options.overload_s,
        "texts_at_20_hops_each": slow,
        "finals": len(wanted),
        "finals_told": len(own),
        "finals_with_the_same_text": sum(own.get(key) == text for key, text in wanted.items()),
        "sounds": len(spans(offline, "sound")),
        "gaps": sum(r["type"] == "gap" for r in records),
        "shed": statuses[-1][1]["shed"],
        "largest_lag_s": max(r["lag"] for _, r in statuses),
        "lag_told_wrong_by_s": {"worst": round(max(errors), 3), "n": len(errors)},
        "live_again_after_s": round(max(late) - options.overload_s, 2) if late else 0.0,
        "memory_mb": {"first": round(memory[0] / 1e6, 1), "largest": round(max(memory) / 1e6, 1), "last": round(memory[-1] / 1e6, 1)},
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    bars = {
        "every final is told, with its span": spans(records, "caption") == spans(offline, "caption"),
        "every sound is told, with its onset": spans(records, "sound") == spans(offline, "sound"),
        "the lag that is told is the clock's within a hop": max(errors) <= hop_s,
        "live again within 5 s of the overload's end": result["live_again_after_s"] <= 5.0,
        "memory grows by less than 5 MB": max(memory) - memory[0] < 5e6,
    }
    return finish(options, result, bars)


if __name__ == "__main__":
    raise SystemExit(main())
