"""An encoder for Arm's Ethos-U: int8 TFLite of one length, calibrated on recordings, compiled by Vela, with its report.

litert-torch and ai-edge-quantizer make the TFLite, ethos-u-vela compiles it; they are some 800 MB and an extra of their own
(`pip install 'auricle[npu]'`). Inputs and outputs are int8 as well, or their conversion would fall back to the processor.
"""

from __future__ import annotations

import csv
import importlib.util
import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.recipes.recipe import BuildError

if TYPE_CHECKING:
    from torch import Tensor, nn

ACCELERATORS = {"ethos-u55": "ethos-u55-128", "ethos-u65": "ethos-u65-256", "ethos-u85": "ethos-u85-256"}
"""Target -> Vela's configuration, of which the estimate is."""
TOOLS = ("litert_torch", "ai_edge_quantizer", "ethosu")


@dataclass(frozen=True, slots=True)
class Compiled:
    """What Vela says: operators on the NPU, those left to the processor by kind, estimated ms of one run, kilobytes of fast memory."""

    on_npu: int
    on_cpu: dict[str, int]
    milliseconds: float
    sram_kb: float

    @property
    def share(self) -> float:
        """Of the operators, in %."""
        return 100.0 * self.on_npu / max(1, self.on_npu + sum(self.on_cpu.values()))


def require(target: str) -> None:
    """Raises BuildError where the tools for an NPU are not installed; nothing for other targets."""
    missing = [name for name in TOOLS if importlib.util.find_spec(name) is None] if target in ACCELERATORS else []
    if missing:
        raise BuildError(f"--target {target} needs {', '.join(missing)}, which are not installed; pip install 'auricle[npu]'")


def to_tflite(module: nn.Module, example: Tensor, calibration: Sequence[NDArray[np.float32]], path: Path) -> None:
    """Writes the module as int8 TFLite for inputs of exactly the example's shape. Raises: BuildError."""
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe

    logging.getLogger("root").setLevel(logging.ERROR)
    floats = path.with_name(f"float.{path.name}")
    try:
        litert_torch.convert(module.eval(), (example,)).export(str(floats))
        work = quantizer.Quantizer(str(floats), recipe.static_wi8_ai8())
        ranges = work.calibrate({"serving_default": [{"args_0": np.ascontiguousarray(x, np.float32)} for x in calibration]})
        work.quantize(ranges).export_model(str(path), overwrite=True)
    except Exception as error:  # converter and quantizer share no base class
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BuildError(f"{path.name}: it cannot be made into int8 TFLite ({why}); choose --target cpu") from error
    finally:
        floats.unlink(missing_ok=True)


def run_int8(path: Path, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The int8 model's outputs in float, in their order: what the NPU computes, on the processor."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_path=str(path))
    model.allocate_tensors()
    (into,) = model.get_input_details()
    scale, zero = into["quantization"]
    model.set_tensor(into["index"], np.clip(np.round(given / scale) + zero, -128, 127).astype(np.int8))
    model.invoke()
    outputs = {d["index"]: d for d in model.get_output_details()}
    named: dict[str, Any] = next(iter(model._get_full_signature_list().values()))["outputs"]
    found = []
    for name in sorted(named, key=lambda n: int(n.rpartition("_")[2])):
        scale, zero = outputs[named[name]]["quantization"]
        found.append((model.get_tensor(named[name]).astype(np.float32) - zero) * np.float32(scale))
    return found


def compile_vela(path: Path, target: str, out: Path) -> Compiled:
    """Compiles an int8 TFLite for the target into `out` and reads what Vela reports. Raises: BuildError."""
    scratch = out.with_name(f"vela.{out.name}.d")
    command = [sys.executable, "-c", "from ethosu.vela.vela import main; main()", str(path), "--accelerator-config", ACCELERATORS[target]]
    done = subprocess.run([*command, "--output-dir", str(scratch), "--show-cpu-operations"], capture_output=True, text=True, check=False)
    made = next(scratch.glob("*_vela.tflite"), None) if scratch.is_dir() else None
    if done.returncode or made is None:
        why = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1][:200]
        raise BuildError(f"{path.name}: Vela does not compile it for {target} ({why}); choose another target")
    made.replace(out)
    report = done.stdout + done.stderr
    with next(scratch.glob("*_summary_*.csv")).open(newline="") as file:
        (row,) = csv.DictReader(file)
    cpu = Counter(re.findall(r"^\s*CPU: (\w+)", report, re.MULTILINE))
    npu = re.findall(r"^\s*NPU: \w+", report, re.MULTILINE)
    for left in sorted(scratch.glob("**/*"), reverse=True):
        left.unlink()
    scratch.rmdir()
    return Compiled(len(npu), dict(cpu), 1000.0 * float(row["inference_time"]), float(row["sram_memory_used"]))
