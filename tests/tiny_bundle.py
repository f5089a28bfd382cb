"""A bundle of a few hundred bytes with a real ONNX encoder: it takes whatever is loud for one label and the rest for another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, numpy_helper

from export.pack import pack

LABELS = ("Loud sound", "Soft sound")
CHUNK_FRAMES = 25
BANDS = 16


def encoder_bytes() -> bytes:
    """scores[1, 1, 2] = sigmoid(mean(mels) * weight + bias); vectors the same."""
    import numpy as np

    constants = {
        "weight": np.array([[[2.0, -2.0]]], np.float32),
        "bias": np.array([[[4.0, -4.0]]], np.float32),
        "axes": np.array([1, 2], np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["mels", "axes"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "weight"], ["scaled"]),
            helper.make_node("Add", ["scaled", "bias"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["scores"]),
            helper.make_node("Identity", ["scores"], ["vectors"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("mels", TensorProto.FLOAT, [1, CHUNK_FRAMES, BANDS])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2]) for name in ("scores", "vectors")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def description(**changes: Any) -> dict[str, Any]:
    """What `export.pack.pack` takes."""
    tensors = {
        "inputs": [{"name": "mels", "dtype": "float32", "shape": [1, CHUNK_FRAMES, BANDS]}],
        "outputs": [{"name": name, "dtype": "float32", "shape": [1, 1, 2]} for name in ("scores", "vectors")],
    }
    encoder = {
        "role": "encoder",
        "runtime": "onnx",
        "file": "encoder.onnx",
        "precision": "float32",
        "source": {"recipe": "tests", "commit": "0"},
    }
    hop = CHUNK_FRAMES * 160
    return {
        "name": "tiny",
        "version": "0.1.0",
        "licence": "Apache-2.0",
        "created_by": {"recipe": "tests/tiny_bundle.py", "commit": "0"},
        "models": [{**encoder, **tensors}],
        "labels": list(LABELS),
        "front_end": {"sample_rate": 16000, "bands": BANDS, "low_hz": 0, "high_hz": 8000, "frame": 400, "hop": 160},
        "encoder": {"chunk_frames": CHUNK_FRAMES, "score_hop": hop, "vector_hop": hop},
        "receipt": {"figures": [{"name": "steps", "value": 0, "unit": "", "data": "none", "origin": "synthetic", "n": 0}]},
        **changes,
    }


def make(folder: Path) -> Path:
    """Writes the bundle into a new folder and returns it."""
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(encoder_bytes())
    pack(folder, description())
    return folder
