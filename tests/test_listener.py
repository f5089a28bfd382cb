"""Laws of `Listener`: the contract's records as dicts, one stream at a time, everything freed; and what the starter must hear."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import line_bundle
import numpy as np
import pytest
import soundfile
from line_bundle import scene
from tape import Tape

import edge
from edge.config import Config
from edge.errors import AudioFileError, BundleError
from edge.listener import Listener
from edge.types import Device, Gap

ROOT = Path(__file__).resolve().parent.parent
SCENE = scene(("", 0.7), ("Tone", 1.2), ("", 2.0))

FIELDS = {
    "session": {"type", "schema", "source", "bundle", "bundle_version", "started"},
    "speech": {"type", "start", "end"},
    "sound": {"type", "id", "state", "label", "start", "score"},
    "caption": {"type", "id", "revision", "final", "start", "end", "text", "committed", "latency"},
    "gap": {"type", "start", "end", "reason"},
    "device": {"type", "state", "name"},
}
"""What the contract promises; a record may say more."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return line_bundle.make(tmp_path_factory.mktemp("bundle") / "miniature")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "kitchen.wav"
    soundfile.write(path, SCENE, 16_000, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def listener(folder: Path) -> Iterator[Listener]:
    with Listener(folder) as loaded:
        yield loaded


def test_records_are_the_contracts(listener: Listener, wav: Path) -> None:
    records = list(listener.listen(wav))
    assert {r["type"] for r in records} == {"session", "sound", "caption"}
    for record in records:
        assert FIELDS[record["type"]] <= record.keys()
        assert json.loads(json.dumps(record)) == record, "plain values only"
    session = records[0]
    assert (session["type"], session["source"], session["bundle"], session["schema"]) == ("session", "file:kitchen.wav", "miniature", 1)
    first, last = (r for r in records if r["type"] == "sound")
    assert (first["state"], last["state"], first["id"], last["id"]) == ("start", "end", 1, 1)
    assert (last["start"], last["end"]) == pytest.approx((0.7, 1.9), abs=0.08), "seconds"
    final = [r for r in records if r["type"] == "caption"][-1]
    assert final["final"]
    assert final["committed"] == len(final["text"]) > 0


def test_a_source_of_ones_own_and_its_losses(listener: Listener) -> None:
    events = [Device(24_000, "lost", "USB mic"), Gap(24_000, 32_000, "device")]
    records = list(listener.listen(Tape(SCENE, events)))
    assert {"type": "gap", "start": 1.5, "end": 2.0, "reason": "device"} in records
    (device,) = [r for r in records if r["type"] == "device"]
    assert FIELDS["device"] <= device.keys()
    assert (device["state"], device["name"]) == ("lost", "USB mic")


def test_the_package_offers_it(wav: Path, folder: Path) -> None:
    with edge.Listener(folder) as listener:
        assert next(iter(listener.listen(str(wav))))["type"] == "session"


@pytest.mark.parametrize("source", [42, b"kitchen.wav", ["kitchen.wav"], np.zeros(16_000, np.float32), object()])
def test_another_kind_of_source_is_refused_at_once(listener: Listener, source: Any) -> None:
    with pytest.raises(TypeError, match=rf"a source is a path, an edge\.types\.Source or None .* not {type(source).__name__}"):
        listener.listen(source)


def test_a_file_that_cannot_be_read_is_named_and_the_next_one_works(listener: Listener, wav: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"nothing\.wav does not exist"):
        list(listener.listen(tmp_path / "nothing.wav"))
    assert list(listener.listen(wav))


def test_leaving_the_loop_stops_everything(listener: Listener, wav: Path) -> None:
    tape = Tape(np.tile(SCENE, 10), live=True)
    records = listener.listen(tape)
    next(records)
    next(records)
    records.close()  # type: ignore[attr-defined]
    assert tape.closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("auricle")]
    assert list(listener.listen(wav))


def test_a_closed_listener_refuses_instead_of_being_silent(folder: Path, wav: Path) -> None:
    with Listener(folder) as listener:
        pass
    listener.close()
    with pytest.raises(ValueError, match="closed"):
        list(listener.listen(wav))


def test_closing_in_the_middle_ends_in_an_error_and_not_in_a_crash(folder: Path, wav: Path) -> None:
    listener = Listener(folder)
    records = listener.listen(wav)
    next(records)
    listener.close()
    with pytest.raises(ValueError, match="has been closed"):
        list(records)


def test_two_streams_at_once_are_refused(listener: Listener, wav: Path) -> None:
    first = listener.listen(wav)
    next(first)
    with pytest.raises(ValueError, match="close that stream first"):
        list(listener.listen(wav))
    assert list(first)


