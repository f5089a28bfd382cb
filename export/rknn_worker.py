"""Runs under a Python of its own that has rknn-toolkit2 (old numpy, old onnx): ONNX -> RKNN, and what Rockchip's simulator makes of it.

Usage: PYTHON rknn_worker.py JOB.json        imports nothing of auricle.

The job: model, out, target; given: .npy, [N, …] of the input; found: .npy to write; calibration: .npy, or "" for float16. Exit status 3 and
one line on stderr where a step fails.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(job):
    from rknn.api import RKNN

    def step(what, status):
        if status != 0:
            print(f"FAILED: {what}", file=sys.stderr)
            sys.exit(3)

    tool = RKNN(verbose=False)
    step("config", tool.config(target_platform=job["target"]) or 0)
    step("load_onnx", tool.load_onnx(model=job["model"]))
    listed = None
    if job["calibration"]:
        listed = Path(job["found"]).with_suffix(".txt")
        names = []
        for index, array in enumerate(np.load(job["calibration"])):
            name = listed.with_name(f"calibration{index}.npy")
            np.save(name, array[None])
            names.append(str(name))
        listed.write_text("\n".join(names))
    step("build", tool.build(do_quantization=listed is not None, dataset=listed and str(listed)))
    step("export_rknn", tool.export_rknn(job["out"]))
    step("init_runtime of the simulator", tool.init_runtime())
    found = [tool.inference(inputs=[array[None]], data_format=["nchw"])[0] for array in np.load(job["given"])]
    np.save(job["found"], np.stack([np.asarray(x, np.float32) for x in found]))
    tool.release()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
