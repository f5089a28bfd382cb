"""ONNX models through onnxruntime; the only file that imports it, and only when the first model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BackendError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Our short names for onnxruntime's execution providers."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}

Ports = Mapping[str, tuple[str, tuple[int | None, ...]]]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs: providers asked for, those that took it (in order of preference), those that this machine lacks."""

    asked: tuple[str, ...]
    used: tuple[str, ...]
    absent: tuple[str, ...]


class OnnxModel:
    """A TensorModel of one ONNX file (path) or of its bytes; one thread at a time.

    threads: CPU threads inside one run. providers: our short names, in order of preference; those absent are skipped and told in
    `placement`. Nothing spins while idle and no memory arena is kept, so that many small models fit into a small process.
    Raises: ValueError for an unknown provider or thread count; BackendError when onnxruntime is absent or refuses the model.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 1, providers: Sequence[str] = ("cpu",)) -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, not {threads}")
        if not providers or any(p not in PROVIDERS for p in providers):
            raise ValueError(f"providers must be some of {', '.join(PROVIDERS)}, not {', '.join(providers) or 'none'}")
        self.name = "model in memory" if isinstance(model, bytes) else str(model)
        ort = _onnxruntime()
        have = set(ort.get_available_providers())
        usable = [PROVIDERS[p] for p in providers if PROVIDERS[p] in have]
        if not usable:
            raise BackendError(
                f"{self.name}: onnxruntime {ort.__version__} here has no provider {' or '.join(providers)}; "
                f'use providers=("cpu",) or install the onnxruntime build for that device.'
            )
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise BackendError(f"{self.name}: there is no such model file; check the path, or install the bundle again.")
        try:
            self._session = ort.InferenceSession(
                model if isinstance(model, bytes) else str(model), sess_options=_options(ort, threads), providers=usable
            )
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise BackendError(
                f"{self.name}: onnxruntime {ort.__version__} cannot load it ({_first_line(error)}); "
                f"the file is damaged or made for a newer onnxruntime."
            ) from error
        self.inputs: Ports = {i.name: _port(i) for i in self._session.get_inputs()}
        self.outputs: Ports = {o.name: _port(o) for o in self._session.get_outputs()}
        self._names = list(self.outputs)
        short = {long: name for name, long in PROVIDERS.items()}
        self.placement = Placement(
            asked=tuple(providers),
            used=tuple(short.get(p, p) for p in self._session.get_providers()),
            absent=tuple(p for p in providers if PROVIDERS[p] not in have),
        )

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name; the arrays are new and owned by the caller.

        Raises: ValueError when names, dtypes or shapes differ from `inputs`; BackendError when the model fails inside.
        """
        if arrays.keys() != self.inputs.keys():
            raise ValueError(f"{self.name} takes {', '.join(self.inputs)}, not {', '.join(arrays) or 'nothing'}")
        try:
            values = self._session.run(self._names, arrays)
        except Exception as error:
            if wrong := self._mismatch(arrays):
                raise ValueError(f"{self.name}: {wrong}") from error
            raise BackendError(
                f"{self.name}: onnxruntime failed to run it ({_first_line(error)}); try the model on provider cpu."
            ) from error
        return dict(zip(self._names, values, strict=True))

    def _mismatch(self, arrays: Mapping[str, NDArray[Any]]) -> str:
        for name, (dtype, shape) in self.inputs.items():
            array = np.asarray(arrays[name])
            fits = len(array.shape) == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
            if str(array.dtype) != dtype or not fits:
                return f"{name} must be {dtype}{_shape(shape)}, not {array.dtype}{_shape(array.shape)}"
        return ""


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be imported ({_first_line(error)}); install it with: pip install onnxruntime") from error
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _port(arg: Any) -> tuple[str, tuple[int | None, ...]]:
    return _DTYPES.get(arg.type, arg.type), tuple(d if isinstance(d, int) else None for d in arg.shape)


def _shape(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