def test_a_bundle_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere"):
        Listener(tmp_path / "nowhere")


def test_a_bundle_that_does_not_fit_together_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tar lays its language model out in a temporary folder, which must not stay behind."""
    from export.pack import pack_tar

    folder = line_bundle.make(tmp_path / "wrong", sounds={"labels": {"Meow": {}}})
    pack_tar(folder, tmp_path / "wrong.tar")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(BundleError, match="Meow"):
        Listener(tmp_path / "wrong.tar")
    assert not list((tmp_path / "temporary").iterdir())


# What follows needs a model that has learned something.


@pytest.fixture(scope="module")
def starter() -> Iterator[Listener]:
    with Listener("starter") as loaded:
        yield loaded


def strongest(records: list[dict[str, Any]]) -> str:
    sounds = [r for r in records if r["type"] == "sound"]
    return max(sounds, key=lambda r: r["score"])["label"] if sounds else ""


def final_texts(records: list[dict[str, Any]]) -> list[str]:
    return [r["text"].lower() for r in records if r["type"] == "caption" and r["final"]]


def comparable(records: list[dict[str, Any]], only_finals: bool = False) -> list[dict[str, Any]]:
    dropped = {"latency", "revision"} if only_finals else {"latency"}
    kept = [r for r in records if r["type"] != "session" and not (only_finals and r["type"] == "caption" and not r["final"])]
    return [{k: v for k, v in r.items() if k not in dropped} for r in kept]


def test_the_starter_hears_a_person_speak(starter: Listener, shared_data: Path) -> None:
    records = list(starter.listen(shared_data / "speech" / "jfk.wav"))
    assert strongest(records) == "Speech"
    texts = final_texts(records)
    assert texts
    assert all("a person is speaking" in text.lower() for text in texts), texts


def test_the_starter_hears_the_demo_scene_in_order(starter: Listener) -> None:
    described = json.loads((ROOT / "edge" / "data" / "demo_scene.json").read_text())
    records = list(starter.listen(ROOT / "edge" / "data" / "demo_scene.flac"))
    sounds = [r for r in records if r["type"] == "sound" and r["state"] == "end"]
    for event in described:
        found = [s for s in sounds if s["label"] == event["label"] and s["start"] < event["end"] and s["end"] > event["start"]]
        assert found, f"{event['label']} at {event['start']:.1f} s was not heard"
    starts = [r["label"] for r in records if r["type"] == "sound" and r["state"] == "start"]
    assert starts == [event["label"] for event in described], "each is told once, the alarm with its pauses too"
    captions = [r for r in records if r["type"] == "caption" and r["final"]]
    assert len(captions) == len(described)
    assert any("speak" in c["text"].lower() for c in captions)


@pytest.mark.parametrize("size", [17, 512])
def test_block_size_does_not_change_what_the_starter_says(starter: Listener, tmp_path: Path, size: int) -> None:
    samples, rate = soundfile.read(ROOT / "edge" / "data" / "demo_scene.flac", dtype="float32")
    soundfile.write(tmp_path / "scene.wav", samples[: 12 * rate], rate, subtype="FLOAT")
    whole = comparable(list(starter.listen(tmp_path / "scene.wav")))
    with Listener("starter", Config(block_size=size)) as other:
        assert comparable(list(other.listen(tmp_path / "scene.wav"))) == whole
    assert final_texts(whole)


def test_real_time_gives_the_starters_finals(starter: Listener, tmp_path: Path) -> None:
    samples, rate = soundfile.read(ROOT / "edge" / "data" / "demo_scene.flac", dtype="float32")
    soundfile.write(tmp_path / "scene.wav", samples[int(1.0 * rate) : int(4.0 * rate)], rate, subtype="FLOAT")
    offline = list(starter.listen(tmp_path / "scene.wav"))
    live = list(starter.listen(tmp_path / "scene.wav", realtime=True))
    assert comparable(live, only_finals=True) == comparable(offline, only_finals=True)


@pytest.mark.parametrize("dbfs", [-60, -40, -20])
def test_the_starter_claims_no_sound_in_noise(starter: Listener, dbfs: int) -> None:
    rng = np.random.default_rng(dbfs + 100)
    white = rng.standard_normal(20 * 16_000)
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    for noise in (white, np.fft.irfft(spectrum, len(white))):
        scaled = (noise / np.sqrt((noise * noise).mean()) * 10 ** (dbfs / 20)).astype(np.float32)
        assert final_texts(list(starter.listen(Tape(np.clip(scaled, -1, 1))))) == []
