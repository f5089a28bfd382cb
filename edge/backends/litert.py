"""TFLite models through LiteRT, or tflite_runtime where the device brings that; the only file that imports either, when one is needed."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.onnx import Placement, Ports
from edge.backends.tflite_file import minimum_runtime
from edge.errors import BackendError

PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
"""Tried in this order; both have the same classes."""

DELEGATES = {
    "edgetpu": "libedgetpu.so.1",
    "ethosu": "libethosu_delegate.so",
    "vx": "libvx_delegate.so",
    "armnn": "libarmnnDelegate.so",
    "hexagon": "libhexagon_delegate.so",
    "qnn": "libQnnTFLiteDelegate.so",
}
"""Our short names for the shared libraries that vendors call their delegates by."""


class LiteRtModel:
    """A TensorModel of one TFLite file (path) or of its bytes; one thread at a time.

    threads: CPU threads inside one run. delegate: one of DELEGATES or the path of a delegate's library; what it leaves runs on the CPU.
    Ports have the names of the model's signature where it has exactly one, else those of its tensors. A quantized port takes and gives
    float32: it is stored in whole numbers on the way.
    Raises: ValueError for an unknown delegate or thread count; BackendError when LiteRT or the delegate is absent or refuses the model.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 1, delegate: str | None = None) -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, not {threads}")
        if delegate is not None and delegate not in DELEGATES and "/" not in delegate:
            raise ValueError(f"delegate must be one of {', '.join(DELEGATES)} or the path of a library, not {delegate!r}")
        self.name = "model in memory" if isinstance(model, bytes) else str(model)
        runtime = _runtime()
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise BackendError(f"{self.name}: there is no such model file; check the path, or install the bundle again.")
        # From bytes in both cases: what was read is what runs, even if the file is replaced meanwhile.
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        _suits(runtime, content, self.name)
        delegates = [] if delegate is None else [_delegate(runtime, delegate, self.name)]
        self._interpreter = self._build(runtime, content, threads, delegates, delegate)
        inputs, outputs = _signature(self._interpreter)
        self._inputs = {inputs.get(d["index"], d["name"]): d for d in self._interpreter.get_input_details()}
        self._outputs = {outputs.get(d["index"], d["name"]): d for d in self._interpreter.get_output_details()}
        self.inputs: Ports = {name: _port(detail) for name, detail in self._inputs.items()}
        self.outputs: Ports = {name: _port(detail) for name, detail in self._outputs.items()}
        asked = () if delegate is None else (delegate,)
        self.placement = Placement(asked=(*asked, "cpu"), used=(*asked, "cpu"), absent=())
        self._running = threading.Lock()

    @staticmethod
    def load(model: bytes, name: str, threads: int, providers: Sequence[str], strict: bool) -> LiteRtModel:
        """A model of a bundle on the first of these delegates that takes it, on the processor where cpu is named.

        Names that are no delegate are for ONNX models and skipped. strict: refuses what does not run as asked for. Raises: BackendError.
        """
        refused: list[str] = []
        for delegate in (known for known in providers if known in DELEGATES):
            try:
                loaded, took = LiteRtModel(model, threads, delegate), True
                break
            except BackendError as error:
                refused.append(str(error).removeprefix("model in memory: ").rstrip("."))
        else:
            if refused and "cpu" not in providers:
                raise BackendError(f"{name}: {'; '.join(refused)}; ask for cpu behind it")
            loaded, took = LiteRtModel(model, threads), False
        loaded.name = name
        loaded.placement = Placement(tuple(providers), loaded.placement.used, absent=(), refused="" if took else "; ".join(refused))
        missing = [known for known in providers if known not in (*DELEGATES, "cpu")] if "cpu" not in providers else []
        if strict and (short := [*refused, *(f"{known} runs no TFLite models" for known in missing)]):
            raise BackendError(f"{name}: {'; '.join(short)}; ask for other --providers, or leave --strict out")
        return loaded

    def _build(self, runtime: ModuleType, content: bytes, threads: int, delegates: list[Any], delegate: str | None) -> Any:
        try:
            interpreter = runtime.Interpreter(model_content=content, num_threads=threads, experimental_delegates=delegates)
            interpreter.allocate_tensors()
            return interpreter
        except Exception as error:  # ValueError, RuntimeError, and what numpy makes of an old tflite_runtime
            package = runtime.__name__.partition(".")[0]
            remedy = (
                "leave the delegate out, or compile the model for it"
                if delegate
                else "the file is damaged or needs operators that it lacks"
            )
            on = f" on {delegate}" if delegate else ""
            raise BackendError(f"{self.name}: {package} cannot load it{on} ({_first_line(error)}); {remedy}.") from error

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name; the arrays are new and owned by the caller.

        Raises: ValueError when names, dtypes or shapes differ from `inputs`; BackendError when the model fails inside.
        """
        if arrays.keys() != self.inputs.keys():
            raise ValueError(f"{self.name} takes {', '.join(self.inputs)}, not {', '.join(arrays) or 'nothing'}")
        for name, array in arrays.items():
            dtype, shape = self.inputs[name]
            fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
            if str(array.dtype) != dtype or not fits:
                raise ValueError(f"{self.name}: {name} must be {dtype}{_shape(shape)}, not {array.dtype}{_shape(array.shape)}")
        if not self._running.acquire(blocking=False):
            raise ValueError(f"{self.name} is already running in another thread; give each thread a model of its own")
        try:
            return self._run(arrays)
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"{self.name}: LiteRT failed to run it ({_first_line(error)}); try the model without a delegate.") from error
        finally:
            self._running.release()

    def _run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        current = {d["index"]: tuple(d["shape"]) for d in self._interpreter.get_input_details()}
        resized = False
        for name, array in arrays.items():
            index = self._inputs[name]["index"]
            if current[index] != array.shape:
                self._interpreter.resize_tensor_input(index, array.shape)
                resized = True
        if resized:
            self._interpreter.allocate_tensors()
        for name, array in arrays.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], np.ascontiguousarray(_stored(array, self._inputs[name])))
        self._interpreter.invoke()
        return {name: _told(self._interpreter.get_tensor(detail["index"]), detail) for name, detail in self._outputs.items()}


def _runtime() -> ModuleType:
    causes = []
    for package in PACKAGES:
        try:
            return importlib.import_module(package)
        except ImportError as error:
            causes.append(_first_line(error))
    raise BackendError(
        f"TFLite models need LiteRT, which cannot be imported ({'; '.join(causes)}); install it with: pip install auricle[tflite]"
    )


def _suits(runtime: ModuleType, content: bytes, name: str) -> None:
    """Looks at the file before the interpreter does. Raises: BackendError."""
    try:
        wanted = minimum_runtime(content)
    except ValueError as error:
        raise BackendError(f"{name}: {error}; install the bundle again, or export the model anew") from None
    package = runtime.__name__.partition(".")[0]
    # tflite_runtime counts as TensorFlow does, which is what the file asks for; LiteRT began anew at 1.0 behind the last of those.
    if package != "tflite_runtime":
        return
    there = _numbers(str(getattr(importlib.import_module(package), "__version__", "")))
    if _numbers(wanted) > there:
        raise BackendError(
            f"{name}: it needs tflite_runtime {wanted}, here is {'.'.join(map(str, there)) or 'one without a version'}; install a newer "
            "tflite_runtime or ai-edge-litert, or export the model with older operators"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Of "2.16.0" (2, 16, 0); what is no number ends it."""
    return tuple(int(part) for part in itertools.takewhile(str.isdigit, version.split(".")))


