"""What games and collections of ambience bring: the lists are sound, and what is kept apart is never learnt."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import line_bundle
import numpy as np
import pytest
import soundfile

from edge.types import SAMPLE_RATE
from export.evaluate import rooms
from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import Skipped
from export.train import ambience, packaged
from export.train.labels import STARTER_LABELS
from export.train.recordings import listed, load


def collection(data: Path, **files: float) -> Path:
    """A clone with these files, so many seconds of noise each."""
    folder = data / "ambience/sounds/wild"
    folder.mkdir(parents=True)
    for name, seconds in files.items():
        noise = np.random.default_rng(1).normal(0, 0.02, int(seconds * SAMPLE_RATE))
        soundfile.write(folder / f"{name}.wav", noise, SAMPLE_RATE)
    return data


TABLE = {
    "sounds": {
        "folder": "wild",
        "named": {"Rain": ["rain.wav"]},
        "unnamed": {"fan.wav": [], "bar.wav": ["Speech"]},
        "kept": {"street.wav": ["Engine"]},
    }
}


def test_what_is_learnt_comes_in_pieces_with_its_doubts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambience, "COLLECTIONS", TABLE)
    data = collection(tmp_path, rain=25.0, fan=4.0, bar=10.5, street=3.0)
    learnt = ambience.learnt(data)
    assert [(r.name, r.label, r.doubtful, round(len(r.samples) / SAMPLE_RATE, 1)) for r in learnt] == [
        ("sounds/rain.wav", "Rain", (), 10.0),
        ("sounds/rain.wav", "Rain", (), 10.0),
        ("sounds/rain.wav", "Rain", (), 5.0),
        ("sounds/fan.wav", "", ("Noise",), 4.0),
        ("sounds/bar.wav", "", ("Noise", "Speech"), 10.0),  # half a second more is no piece
    ]
    assert float(np.sqrt(np.mean(learnt[3].samples ** 2))) == pytest.approx(0.1, rel=0.01)
    (kept,) = ambience.kept(data)
    assert (kept.name, kept.doubtful, len(kept.samples)) == ("sounds/street.wav", ("Engine",), 3 * SAMPLE_RATE)


def test_a_collection_that_is_not_there_is_left_out_and_half_a_one_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambience, "COLLECTIONS", TABLE)
    assert ambience.learnt(tmp_path) == ambience.kept(tmp_path) == []
    data = collection(tmp_path, rain=2.0)
    with pytest.raises(FileNotFoundError, match=r"fan\.wav is missing; clone the collection anew"):
        ambience.learnt(data)


def test_named_sounds_are_trimmed_and_not_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sneezes in a minute of silence have a crest that a level of RMS 0.1 would clip; silence at the ends is no piece of rain."""
    table = {"named": {"Sneeze": ["sneezes.wav"]}}
    monkeypatch.setattr(ambience, "COLLECTIONS", {"some/one": table})
    samples = np.zeros(60 * SAMPLE_RATE, np.float32)
    samples[20 * SAMPLE_RATE : 20 * SAMPLE_RATE + 400] = samples[24 * SAMPLE_RATE : 24 * SAMPLE_RATE + 400] = 0.3 * np.hanning(400)
    folder = tmp_path / "ambience/some/one"
    folder.mkdir(parents=True)
    soundfile.write(folder / "sneezes.wav", samples, SAMPLE_RATE)
    (piece,) = ambience.learnt(tmp_path)
    assert len(piece.samples) / SAMPLE_RATE == pytest.approx(4.0, abs=0.1)
    assert float(np.abs(piece.samples).max()) == pytest.approx(0.5, rel=0.01)
    assert np.count_nonzero(piece.samples > 0.49) < 100


