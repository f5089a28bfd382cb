"""Laws of the onnxruntime backend: ports as the model has them, and one clear sentence for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge.backends import onnx as onnx_backend
from edge.backends.onnx import OnnxModel
from edge.bundle import Bundle
from edge.errors import BackendError
from edge.vad import MODEL


def ports(frames: int = 3) -> dict[str, np.ndarray]:
    state = np.zeros((1, 1, 128), dtype=np.float32)
    return {"input": np.zeros((frames, 576), dtype=np.float32), "h": state, "c": state}


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel(MODEL)


def test_inputs_and_outputs_stand_as_the_model_has_them(model: OnnxModel) -> None:
    assert model.inputs == {"input": ("float32", (None, 576)), "h": ("float32", (1, 1, 128)), "c": ("float32", (1, 1, 128))}
    assert model.outputs == {"speech_probs": ("float32", (None,)), "hn": ("float32", (1, 1, 128)), "cn": ("float32", (1, 1, 128))}
    assert {name: array.shape for name, array in model.run(ports()).items()} == {
        "speech_probs": (3,),
        "hn": (1, 1, 128),
        "cn": (1, 1, 128),
    }


def test_bytes_and_file_are_the_same_model(model: OnnxModel) -> None:
    arrays = ports() | {"input": np.random.default_rng(0).standard_normal((3, 576)).astype(np.float32)}
    for name, array in OnnxModel(MODEL.read_bytes()).run(arrays).items():
        assert np.array_equal(array, model.run(arrays)[name])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input": np.zeros((3, 576))}, r"input must be float32\[\?, 576\], not float64\[3, 576\]"),
        ({"input": np.zeros((3, 512), dtype=np.float32)}, r"input must be float32\[\?, 576\], not float32\[3, 512\]"),
        ({"h": np.zeros((1, 128), dtype=np.float32)}, r"h must be float32\[1, 1, 128\], not float32\[1, 128\]"),
        ({"sr": np.array(16000)}, "takes input, h, c, not input, h, c, sr"),
    ],
)
def test_wrong_arrays_are_refused_by_name(model: OnnxModel, change: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        model.run(ports() | change)


@pytest.mark.parametrize("content", [b"", b"not a model", MODEL.read_bytes()[:100_000] if MODEL.is_file() else b"\x08"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(BackendError, match=r"broken\.onnx: .*cannot load it"):
        OnnxModel(tmp_path / "broken.onnx")
    with pytest.raises(BackendError, match=r"model in memory: .*cannot load it"):
        OnnxModel(content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"nowhere\.onnx: there is no such model file"):
        OnnxModel(tmp_path / "nowhere.onnx")


def test_an_absent_provider_is_told_and_the_next_one_is_used() -> None:
    placement = OnnxModel(MODEL, providers=("qnn", "cpu")).placement
    assert (placement.asked, placement.used, placement.absent) == (("qnn", "cpu"), ("cpu",), ("qnn",))
    with pytest.raises(BackendError, match="no provider qnn"):
        OnnxModel(MODEL, providers=("qnn",))


def test_where_each_node_runs_is_read_back() -> None:
    """No second provider is to be had in CI: the session of the processor is asked as if another had been wanted."""
    session = onnxruntime.InferenceSession(
        MODEL, onnx_backend._options(onnxruntime, 1, ["other"], str(MODEL)), providers=["CPUExecutionProvider"]
    )
    found = onnx_backend._assigned(session, ("openvino",), True)
    assert list(found["nodes"]) == ["cpu"]
    assert sum(found["strays"].values()) == found["nodes"]["cpu"] > 5
    stray = onnx_backend.Placement(("openvino",), ("openvino", "cpu"), (), **found)
    (short,) = stray.shortfalls()
    assert "nodes run on cpu (" in short
    assert onnx_backend._assigned(session, ("openvino", "cpu"), True)["strays"] == {}
    fine = onnx_backend.Placement(
        ("openvino", "cpu"), ("openvino", "cpu"), (), **onnx_backend._assigned(session, ("openvino", "cpu"), True)
    )
    assert fine.shortfalls() == []


def test_strict_refuses_what_is_not_as_asked() -> None:
    content = Path(MODEL).read_bytes()
    assert OnnxModel.load(content, "m", 1, ("qnn", "cpu"), False).placement.shortfalls() == ["qnn is not in this build of onnxruntime"]
    with pytest.raises(BackendError, match=r"m: qnn is not in this build.*leave --strict out"):
        OnnxModel.load(content, "m", 1, ("qnn", "cpu"), True)
    assert OnnxModel.load(content, "m", 1, ("cpu",), True).placement.shortfalls() == []
    refused = onnx_backend.Placement(("openvino", "cpu"), ("cpu",), (), refused="no such operator")
    assert refused.shortfalls() == ["openvino refused it, it runs on cpu (no such operator)"]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="providers must be some of cpu"):
        OnnxModel(MODEL, providers=("gpu",))
    with pytest.raises(ValueError, match="threads"):
        OnnxModel(MODEL, threads=0)


def test_weights_in_8_bits_become_floats_once_where_arithmetic_is_in_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scores; models that compute in integers, or that are large, stay as they are."""
    bundle = Bundle.open("starter")
    encoder = bundle.read("encoder", "onnx")
    bundle.close()
    small = onnx_backend._weights_alone_are_quantized
    assert small(encoder)
    assert not small(MODEL.read_bytes())
    assert not small(str(MODEL))
    assert not small(encoder + b"DynamicQuantizeLinear")
    folded = OnnxModel(encoder)
    monkeypatch.setattr(onnx_backend, "FOLDED_BYTES", len(encoder) - 1)
    assert not small(encoder)
    stored = OnnxModel(encoder)
    rng = np.random.default_rng(1)
    given = {n: np.zeros([d or 1 for d in shape], dtype) for n, (dtype, shape) in folded.inputs.items()}
    given["mels"] = rng.normal(-6, 3, given["mels"].shape).astype(np.float32)
    told = [model.run(given) for model in (folded, stored)]
    np.testing.assert_allclose(told[0]["scores"], told[1]["scores"], atol=1e-5)