def _delegate(runtime: ModuleType, name: str, model: str) -> Any:
    library = DELEGATES.get(name, name)
    try:
        # Looked at first: load_delegate leaves a half-made object behind whose end is printed as a traceback.
        if not hasattr(ctypes.PyDLL(library), "tflite_plugin_create_delegate"):
            raise OSError("the library is no TFLite delegate")
        return runtime.load_delegate(library)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"{model}: the delegate {name} cannot be loaded ({_first_line(error)}); install its vendor's {library} or run without it."
        ) from error


def _signature(interpreter: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Names of inputs and outputs by tensor index, empty unless the model has exactly one signature."""
    keys = list(interpreter.get_signature_list())
    if len(keys) != 1:
        return {}, {}
    runner = interpreter.get_signature_runner(keys[0])
    return tuple({d["index"]: name for name, d in ports.items()} for ports in (runner.get_input_details(), runner.get_output_details()))  # type: ignore[return-value]


def _port(detail: Mapping[str, Any]) -> tuple[str, tuple[int | None, ...]]:
    free = detail.get("shape_signature")
    shape = free if free is not None and len(free) == len(detail["shape"]) else detail["shape"]
    return "float32" if _scale(detail)[0] else np.dtype(detail["dtype"]).name, tuple(None if d < 0 else int(d) for d in shape)


def _scale(detail: Mapping[str, Any]) -> tuple[float, int]:
    """(scale, zero) of a port whose whole numbers stand for fractions; (0.0, 0) where they are what they are."""
    scale, zero = detail.get("quantization") or (0.0, 0)
    return (float(scale), int(zero)) if np.issubdtype(detail["dtype"], np.integer) else (0.0, 0)


def _stored(array: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[Any]:
    scale, zero = _scale(detail)
    if not scale:
        return array
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _told(array: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[Any]:
    scale, zero = _scale(detail)
    return (array.astype(np.float32) - zero) * np.float32(scale) if scale else array


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
