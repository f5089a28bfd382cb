"""An encoder for an NPU. Ethos-U: int8 against the reference, compiled by Vela, wholly on the NPU; and what is said without its tools.

The tools are 800 MB and in none of the locked environments: where they are absent, only the refusal is tested. To run all of it:
pip install 'auricle[npu]' into the export environment. RKNN likewise: TEST_RKNN_PYTHON names a Python that has rknn-toolkit2.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models

from edge import Listener
from export.build import BuildOptions, build
from export.npu import ACCELERATORS
from export.recipes.recipe import BuildError

SCENE = Path(__file__).resolve().parents[1] / "edge/data/demo_scene.flac"
HAVE = all(importlib.util.find_spec(name) for name in ("litert_torch", "ai_edge_quantizer", "ethosu"))


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.mark.skipif(HAVE, reason="the tools are here")
def test_without_its_tools_the_extra_is_named(tmp_path: Path) -> None:
    tiny_models.whisper(tmp_path / "source")
    with pytest.raises(BuildError, match=r"pip install 'auricle\[npu\]'"):
        build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="int8", target="ethos-u85"), quiet)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


@pytest.mark.skipif(not HAVE, reason="litert-torch, ai-edge-quantizer and ethos-u-vela are not installed")
@pytest.mark.parametrize("target", ACCELERATORS)
def test_a_whisper_encoder_is_wholly_on_the_npu(tmp_path: Path, target: str) -> None:
    tiny_models.whisper(tmp_path / "source")
    options = {"window": "5", "calibrate": str(SCENE.parent)}
    bundle = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="int8", target=target, options=options), quiet)
    manifest = json.loads((bundle / "manifest.json").read_text())
    figures = {f["name"]: f["value"] for f in manifest["receipt"]["figures"]}
    assert figures[f"operators on {target}"] == 100.0
    assert figures[f"one run on {target}"] > 0
    assert figures[f"encoder rows on {target} cosine"] >= 0.99
    (npu,) = [m for m in manifest["models"] if m["role"] == "encoder-npu"]
    assert npu["inputs"][0]["shape"] == [1, 80, 500]
    assert sorted(p.name for p in bundle.iterdir()) == sorted([*(m["file"] for m in manifest["models"]), "manifest.json"])
    with Listener(str(bundle)) as listener:  # the processor's encoder is there as well
        assert list(listener.listen(SCENE))


@pytest.mark.parametrize(
    ("python", "why"), [("", "needs --rknn-python"), (sys.executable, "has no rknn-toolkit2"), ("/no/python", "cannot be run")]
)
def test_without_rockchip_s_toolkit_it_is_asked_for(tmp_path: Path, python: str, why: str) -> None:
    tiny_models.whisper(tmp_path / "source")
    options = BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", target="rk3588", options={"rknn_python": python})
    with pytest.raises(BuildError, match=why):
        build(options, quiet)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


RKNN = os.environ.get("TEST_RKNN_PYTHON", "")


@pytest.mark.skipif(not RKNN, reason="TEST_RKNN_PYTHON names no Python with rknn-toolkit2")
@pytest.mark.parametrize(("encoder", "precision", "least"), [("fp32", "fp16", 0.9999), ("int8-static", "int8", 0.99)])
def test_a_whisper_encoder_runs_in_rockchip_s_simulator(tmp_path: Path, encoder: str, precision: str, least: float) -> None:
    tiny_models.whisper(tmp_path / "source")
    options = {"window": "5", "calibrate": str(SCENE.parent), "rknn_python": RKNN}
    bundle = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder=encoder, target="rk3588", options=options), quiet)
    manifest = json.loads((bundle / "manifest.json").read_text())
    figures = {f["name"]: f["value"] for f in manifest["receipt"]["figures"]}
    assert figures["encoder rows on rk3588 cosine"] >= least
    (npu,) = [m for m in manifest["models"] if m["role"] == "encoder-npu"]
    assert (npu["runtime"], npu["precision"], npu["inputs"][0]["shape"]) == ("rknn", precision, [1, 80, 500])
    assert (bundle / npu["file"]).read_bytes()[:4] == b"RKNN"
    with Listener(str(bundle)) as listener:
        assert list(listener.listen(SCENE))
