"""What scenes are drawn from, carried to another machine: the same pieces there, chosen by fold and speaker as from the data itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is only in the export environment (.venv-export)")

from edge.types import SAMPLE_RATE
from export.train import carried
from export.train.recordings import Recording
from export.train.shards import gather


def tone(seconds: float, hertz: float) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


KNOWN = [
    Recording("dog 1", "Bark", 1, tone(0.31, 300)),
    Recording("dog 4", "Bark", 4, tone(2.0, 500)),
    Recording("fan", "", 0, tone(1.3, 120), doubtful=("Noise",)),
    Recording("seven", "Speech", 0, tone(0.4, 800), "seven", "theo"),
    Recording("two", "Speech", 0, tone(0.45, 900), "two", "jackson"),
]
SPOKEN = [(tone(1.1, 200), False), (tone(0.7, 250), True)]


@pytest.mark.parametrize(("part_s", "files"), [(3600, 1), (2, 4)])
def test_every_piece_comes_back_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_s: int, files: int) -> None:
    monkeypatch.setattr(carried, "PART_S", part_s)
    carried.save(tmp_path, KNOWN, SPOKEN)
    assert len(carried.files(tmp_path)) == 1 + len(list(tmp_path.glob("*.ogg"))) == 1 + files
    known, spoken = carried.load(tmp_path)
    assert [digits for _, digits in spoken] == [False, True]
    for before, after in zip(KNOWN, known, strict=True):
        told = ("name", "label", "fold", "word", "speaker", "doubtful")
        assert [getattr(before, name) for name in told] == [getattr(after, name) for name in told]
    pieces = [(a.samples, b.samples) for a, b in zip(KNOWN, known, strict=True)] + [
        (a, b) for (a, _), (b, _) in zip(SPOKEN, spoken, strict=True)
    ]
    for before, after in pieces:
        assert before.shape == after.shape
        inside = slice(800, -800)
        assert np.corrcoef(before[inside], after[inside])[0, 1] > 0.98


def test_what_was_carried_is_chosen_by_fold_and_speaker(tmp_path: Path) -> None:
    carried.save(tmp_path, KNOWN, SPOKEN)
    first = gather(tmp_path / "no data here", [1, 2, 3], tmp_path, ("theo",))
    assert [r.name for r in first.recordings["Bark"]] == ["dog 1"]
    assert list(first.words) == ["jackson"]
    assert [len(bed) for bed in first.beds] == [len(KNOWN[2].samples)]
    final = gather(tmp_path / "no data here", [1, 2, 3, 4], tmp_path)
    assert [r.name for r in final.recordings["Bark"]] == ["dog 1", "dog 4"]
    assert list(final.words) == ["theo", "jackson"]


def test_halves_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    carried.save(tmp_path, KNOWN, SPOKEN)
    table = (tmp_path / "sources.json").read_text()
    carried.save(tmp_path, KNOWN[:2], SPOKEN)
    (tmp_path / "sources.json").write_text(table)
    with pytest.raises(ValueError, match=r"write both again \(auricle-export train sources\)"):
        carried.load(tmp_path)
