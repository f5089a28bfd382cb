"""How much faster is an int8 encoder of ours than the same in float, and how near does it stay?

    .venv-export/bin/python benchmarks/encoder_int8.py [--rounds 15] [--output FILE]

A random Whisper of whisper-tiny's size is built by `auricle-export` in float and int8; both encoders run in onnxruntime with one thread on
the same mels of 5 and 30 s. Rounds alternate; medians and the median of their ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from seq2seq_decode import ROOT, SECONDS, WIDTH

FASTER, NEAR = 1.4, 0.999


def main() -> int:
    sys.path.insert(0, str(ROOT / "tests"))
    sys.path.insert(0, str(ROOT))
    import tiny_models
    from common import finish, parser

    from edge.backends.onnx import OnnxModel
    from edge.features import whisper_log_mel
    from export.build import BuildOptions, build
    from export.onnx_parts import audios

    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=15)
    options = made.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny_models.whisper(root / "source", seed=1, sharp=2.0, **WIDTH)
        models = {}
        for precision in ("fp32", "int8"):
            folder = build(BuildOptions(str(root / "source"), root / precision, encoder=precision), lambda line: None)
            models[precision] = OnnxModel(folder / "encoder.onnx")
        for seconds in SECONDS:
            mels = whisper_log_mel(audios([float(seconds)], seed=3)[0], 80)[None]
            times: dict[str, list[float]] = {precision: [] for precision in models}
            said: dict[str, Any] = {}
            for _ in range(options.rounds):
                for precision, model in models.items():
                    began = time.perf_counter()
                    said[precision] = next(iter(model.run({"input_features": mels}).values())).ravel()
                    times[precision].append(1000 * (time.perf_counter() - began))
            a, b = said["fp32"], said["int8"]
            found[f"{seconds} s"] = {
                **{f"{precision}_ms": round(statistics.median(many), 2) for precision, many in times.items()},
                "times_faster": round(float(np.median(np.array(times["fp32"]) / np.array(times["int8"]))), 2),
                "cosine": round(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), 5),
            }
    for kind, figures in found.items():
        print(kind, figures)
    bars = {f"{kind}: >= {FASTER} times as fast": f["times_faster"] >= FASTER for kind, f in found.items()}
    bars |= {f"{kind}: cosine >= {NEAR}": f["cosine"] >= NEAR for kind, f in found.items()}
    return finish(options, {"rounds": options.rounds, "found": found}, bars)


if __name__ == "__main__":
    sys.exit(main())
