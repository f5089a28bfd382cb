"""Which layers of a quantized model lose most: cosines at each layer's input and output, against the float model on the same sounds.

The error that a layer passes on is not its own, so layers are ranked by how much the cosine falls from their input to their output.
Names are those of the torch modules that the layers came from.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS = ("MatMul", "Gemm", "Conv")
NAMED = 3
Feeds = Sequence[Mapping[str, NDArray[Any]]]


def offenders(plain: Path, small: Path, feeds: Feeds) -> list[tuple[str, float]]:
    """(layer, fall of the cosine) of the NAMED layers that lose most, the worst first. plain, small: one model, float and quantized."""
    import onnx

    graph = onnx.load(str(plain), load_external_data=False).graph
    weights = {i.name for i in graph.initializer}
    layers = [(_scope(n), n.input[0], n.output[0]) for n in graph.node if n.op_type in LAYERS and n.input[1] in weights]
    held = {name for node in onnx.load(str(small), load_external_data=False).graph.node for name in node.output}
    given = {i.name for i in graph.input}
    layers = [(name, a, b) for name, a, b in layers if (a in held or a in given) and b in held]
    wanted = sorted({tensor for _, a, b in layers for tensor in (a, b)} - given)
    if not wanted or not feeds:
        return []
    cosines: dict[str, list[float]] = {name: [] for name in wanted}
    sessions = [_tapped(path, wanted) for path in (plain, small)]
    for feed in feeds:
        for name, a, b in zip(wanted, *(session.run(wanted, dict(feed)) for session in sessions), strict=True):
            cosines[name].append(_cosine(a, b))
    mean = {name: float(np.mean(found)) for name, found in cosines.items()} | dict.fromkeys(given, 1.0)
    falls = [(name, mean[a] - mean[b]) for name, a, b in layers]
    return sorted(falls, key=lambda item: -item[1])[:NAMED]


def _scope(node: Any) -> str:
    """The torch module that a node came from, else the node's own name."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = ast.literal_eval(entry.value)
            return str(scopes[-2] or scopes[-1]) if len(scopes) > 1 else str(node.name)
    return str(node.name)


def _tapped(path: Path, names: Sequence[str]) -> Any:
    """A session whose outputs are these tensors as well; the file with them lies beside the model for as long as it takes to load."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path), load_external_data=False)
    there = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names if n not in there)
    tapped = path.with_name(f"tapped.{path.name}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        onnx.save(model, str(tapped))
        return onnxruntime.InferenceSession(str(tapped), options, providers=["CPUExecutionProvider"])
    finally:
        tapped.unlink(missing_ok=True)


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-30))
