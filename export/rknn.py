"""An encoder for Rockchip's NPUs: RKNN of one length, made and simulated by rknn-toolkit2 under a Python of its own.

The toolkit wants numpy 1 and an old onnx, so it has an environment of its own, named by --rknn-python; docs/export.md tells how.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.recipes.recipe import BuildError, Work

PLATFORMS = ("rk3588",)
"""Targets, by the names that the toolkit has for them."""
WORKER = Path(__file__).with_name("rknn_worker.py")


def require_toolkit(work: Work) -> None:
    """Raises BuildError where the target is one of Rockchip's and --rknn-python is no Python with rknn-toolkit2."""
    if work.target not in PLATFORMS:
        return
    python = work.options.get("rknn_python", "")
    if not python:
        raise BuildError(f"--target {work.target} needs --rknn-python, a Python that has rknn-toolkit2; docs/export.md tells how")
    try:
        command = [python, "-c", "from rknn.api import RKNN"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"--rknn-python {python}: it cannot be run ({error}); name the Python of an environment") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:160]
        raise BuildError(f"--rknn-python {python}: it has no rknn-toolkit2 that works ({why}); docs/export.md tells how")


def to_rknn(
    work: Work, model: Path, out: Path, given: Sequence[NDArray[np.float32]], calibration: Sequence[NDArray[np.float32]] = ()
) -> NDArray[np.float32]:
    """Writes `out` from an ONNX file of fixed sizes with one input, and returns what the simulator computes of each given array.

    given: float32[1, …] each. calibration: int8 on these, float16 without any. Raises: BuildError.
    """
    job = {"model": str(model.resolve()), "out": str(out.resolve()), "target": work.target, "calibration": ""}
    for key, arrays in (("given", given), ("calibration", calibration)):
        if arrays:
            job[key] = str(work.scratch / f"{key}.npy")
            np.save(job[key], np.concatenate(arrays))
    job["found"] = str(work.scratch / "found.npy")
    description = work.scratch / "job.json"
    description.write_text(json.dumps(job))
    command = [work.options["rknn_python"], "-I", str(WORKER), str(description)]  # -I: its folder is no place to import from
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work.scratch)
    if done.returncode or not out.is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("FAILED", "E ", "ValueError"))]
        why = (lines or [f"status {done.returncode}"])[-1][:200]
        raise BuildError(f"{model.name}: rknn-toolkit2 does not convert it for {work.target} ({why}); choose another target")
    found: NDArray[np.float32] = np.load(job["found"])
    return found.astype(np.float32)