def test_yamnet_sifts_folders(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder with a label those files are taken that have it, of one without those that have none of ours and are named nowhere."""
    table = {"named": {"Rain": ["wet"], "Knock": ["single/rap.wav"]}, "sifted": ["single", "apart.wav"], "left_out": ["single/not.wav"]}
    monkeypatch.setattr(ambience, "COLLECTIONS", {"sounds": {"folder": "wild", **table}})
    folder = tmp_path / "ambience/sounds/wild"
    at = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    hiss = np.random.default_rng(1).normal(0, 0.2, len(at)) * np.exp(-20 * at)
    rain, bark = (load(sorted((shared_data / "esc10" / name).glob("1-*.ogg"))[0]) for name in ("rain", "dog_bark"))
    files = {"wet/rain": rain, "wet/bark": bark, "single/bark": bark, "single/rap": hiss, "single/not": hiss, "single/hiss": hiss}
    files["apart"] = hiss
    for name, samples in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", samples, SAMPLE_RATE)
    with pytest.raises(FileNotFoundError, match="YAMNet sifts the collections"):
        ambience.learnt(tmp_path)
    (tmp_path / "yamnet").symlink_to(shared_data / "yamnet")
    assert [(r.name, r.label) for r in ambience.learnt(tmp_path)] == [
        ("sounds/wet/rain.wav", "Rain"),
        ("sounds/single/rap.wav", "Knock"),
        ("sounds/apart.wav", ""),
        ("sounds/single/hiss.wav", ""),
    ]
    (folder / "apart.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"apart\.wav is missing; clone the collection anew"):
        ambience.learnt(tmp_path)


def test_the_lists_name_labels_of_the_starter_and_no_file_twice() -> None:
    for table in ambience.COLLECTIONS.values():
        named, unnamed, kept = (table.get(part, {}) for part in ("named", "unnamed", "kept"))
        files = [*chain(*named.values()), *unnamed, *kept]
        assert len(files) == len(set(files))
        assert {*named, *chain(*unnamed.values()), *chain(*kept.values())} <= set(STARTER_LABELS)
    gathered = listed("gathered.toml")
    elsewhere = listed(Path(__file__).resolve().parents[1] / "benchmarks/elsewhere.toml")
    assert not {"/".join(name.split("/")[:2]) for name in chain(*elsewhere.values())} & set(gathered)
    assert all(table["licence"] and "kept" not in table for table in gathered.values())
    for table in packaged.GAMES.values():
        files = [*table.get("unnamed", []), *table.get("beds", []), *chain(*table.get("named", {}).values())]
        assert len(files) == len(set(files)) > 0
        assert set(table.get("named", {})) <= set(STARTER_LABELS)


def test_what_may_be_claimed_in_a_room_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tones in a minute and one behind it, heard by a real bundle: as a sound that is not there, and as one that may be."""
    table = {"sounds": {"folder": "wild", "kept": {"street.wav": []}}}
    monkeypatch.setattr(ambience, "COLLECTIONS", table)
    exam = Exam(tmp_path, recordings={"Rain": []})
    with Ear(line_bundle.make(tmp_path / "bundle")) as ear:
        with pytest.raises(Skipped, match="holds no collection"):
            rooms.measure(ear, exam)
        collection(tmp_path, street=1.0)
        heard = line_bundle.scene(("", 5.0), ("Tone", 3.0), ("", 20.0), ("Tone", 3.0), ("", 34.0), ("Tone", 3.0), ("", 5.0))
        soundfile.write(tmp_path / "ambience/sounds/wild/street.wav", heard, SAMPLE_RATE)
        found = rooms.measure(ear, exam)
        assert [(row["name"], row["allowed"], row["sounds"]) for row in found["rooms"]] == [("sounds/street.wav", [], {"Tone": 2})]
        assert found["figures"]["false_per_hour_rooms"]["value"] == 120.0
        assert found["figures"]["rooms_claimed"]["value"] == 1.0
        table["sounds"]["kept"] = {"street.wav": ["Tone"]}
        found = rooms.measure(ear, exam)
        assert found["figures"]["false_per_hour_rooms"]["value"] == found["figures"]["rooms_claimed"]["value"] == 0.0
