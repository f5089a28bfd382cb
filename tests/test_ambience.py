"""What games and collections of ambience bring: the lists are sound, and what is kept apart is never learnt."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.types import SAMPLE_RATE
from export.evaluate import rooms
from export.evaluate.exam import Exam
from export.evaluate.figure import Skipped
from export.train import ambience, packaged
from export.train.labels import STARTER_LABELS


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
        ("wild/rain.wav", "Rain", (), 10.0),
        ("wild/rain.wav", "Rain", (), 10.0),
        ("wild/rain.wav", "Rain", (), 5.0),
        ("wild/fan.wav", "", ("Noise",), 4.0),
        ("wild/bar.wav", "", ("Noise", "Speech"), 10.0),  # half a second more is no piece
    ]
    assert float(np.sqrt(np.mean(learnt[3].samples ** 2))) == pytest.approx(0.1, rel=0.01)
    (kept,) = ambience.kept(data)
    assert (kept.name, kept.doubtful, len(kept.samples)) == ("wild/street.wav", ("Engine",), 3 * SAMPLE_RATE)


def test_a_collection_that_is_not_there_is_left_out_and_half_a_one_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambience, "COLLECTIONS", TABLE)
    assert ambience.learnt(tmp_path) == ambience.kept(tmp_path) == []
    data = collection(tmp_path, rain=2.0)
    with pytest.raises(FileNotFoundError, match=r"fan\.wav is missing; clone the collection anew"):
        ambience.learnt(data)


def test_the_lists_name_labels_of_the_starter_and_no_file_twice() -> None:
    for table in ambience.COLLECTIONS.values():
        named, unnamed, kept = (table.get(part, {}) for part in ("named", "unnamed", "kept"))
        files = [*chain(*named.values()), *unnamed, *kept]
        assert len(files) == len(set(files))
        assert {*named, *chain(*unnamed.values()), *chain(*kept.values())} <= set(STARTER_LABELS)
    for table in packaged.GAMES.values():
        files = [*table.get("unnamed", []), *table.get("beds", []), *chain(*table.get("named", {}).values())]
        assert len(files) == len(set(files)) > 0
        assert set(table.get("named", {})) <= set(STARTER_LABELS)


class Deaf:
    """An ear that claims the same of everything."""

    def listen(self, samples: np.ndarray) -> list[dict[str, object]]:
        end = len(samples) / SAMPLE_RATE
        sounds = [{"type": "sound", "state": "end", "label": label, "start": 0.0, "end": end} for label in ("Engine", "Rain", "Noise")]
        return [*sounds, {"type": "caption", "final": True, "text": "It rains.", "start": 0.0}]


def test_what_may_be_claimed_in_a_room_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambience, "COLLECTIONS", TABLE)
    exam = Exam(tmp_path, recordings={"Rain": []})
    with pytest.raises(Skipped, match="holds no collection"):
        rooms.measure(Deaf(), exam)  # type: ignore[arg-type]
    collection(tmp_path, street=90.0)
    found = rooms.measure(Deaf(), exam)  # type: ignore[arg-type]
    assert found["rooms"][0]["false"] == ["Rain"]
    assert found["figures"]["false_per_hour_rooms"]["value"] == 60.0  # one in the first minute
    assert found["figures"]["rooms_claimed"]["value"] == 1.0
