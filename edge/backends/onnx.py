"""ONNX models through onnxruntime; the only file that imports it, and only when the first model is loaded."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    "acl": "ACLExecutionProvider",
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

FOLDED_BYTES = 32 << 20
"""Up to this size a model's 8-bit weights become floats once, when it is loaded. A larger one would take four times its memory."""

Ports = Mapping[str, tuple[str, tuple[int | None, ...]]]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs: providers asked for, those that took it (in order of preference), those that this machine lacks.

    nodes: how many of the model's nodes, after fusion, each provider runs, as read back from the loaded session; empty where that is not
    known (the processor alone was asked for, or onnxruntime is older than 1.24). strays: operators of nodes on providers not asked for.
    refused: why a provider could not take the model, which runs on the processor instead.
    """

    asked: tuple[str, ...]
    used: tuple[str, ...]
    absent: tuple[str, ...]
    nodes: Mapping[str, int] = field(default_factory=dict)
    strays: Mapping[str, int] = field(default_factory=dict)
    refused: str = ""

    def shortfalls(self) -> list[str]:
        """What is not as it was asked for, a half-sentence each; empty where all is."""
        found = [f"{name} is not in this build of onnxruntime" for name in self.absent]
        if self.refused:
            found.append(
                f"{', '.join(n for n in self.asked if n not in ('cpu', *self.absent))} refused it, it runs on cpu ({self.refused})"
            )
            return found
        found += [f"{name} did not start" for name in self.asked if name not in self.used and name not in self.absent]
        elsewhere = {name: count for name, count in self.nodes.items() if name not in self.asked}
        if elsewhere:
            where = " and ".join(f"{count} of {sum(self.nodes.values())} nodes run on {name}" for name, count in elsewhere.items())
            found.append(f"{where} ({', '.join(f'{count} {op}' for op, count in list(self.strays.items())[:6])})")
        return found


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
        refused = ""
        given = model if isinstance(model, bytes) else str(model)
        try:
            self._session = ort.InferenceSession(given, sess_options=_options(ort, threads, usable, given), providers=usable)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            only_cpu = [PROVIDERS["cpu"]]
            try:
                if usable == only_cpu or "cpu" not in providers:
                    raise
                self._session = ort.InferenceSession(given, sess_options=_options(ort, threads, only_cpu, given), providers=only_cpu)
                refused, usable = _first_line(error), only_cpu
            except Exception:
                remedy = "the file is damaged or made for a newer onnxruntime" if "cpu" in providers else "ask for cpu behind it"
                raise BackendError(
                    f"{self.name}: onnxruntime {ort.__version__} cannot load it ({_first_line(error)}); {remedy}."
                ) from error
        self.inputs: Ports = {i.name: _port(i) for i in self._session.get_inputs()}
        self.outputs: Ports = {o.name: _port(o) for o in self._session.get_outputs()}
        self._names = list(self.outputs)
        short = {long: name for name, long in PROVIDERS.items()}
        self.placement = Placement(
            asked=tuple(providers),
            used=tuple(short.get(p, p) for p in self._session.get_providers()),
            absent=tuple(p for p in providers if PROVIDERS[p] not in have),
            refused=refused,
            **_assigned(self._session, providers, usable != [PROVIDERS["cpu"]]),
        )

    @staticmethod
    def load(model: bytes, name: str, threads: int, providers: Sequence[str], strict: bool) -> OnnxModel:
        """A model of a bundle. strict: refuses what does not run as asked for. Other names are for TFLite. Raises: BackendError."""
        own = [known for known in providers if known in PROVIDERS]
        if len(own) < len(providers) and (strict or not own):
            others = ", ".join(known for known in providers if known not in PROVIDERS)
            raise BackendError(f"{name}: it is an ONNX model, and {others} runs TFLite models; ask for other --providers")
        loaded = OnnxModel(model, threads, own)
        loaded.name = name
        if strict and (short := loaded.placement.shortfalls()):
            raise BackendError(f"{name}: {'; '.join(short)}; ask for other --providers, or leave --strict out")
        return loaded

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

    def milliseconds(self, runs: int = 20) -> float | None:
        """Median wall time of a run over zeros, behind one that warms up; None where a size is free or zeros are refused."""
        if any(n is None for _, shape in self.inputs.values() for n in shape):
            return None
        zeros = {name: np.zeros([n or 0 for n in shape], dtype) for name, (dtype, shape) in self.inputs.items()}
        spent = []
        for _ in range(runs + 1):
            begin = time.perf_counter()
            self.run(zeros)
            spent.append(1000 * (time.perf_counter() - begin))
        return statistics.median(spent[1:])

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


def _assigned(session: Any, providers: Sequence[str], recorded: bool) -> dict[str, dict[str, int]]:
    """nodes and strays of a Placement."""
    if not recorded or not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    short = {long: name for name, long in PROVIDERS.items()}
    nodes: Counter[str] = Counter()
    strays: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        name = short.get(part.ep_name, part.ep_name)
        operators = [node.op_type for node in part.get_nodes()]
        nodes[name] += len(operators)
        if name not in providers:
            strays.update(operators)
    return {"nodes": dict(nodes), "strays": dict(strays.most_common())}


def _options(ort: Any, threads: int, providers: Sequence[str], model: str | bytes) -> Any:
    options = ort.SessionOptions()
    if _weights_alone_are_quantized(model):
        # Left alone, onnxruntime makes floats of them in every run: a sixth of the starter encoder's time (benchmarks/encoder_cost.py).
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if list(providers) != [PROVIDERS["cpu"]]:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _weights_alone_are_quantized(model: str | bytes) -> bool:
    """Whether a small model computes in floats with weights in 8 bits. Operators are found by their names, as the file writes them."""
    if (len(model) if isinstance(model, bytes) else Path(model).stat().st_size) > FOLDED_BYTES:
        return False
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    return b"DequantizeLinear" in data and b"QuantizeLinear" not in data


def _port(arg: Any) -> tuple[str, tuple[int | None, ...]]:
    return _DTYPES.get(arg.type, arg.type), tuple(d if isinstance(d, int) else None for d in arg.shape)


def _shape(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
