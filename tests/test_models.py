"""`auricle models`: the catalogue, and pulling a real bundle from a hub that misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="the export environment runs these")

from hostile_hub import REPOSITORY, Hub, serve

import edge

STARTER = Path(edge.__file__).parent / "bundles/starter"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub that holds the starter, and what it gives is put below tmp_path/models."""
    shutil.copytree(STARTER, tmp_path / "hub")
    with serve(tmp_path / "hub") as running:
        yield running


def auricle(tmp_path: Path, hub: Hub | None, *words: str) -> subprocess.CompletedProcess[str]:
    """One command, as a user types it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"AURICLE_MODELS": str(tmp_path / "models"), "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}
    env |= {"HF_ENDPOINT": hub.endpoint if hub else "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "edge.cli", "models", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


def added(tmp_path: Path, hub: Hub | None, repository: str = REPOSITORY) -> None:
    assert auricle(tmp_path, hub, "add", "kitchen", repository).returncode == 0


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One sentence for the fault, no traceback, nothing called done."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, last


def test_a_bundle_is_pulled_verified_used_and_removed(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    assert auricle(tmp_path, hub, "pull", "kitchen").returncode == 0
    assert sorted(p.name for p in (tmp_path / "models/kitchen").iterdir()) == sorted(p.name for p in STARTER.iterdir())
    assert "every size and sha256 as listed" in auricle(tmp_path, hub, "verify", "kitchen").stdout
    listed = json.loads(auricle(tmp_path, hub, "list", "--json").stdout)
    states = {row["name"]: row["state"] for row in listed}
    assert states["kitchen"] == "pulled"
    assert states["starter"] == "ships"
    assert states["whisper-tiny.en"] == ""
    env = os.environ | {"AURICLE_MODELS": str(tmp_path / "models")}
    command = [sys.executable, "-m", "edge.cli", "inspect", "kitchen", "--json"]
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["path"] == str(tmp_path / "models/kitchen")
    scene = Path(edge.__file__).parent / "data/demo_scene.flac"
    command = [sys.executable, "-m", "edge.cli", "caption", str(scene), "--bundle", "kitchen", "--format", "text"]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "knocks" in said.stdout
    assert auricle(tmp_path, hub, "rm", "kitchen").returncode == 0
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["catalogue.json"]
    refused(auricle(tmp_path, hub, "rm", "kitchen"), "was not pulled")
    refused(auricle(tmp_path, hub, "verify", "kitchen"), "not on this machine")


def test_redirects_are_followed_and_circles_are_not(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    hub.faults = dict.fromkeys((p.name for p in STARTER.iterdir()), "moved")
    assert auricle(tmp_path, hub, "pull", "kitchen").returncode == 0
    assert auricle(tmp_path, hub, "rm", "kitchen").returncode == 0
    added(tmp_path, hub)
    hub.faults["encoder.int8.onnx"] = "circle"
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "encoder.int8.onnx", "broke off")


def test_what_is_not_there_is_named(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    hub.faults["manifest.json"] = "missing"
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "it has no manifest.json", "holds an auricle bundle")
    hub.faults = {"captioner.q8_0.gguf": "missing"}
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "it has no captioner.q8_0.gguf")
    assert not (tmp_path / "models/kitchen").exists()
    added(tmp_path, hub, "somebody/else")
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "no such repository")
    refused(auricle(tmp_path, hub, "pull", "nothing"), "not in the catalogue")


@pytest.mark.parametrize("fault", ["stalled", "cut"])
def test_a_broken_transfer_is_told_and_goes_on(tmp_path: Path, hub: Hub, fault: str) -> None:
    added(tmp_path, hub)
    hub.faults["encoder.int8.onnx"] = fault
    begin = time.monotonic()
    done = auricle(tmp_path, hub, "pull", "kitchen")
    assert time.monotonic() - begin < 100
    refused(done, "encoder.int8.onnx", "goes on from there")
    assert hub.cuts >= 1
    assert not (tmp_path / "models/kitchen").exists()
    hub.faults.clear()
    hub.asked.clear()
    assert auricle(tmp_path, hub, "pull", "kitchen").returncode == 0
    assert any(file == "encoder.int8.onnx" and within for method, file, within in hub.asked if method == "GET"), "it began anew"
    assert "as listed" in auricle(tmp_path, hub, "verify", "kitchen").stdout


def test_right_size_and_wrong_bytes_are_refused_and_not_kept(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    hub.faults["captioner.q8_0.gguf"] = "wrong"
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "is damaged", "nothing was kept")
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["catalogue.json"]
    hub.faults.clear()
    assert auricle(tmp_path, hub, "pull", "kitchen").returncode == 0


def test_another_size_than_listed_and_no_end_are_refused(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    hub.faults["captioner.q8_0.gguf"] = "endless"
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "captioner.q8_0.gguf", "sends more than")
    hub.faults.clear()
    with (hub.folder / "captioner.q8_0.gguf").open("ab") as file:
        file.write(b"more")
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "in its manifest")
    assert not (tmp_path / "models/kitchen").exists()


def test_a_file_that_changed_on_the_hub_begins_anew(tmp_path: Path, hub: Hub) -> None:
    """What was fetched of its old version isn't put in front of the new one."""
    added(tmp_path, hub)
    hub.faults["encoder.int8.onnx"] = "cut"
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "goes on from there")
    hub.faults.clear()
    hub.version = "2"
    assert auricle(tmp_path, hub, "pull", "kitchen").returncode == 0
    assert "as listed" in auricle(tmp_path, hub, "verify", "kitchen").stdout


