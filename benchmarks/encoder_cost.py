"""What does a second of sound cost in the starter's encoder, with weights that become floats once instead of in every run?

    python benchmarks/encoder_cost.py [--before FILE] [--rounds 400] [--output FILE]

The same ONNX file in two sessions of one thread, as the runtime opens it and without `session.disable_quant_qdq`, chunk after chunk of the
demo scene in turns, each with its own caches. CPU time; medians and the medians of the ratios. Memory is what a process of its own has in
addition once it has run one of them. --before: another encoder's file, as it was run before, such as what
`git show 90742c6:edge/bundles/starter/encoder.int8.onnx` writes: 2.7.0's, with convolutions over time instead of images of one row.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, finish, parser

sys.path.insert(0, str(ROOT))

from edge.backends import onnx
from edge.backends.onnx import OnnxModel
from edge.bundle import Bundle
from edge.encoder import next_name

FASTER, NEAR, CHUNK_S = 1.05, 1e-4, 0.32
SCENE = ROOT / "edge/data/demo_scene.flac"


def opened(folded: bool, file: Path | None = None) -> OnnxModel:
    """The starter's encoder, or that of a file."""
    if not folded:
        onnx.FOLDED_BYTES = 0
    bundle = Bundle.open("starter")
    model = OnnxModel(bundle.read("encoder", "onnx") if file is None else file.read_bytes())
    bundle.close()
    onnx.FOLDED_BYTES = 32 << 20
    return model


def resident_mb(folded: bool) -> float:
    """Megabytes that a process grows by when it loads and runs it."""
    program = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\nimport encoder_cost as e, numpy as np\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "import onnxruntime\nbefore = rss()\n"
        f"model = e.opened({folded})\n"
        "given = {n: np.zeros([d or 1 for d in s], t) for n, (t, s) in model.inputs.items()}\n"
        "for _ in range(20): model.run(given)\nprint((rss() - before) / 1e6)"
    )
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=400)
    made.add_argument("--before", type=Path, metavar="FILE", help="another encoder, to compare with")
    options = made.parse_args()
    import soundfile

    from edge._native import log_mel

    samples, _ = soundfile.read(SCENE, dtype="float32")
    mels = log_mel(samples, 64, 50.0, 8000.0)
    models = {"folded": opened(True), "as_stored": opened(False)}
    if options.before is not None:
        models["before"] = opened(False, options.before)
    caches: dict[str, dict[str, Any]] = {
        name: {n: np.zeros([d or 1 for d in s], t) for n, (t, s) in model.inputs.items() if n != "mels"} for name, model in models.items()
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    furthest, frames = 0.0, next(iter(models.values())).inputs["mels"][1][1] or 32
    for number in range(options.rounds):
        at = number * frames % (len(mels) - frames)
        told = {}
        for name, model in models.items():
            began = time.process_time()
            told[name] = model.run({"mels": mels[None, at : at + frames], **caches[name]})
            times[name].append(1000 * (time.process_time() - began) / CHUNK_S)
            caches[name] = {n: told[name][next_name(n)] for n in caches[name]}
        others = [np.abs(told["folded"]["scores"] - one["scores"]).max() for one in told.values()]
        furthest = max(furthest, float(max(others)))
    ratios = {name: float(np.median(np.array(many) / np.array(times["folded"]))) for name, many in times.items() if name != "folded"}
    found = {
        **{f"{name}_ms_per_s": round(statistics.median(many), 2) for name, many in times.items()},
        "times_faster_than": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "scores_differ_by": furthest,
        **{f"{name}_mb": round(resident_mb(name == "folded"), 1) for name in ("folded", "as_stored")},
    }
    print(found)
    bars = {f"folded >= {FASTER} times as fast": ratios["as_stored"] >= FASTER, f"scores within {NEAR:g}": furthest <= NEAR}
    return finish(options, {"rounds": options.rounds, "found": found}, bars)


if __name__ == "__main__":
    sys.exit(main())
