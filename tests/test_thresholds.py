"""Laws of the choice of thresholds: streams are tracked as the runtime tracks them, and a table is taken that serves them best.

They need the export environment: `make test` runs them there (.venv-export), the runtime's environment skips them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="torch is only in the export environment (.venv-export)")

from edge.sounds import SoundOptions, SoundTracker
from edge.types import Encoding
from export.train import ambience, thresholds
from export.train.labels import STARTER_LABELS
from export.train.model import Encoder
from export.train.refine import print_thresholds
from export.train.starter import StarterOptions
from export.train.thresholds import NAMED, Heard, choose, exams_of_shipped, material, tracked


def test_streams_are_tracked_as_the_runtime_tracks_them() -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        mean, on = int(rng.integers(1, 13)), float(rng.uniform(0.3, 0.9))
        options = SoundOptions(on=on, off=on / 2, bridge_s=float(rng.uniform(0, 0.5)), smooth_rows=mean)
        scores = np.repeat(rng.random(20), rng.integers(1, 12, 20))
        tracker = SoundTracker(["x"], {"": options})
        found = tracker.extend(_encoding(scores)) + tracker.close()
        starts, stops = [s.start for s in found if s.stop is None], [s.stop for s in found if s.stop is not None]
        padded = np.concatenate((scores, np.full(5, np.nan)))[None]
        first, last, told = tracked(padded, on, on / 2, mean, options.bridge_s)
        assert first[0] == (starts[0] // 640 if starts else np.inf)
        assert told[0] >= first[0]
        assert last[0] == pytest.approx(stops[-1] / 640, abs=mean) if stops else last[0] == -1


def _encoding(scores: np.ndarray) -> Encoding:
    stop = len(scores) * 640
    return Encoding(0, stop, np.zeros((0, 1), np.float32), 5120, scores[:, None].astype(np.float32), 640)


def test_thresholds_are_chosen_between_what_is_there_and_what_is_not() -> None:
    bark, siren = NAMED.index("Bark"), NAMED.index("Siren")
    scores = np.full((40, 100, len(STARTER_LABELS)), 0.01)
    first = np.where(np.arange(40) % 2, bark, siren)
    scores[np.arange(40), 20:80, np.array([STARTER_LABELS.index(NAMED[k]) for k in first])] = 0.95
    scores[first == siren, 30:60, STARTER_LABELS.index("Bark")] = 0.55  # a siren sounds a little like a bark
    onsets = np.column_stack((np.full(40, 20.0), np.full(40, np.inf)))
    streams = {"scenes": Heard(scores, first, np.full(40, -1), np.zeros(40, bool), onsets)}
    told: list[str] = []
    table = choose(streams, {"Bark": (0.3, 5), "Siren": (0.3, 5)}, told.append)
    assert table["Bark"][0] >= 0.6
    assert "right 1.000 invented 0.000 late 0.000" in told[-1]


def test_what_rooms_sound_like_is_no_sound_but_what_may_be_there() -> None:
    """Half of the rooms sound like wind at 0.7, a quarter of them may; half of the barks are as faint as 0.75, and stay told."""
    bark, wind = STARTER_LABELS.index("Bark"), STARTER_LABELS.index("Wind")
    barks, rooms = np.full((2, 20, 100, len(STARTER_LABELS)), 0.01)
    barks[:, 20:80, bark] = np.where(np.arange(20) % 2, 0.95, 0.75)[:, None]
    rooms[:10, 20:80, wind] = 0.7
    none, alone = np.full(20, -1), np.tile([20.0, np.inf], (20, 1))
    allowed = np.zeros((20, len(NAMED)), bool)
    allowed[:5, NAMED.index("Wind")] = True
    streams = {
        "scenes": Heard(barks, np.full(20, NAMED.index("Bark")), none, np.zeros(20, bool), alone),
        "rooms": Heard(rooms, none, none, np.zeros(20, bool), np.full((20, 2), np.inf), allowed),
    }
    told: list[str] = []
    table = choose(streams, {"Bark": (0.5, 5), "Wind": (0.5, 12)}, told.append)
    assert "rooms 0.25 claims each" in told[0]  # the other five of the ten may sound like wind
    assert "rooms 0.00 claims each" in told[-1]
    assert "scenes right 1.000" in told[-1]
    assert table["Wind"][0] > 0.7
    assert table["Wind"][1] == 12  # means stay as long as they were
    assert table["Bark"][0] <= 0.75


def test_thresholds_of_a_shipped_encoder_need_one_fold_that_it_has_not_learnt(tmp_path: Path, shared_data: Path) -> None:
    there = tmp_path / "esc10"
    there.mkdir()
    with pytest.raises(ValueError, match=r"esc10 holds no folds that are not learnt, where one is needed"):
        exams_of_shipped(shared_data, tmp_path, "theo", range(1, 5))
    for folder in (shared_data / "esc10").iterdir():
        if folder.is_dir():
            (there / folder.name).mkdir()
            shutil.copy(next(folder.glob("3-*.ogg")), there / folder.name / "6-000-A.ogg")
            shutil.copy(next(folder.glob("3-*.ogg")), there / folder.name / "2-000-A.ogg")  # a learnt one beside it is no matter
    exam, learnt = exams_of_shipped(shared_data, tmp_path, "theo", range(1, 5))
    assert (exam.data, exam.fold, [(e.data, e.fold) for e in learnt]) == (tmp_path, 6, [(shared_data, fold) for fold in (1, 2, 3, 4)])
    plans = {tuple((event.label, round(event.start, 3)) for i in range(4) for event in e.two_sound(i).events) for e in learnt}
    assert len(plans) == 4, "other scenes for each fold, not one plan four times"
    shutil.copy(there / "rain/6-000-A.ogg", there / "rain/7-000-A.ogg")
    with pytest.raises(ValueError, match=r"esc10 holds 2 folds that are not learnt, where one is needed"):
        exams_of_shipped(shared_data, tmp_path, "theo", range(1, 5))
    (there / "rain/7-000-A.ogg").unlink()
    with pytest.raises(ValueError, match=r"nothing: there is no bundle to go on from"):
        print_thresholds(StarterOptions(data=shared_data, runs=tmp_path, out=tmp_path / "nothing", unheard=there.parent))
    with pytest.raises(FileNotFoundError, match=r"encoder-123\.pt is missing: `auricle-export train starter` fits it"):
        print_thresholds(StarterOptions(data=shared_data, runs=tmp_path))


def test_thresholds_are_heard_on_everything_that_is_there(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scenes of each kind through an encoder that knows nothing; a room is what may be there, a named recording is called by name."""
    for name in ("UNHEARD_SCENES", "LEARNT_SCENES", "TALKS"):
        monkeypatch.setattr(thresholds, name, 2)
    table = {"named": {"Doorbell": ["bell.wav"]}, "kept": {"room.wav": ["Wind"]}}
    monkeypatch.setattr(ambience, "COLLECTIONS", {"some/one": table})
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "ambience/some/one").mkdir(parents=True)
    for name, seconds in (("bell", 12.0), ("room", 61.0)):
        hum = 0.1 * np.sin(np.arange(int(seconds * 16_000)) / 9)
        soundfile.write(elsewhere / f"ambience/some/one/{name}.wav", hum, 16_000)
    for folder in (shared_data / "esc10").iterdir():
        if folder.is_dir():
            (elsewhere / "esc10" / folder.name).mkdir(parents=True)
            shutil.copy(next(folder.glob("3-*.ogg")), elsewhere / "esc10" / folder.name / "6-000-A.ogg")
    (elsewhere / "fsdd").mkdir()
    for path in sorted((shared_data / "fsdd").glob("*_theo_*.wav"))[:4]:
        shutil.copy(path, elsewhere / "fsdd" / path.name)
    exam, learnt = exams_of_shipped(shared_data, elsewhere, "theo", range(1, 5))
    exam.quick = True
    found = material(Encoder(16).eval(), exam, [np.zeros(16_000, np.float32)], learnt)
    assert {name: len(held.first) for name, held in found.items()} == {
        "scenes": 1,
        "clips": 1,
        "counts": found["counts"].first.size,
        "digits": 1,
        "speech": 1,
        "learnt": 8,
        "named": 1,
        "rooms": 1,
    }
    assert NAMED[found["named"].first[0]] == "Doorbell"
    rooms = found["rooms"]
    assert rooms.allowed is not None
    assert [NAMED[k] for k in np.flatnonzero(rooms.allowed[0])] == ["Wind"]
    assert rooms.first.tolist() == rooms.second.tolist() == [-1]
    assert np.isfinite(rooms.scores[0, :, 0]).sum() == pytest.approx(60 / 0.04, abs=8)  # a minute of the room is heard
