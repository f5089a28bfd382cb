"""What does a view of an open turn cost whose encoder keeps the rows that cannot change any more?

    .venv-export/bin/python benchmarks/encoder_growing.py [--rounds 9] [--output FILE]

A random Moonshine streaming of the size that its configuration has by itself (6 layers of 320) is built by `auricle-export` in float and
int8. A view, half a second after the last one at 5, 15 and 29 s of a turn, is encoded as the transcriber does and as a whole, one thread,
by turns; medians, the median of the ratios, and how far the rows of the newest second are apart.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from seq2seq_decode import ROOT

SECONDS, HOP_S, BAR = (5, 15, 29), 0.5, 0.35
SHAPE = {"hidden_size": 320, "intermediate_size": 1280, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 8}
WINDOWS = [[16, 4], [16, 4], [16, 0], [16, 0], [16, 4], [16, 4]]


def main() -> int:
    sys.path.insert(0, str(ROOT / "tests"))
    sys.path.insert(0, str(ROOT))
    import tiny_models
    from common import finish, parser

    from edge.bundle import Bundle
    from edge.transcriber import Transcriber, load_models
    from export.build import BuildOptions, build
    from export.onnx_parts import audios

    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=9)
    options = made.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny_models.moonshine(root / "source", True, sharp=1.5, **SHAPE, encoder_config=SHAPE | {"sliding_windows": WINDOWS})
        (sound,) = audios([30.0], seed=3)
        for precision in ("fp32", "int8"):
            bundle = Bundle.open(build(BuildOptions(str(root / "source"), root / precision, encoder=precision), lambda line: None))
            models = load_models(bundle, 1)
            growing, whole = Transcriber(bundle, models), Transcriber(bundle, models)
            for seconds in SECONDS:
                before, now = sound[: round((seconds - HOP_S) * 16_000)], sound[: seconds * 16_000]
                times: dict[str, list[float]] = {"growing": [], "whole": []}
                rows = {}
                for _ in range(options.rounds):
                    growing.encode(before)
                    whole.encode(sound[::-1])  # another sound: nothing is kept
                    for kind, line in (("growing", growing), ("whole", whole)):
                        began = time.perf_counter()
                        rows[kind] = line.encode(now)["last_hidden_state"][0, -50:]
                        times[kind].append(1000 * (time.perf_counter() - began))
                ratios = [a / b for a, b in zip(times["growing"], times["whole"], strict=True)]
                found[f"{precision}, {seconds} s"] = {
                    **{f"{kind}_ms": round(statistics.median(many), 2) for kind, many in times.items()},
                    "ratio": round(statistics.median(ratios), 3),
                    "max_abs": float(np.abs(rows["growing"] - rows["whole"]).max()),
                }
                print(f"{precision}, {seconds} s", found[f"{precision}, {seconds} s"], flush=True)
    bars = {f"{kind}: <= {BAR} of the whole at 15 s and later": f["ratio"] <= BAR for kind, f in found.items() if not kind.endswith(" 5 s")}
    bars |= {f"{kind}: the same rows": f["max_abs"] < 1e-4 for kind, f in found.items() if kind.startswith("fp32")}
    return finish(options, {"rounds": options.rounds, "found": found}, bars)


if __name__ == "__main__":
    sys.exit(main())
