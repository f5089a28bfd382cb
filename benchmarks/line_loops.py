"""Does a transcriber that has come loose stop? An hour of noise through a random Whisper, which says the same without end.

    .venv-export/bin/python benchmarks/line_loops.py [--hours 1] [--output benchmarks/results/line_loops.json]

The transcriber gets turns of 5 to 30 s of white, pink and brown noise as if somebody spoke in them, in views of a second or more. Random
weights stand for the worst model: the same transcriber without its guards says how much of it loops. A loop: a text in which a phrase of up
to 32 tokens comes four times or more in a row, 12 tokens or more in all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import ROOT, finish, parser, unmeasured

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))
from edge.bundle import Bundle
from edge.guards import cut_loops
from edge.transcriber import Transcriber, load_models
from edge.types import SAMPLE_RATE, Samples, Turn


def noise(rng: np.random.Generator, seconds: float) -> Samples:
    """White, pink or brown, -60 to -20 dBFS."""
    white = rng.normal(0, 1, round(seconds * SAMPLE_RATE))
    spectrum = np.fft.rfft(white) / np.maximum(np.arange(len(white) // 2 + 1), 1) ** float(rng.choice([0.0, 0.5, 1.0]))
    shaped = np.fft.irfft(spectrum, len(white))
    return (shaped / np.sqrt(np.mean(shaped**2)) * 10 ** (rng.uniform(-60, -20) / 20)).astype(np.float32)


def hear(reader: Transcriber, hours: float) -> dict[str, Any]:
    """Finals that loop, tokens, guards, seconds, over that much noise."""
    rng, heard, turn = np.random.default_rng(8), 0.0, 0
    found: Counter[str] = Counter()
    tokens, loops, began = 0, 0, time.monotonic()
    while heard < hours * 3600:
        seconds, turn = float(rng.uniform(5, 30)), turn + 1
        samples, at, caption = noise(rng, seconds), 0, None
        while at < len(samples):
            stop = min(len(samples), at + int(rng.uniform(1, 8) * SAMPLE_RATE))
            view = Turn(turn, 0, stop, stop == len(samples), "hop", "speech", speech=True)
            reader.begin(view)
            caption = reader.revise(view, reader.extend(samples[at:stop]), []) or caption
            at = stop
        said = list(reader._open.tokens)
        loops += cut_loops(said) != said
        tokens += len(said)
        found[caption.guard if caption is not None and caption.guard else "none"] += 1
        heard += seconds
    return {
        "turns": turn,
        "finals_that_loop": loops,
        "tokens": tokens,
        "guards": dict(found),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--hours", type=float, default=1.0)
    options = parse.parse_args()
    try:
        import tiny_models

        from export.build import BuildOptions, build
    except ImportError as error:
        return unmeasured(f"a random Whisper is built with torch ({error}); use .venv-export")
    with tempfile.TemporaryDirectory() as name:
        tiny_models.whisper(Path(name) / "source")
        bundle = Bundle.open(build(BuildOptions(str(Path(name) / "source"), Path(name) / "bundle", encoder="fp32"), lambda line: None))
        guarded = hear(Transcriber(bundle, load_models(bundle, 1)), options.hours)
        with mock.patch("edge.seq2seq.loop_at", return_value=None), mock.patch("edge.transcriber.wordy_at", return_value=None):
            unguarded = hear(Transcriber(bundle, load_models(bundle, 1)), options.hours / 10)
    print(f"guarded: {guarded}\nwithout guards, a tenth of it: {unguarded}")
    bars = {
        "no final that loops beyond what was committed": guarded["finals_that_loop"] == 0,
        "without guards there are some": unguarded["finals_that_loop"] > 0,
    }
    return finish(options, {"hours": options.hours, "guarded": guarded, "unguarded_tenth": unguarded}, bars)


if __name__ == "__main__":
    raise SystemExit(main())