def test_a_manifest_that_is_none_is_refused(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    (hub.folder / "manifest.json").write_text('{"schema": 1}')
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "manifest.json")
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["catalogue.json"]


def test_a_full_disk_is_told_before_the_transfer(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    held = json.loads((hub.folder / "manifest.json").read_text())
    held["models"][0]["bytes"] = 1 << 39
    (hub.folder / "manifest.json").write_text(json.dumps(held))
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "are missing and", "make room")
    assert not [file for method, file, _ in hub.asked if method == "GET" and file != "manifest.json"]


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    added(tmp_path, None)
    refused(auricle(tmp_path, None, "pull", "kitchen"), "cannot be reached", "HF_ENDPOINT")
    refused(auricle(tmp_path, None, "pull", "kitchen", "--offline"), "by your wish", "--offline")
    refused(auricle(tmp_path, None, "pull", "whisper-tiny.en", "--offline"), "leave --offline out")


def test_a_published_model_is_handed_to_the_toolchain(tmp_path: Path) -> None:
    done = auricle(tmp_path, None, "pull", "whisper-tiny.en")
    refused(done, "onnx-community/whisper-tiny.en", "check the name and the network")
    assert not (tmp_path / "models/whisper-tiny.en").exists()


def test_a_bundle_that_is_here_stays_while_a_pull_fails(tmp_path: Path, hub: Hub) -> None:
    added(tmp_path, hub)
    assert auricle(tmp_path, hub, "pull", "kitchen").returncode == 0
    hub.faults["captioner.q8_0.gguf"] = "wrong"
    refused(auricle(tmp_path, hub, "pull", "kitchen"), "is damaged")
    assert "as listed" in auricle(tmp_path, hub, "verify", "kitchen").stdout


def test_nothing_outside_the_models_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    refused(auricle(tmp_path, None, "rm", "../../keys"), "no name of a model")
    refused(auricle(tmp_path, None, "rm", str(tmp_path / "keys")), "not removed")
    assert (tmp_path / "keys").is_dir()


@pytest.mark.parametrize(("name", "repository"), [("starter", REPOSITORY), ("../up", REPOSITORY), ("good", "nobody"), ("good", "a/../b")])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str, repository: str) -> None:
    refused(auricle(tmp_path, None, "add", name, repository), "model")


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/catalogue.json").write_text("{")
    refused(auricle(tmp_path, None, "list"), "catalogue.json", "repair or remove")
