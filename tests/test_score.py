"""`auricle-export score`: the published file formats, on recordings of our own, and the authors' formulas."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.bundle import Bundle
from edge.errors import EdgeError
from export import cli, score
from export.recipes.recipe import BuildError

ROOT = Path(__file__).resolve().parents[1]
CHOICES = ["A dog", "A siren", "Rain", "Music"]


@pytest.mark.parametrize(
    ("answer", "prediction", "choices", "right"),
    [
        ("Man", "Man", ["Man", "Woman"], True),
        ("Man", "A man is speaking.", ["Man", "Woman"], True),
        ("Man", "A man or a woman", ["Man", "Woman"], False),  # a word that only a wrong choice has
        ("A woman", "woman", ["A child", "A woman", "An adult man"], False),  # every word of the answer, "a" as well
        ("A woman", "a Woman!", ["A child", "A woman", "An adult man"], True),
        ("Twice", "", ["Once", "Twice"], False),
        ("Piano, then guitar", "guitar, then piano", ["Piano, then guitar", "Guitar, then drums"], True),  # order is not looked at
        ("No", "No.", ["Yes", "No"], True),
    ],
)
def test_mmau_rule(answer: str, prediction: str, choices: list[str], right: bool) -> None:
    assert score.match(answer, prediction, choices) is right


@pytest.mark.parametrize(
    ("said", "kept"),
    [("B.", "A siren"), ("(C) Rain", "Rain"), ("B", "A siren"), ("Z.", "Z."), ("A siren.", "A siren."), ("E.", "E."), ("Rain", "Rain")],
)
def test_a_letter_stands_for_its_choice(said: str, kept: str) -> None:
    assert score.chosen(said, CHOICES) == kept


def test_a_sentence_that_begins_with_a_is_no_letter() -> None:
    assert score.chosen("A siren wails.", CHOICES) == "A siren wails."


@pytest.mark.parametrize(
    ("sims", "scores"),
    [
        ([[2.0, 1.0], [1.0, 2.0]], (True, True, True)),
        ([[2.0, 3.0], [1.0, 4.0]], (True, False, False)),
        ([[2.0, 1.0], [3.0, 4.0]], (False, True, False)),
        ([[1.0, 1.0], [1.0, 1.0]], (False, False, False)),
    ],
)
def test_compa_rule(sims: list[list[float]], scores: tuple[bool, bool, bool]) -> None:
    assert score.compa_scores(sims) == scores


@pytest.fixture
def clips(tmp_path: Path, shared_data: Path) -> Path:
    """Six real recordings as ESC-50 has them: WAV in one folder, a table beside it."""
    audio = tmp_path / "audio"
    audio.mkdir()
    rows = []
    for folder, category in (("dog_bark", "dog"), ("chainsaw", "chainsaw"), ("rain", "rain")):
        for fold in (1, 2):
            path = next(iter(sorted((shared_data / "esc10" / folder).glob(f"{fold}-*.ogg"))))
            samples, rate = soundfile.read(path, dtype="float32")
            soundfile.write(audio / f"{fold}-{folder}.wav", samples, rate)
            rows.append({"filename": f"{fold}-{folder}.wav", "fold": fold, "target": 0, "category": category, "esc10": "True"})
    rows.append({"filename": "1-cat.wav", "fold": 1, "target": 5, "category": "cat", "esc10": "False"})
    with (tmp_path / "esc50.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def test_esc50_is_scored_over_the_categories_that_the_bundle_knows(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the starter was trained on: it must know them. Cats are left out, and so their missing file is no fault."""
    out = clips / "predictions.csv"
    command = ["score", "esc50", "starter", "--table", str(clips / "esc50.csv"), "--audio", str(clips / "audio"), "--out", str(out)]
    assert cli.main(command) == 0
    told = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    lines = list(csv.DictReader(out.open()))
    assert len(lines) == 6
    right = [line["prediction"] == line["category"] for line in lines]
    assert sum(right) >= 5
    assert float(told["mean"]) == pytest.approx(100 * sum(right) / 6)
    assert float(told["categories"]) == 3


def test_figures_go_into_the_receipt_of_a_bundle(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, however often it is scored; a bundle that ships is left alone."""
    bundle = Path(shutil.copytree(ROOT / "edge/bundles/starter", clips / "bundle"))
    before = json.loads((bundle / "manifest.json").read_text())["receipt"]["figures"]
    tables = ["--table", str(clips / "esc50.csv"), "--audio", str(clips / "audio"), "--out", str(clips / "predictions.csv"), "--receipt"]
    for _ in range(2):
        assert cli.main(["score", "esc50", str(bundle), *tables]) == 0
    figures = json.loads((bundle / "manifest.json").read_text())["receipt"]["figures"]
    assert figures[: len(before)] == before
    kept = {figure["name"]: figure for figure in figures[len(before) :]}
    assert list(kept) == ["esc50: mean"]
    assert kept["esc50: mean"] == {**kept["esc50: mean"], "unit": "%", "data": "esc50.csv, 3 of its 4 categories", "origin": "real", "n": 6}
    assert kept["esc50: mean"]["value"] > 80
    Bundle.open(bundle).close()
    capsys.readouterr()
    assert cli.main(["score", "esc50", "starter", *tables]) == 1
    assert "--receipt writes into a bundle's folder" in capsys.readouterr().err


def test_mmau_is_answered_in_the_published_format(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but `model_output` is added, an interrupted run goes on, and questions that are too long count as wrong."""
    table, out = clips / "mini.json", clips / "predictions.json"
    items: list[dict[str, Any]] = [
        {
            "id": "a",
            "audio_id": "./audio/1-dog_bark.wav",
            "question": "Which do you hear?",
            "choices": CHOICES,
            "answer": "A dog",
        },
        {"id": "b", "audio_id": "./audio/1-rain.wav", "question": "Which do you hear?", "choices": CHOICES, "answer": "Rain"},
        {"id": "c", "audio_id": "./audio/1-rain.wav", "question": "Why? " * 300, "choices": CHOICES, "answer": "Rain"},
    ]
    items = [item | {"task": "sound", "difficulty": "easy", "split": "test-mini"} for item in items]
    table.write_text(json.dumps(items))
    figures = score.mmau("starter", table, clips, out, print)
    answered = json.loads(out.read_text())
    assert [{k: v for k, v in item.items() if k != "model_output"} for item in answered] == items
    assert all(isinstance(item["model_output"], str) for item in answered)
    wanted = [score.match(item["answer"], item["model_output"], CHOICES) for item in answered]
    assert figures["total"] == pytest.approx(100 * sum(wanted) / 3)
    assert set(figures) == {"total", "sound", "easy"}
    del answered[1]["model_output"]
    answered[0]["model_output"] = "kept as it was"
    out.write_text(json.dumps(answered))
    score.mmau("starter", table, clips, out, print)
    again = json.loads(out.read_text())
    assert again[0]["model_output"] == "kept as it was"
    assert again[1]["model_output"]
    for other in ("another bundle", None):
        beside = out.with_name("predictions.json.bundle")
        beside.write_text(other) if other else beside.unlink()
        with pytest.raises(BuildError, match=r"predictions\.json: it holds the answers of another bundle"):
            score.mmau("starter", table, clips, out, print)
    assert json.loads(out.read_text()) == again
    own = Path(shutil.copytree(ROOT / "edge/bundles/starter", clips / "own"))
    score.mmau(str(own), table, clips, clips / "own.json", print)
    manifest = json.loads((own / "manifest.json").read_text())
    for key, change, same in (("card", "another", True), ("caption", manifest["caption"] | {"ask_tokens": 9}, False)):
        (own / "manifest.json").write_text(json.dumps(manifest | {key: change}))
        if same:
            score.mmau(str(own), table, clips, clips / "own.json", print)
        else:
            with pytest.raises(BuildError, match="of another bundle"):
                score.mmau(str(own), table, clips, clips / "own.json", print)
    with pytest.raises(BuildError, match="it is a folder"):
        score.mmau("starter", table, clips, clips / "audio", print)


@pytest.mark.parametrize("benchmark", ["compa", "esc50"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_heard(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], benchmark: str
) -> None:
    monkeypatch.setattr(score, "Listener", lambda bundle: pytest.fail("it was opened"))
    with (clips / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([score.COMPA_COLUMNS, ["1-rain.wav", "1-rain.wav", "a", "b"]])
    table = clips / ("pairs.csv" if benchmark == "compa" else "esc50.csv")
    (clips / "file").write_text("")
    out = clips / "file/out.csv"
    assert cli.main(["score", benchmark, "starter", "--table", str(table), "--audio", str(clips / "audio"), "--out", str(out)]) == 1
    assert "file" in capsys.readouterr().err


def test_compa_scores_both_captions_over_both_sounds(clips: Path) -> None:
    for name, order in (("there.wav", (0, 1)), ("back.wav", (1, 0))):
        parts = [soundfile.read(clips / "audio" / part, dtype="float32") for part in ("1-dog_bark.wav", "1-chainsaw.wav")]
        joined = np.concatenate([np.pad(parts[i][0][: 2 * parts[i][1]], (0, parts[i][1])) for i in order])
        soundfile.write(clips / "audio" / name, joined, parts[0][1])
    row = ("there.wav", "back.wav", "A dog barks, then a chainsaw is running.", "A chainsaw is running, then a dog barks.")
    with (clips / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([score.COMPA_COLUMNS, row])
    figures = score.compa("starter", clips / "pairs.csv", clips / "audio", clips / "scores.csv", print)
    (line,) = csv.DictReader((clips / "scores.csv").open())
    sims = [[float(line[f"sim_{t}_{s}"]) for s in (0, 1)] for t in (0, 1)]
    assert len({value for pair in sims for value in pair}) == 4
    assert figures == {name: 100.0 * right for name, right in zip(("text", "audio", "group"), score.compa_scores(sims), strict=True)}


def test_wrong_files_are_told(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(benchmark: str, table: Path, *words: str) -> None:
        command = ["score", benchmark, "starter", "--table", str(table), "--audio", str(clips), "--out", str(clips / "out")]
        assert cli.main(command) == 1
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1
        assert all(word in said for word in words), said
        assert not (clips / "out").exists()

    fails("mmau", clips / "nothing.json", "cannot be read")
    (clips / "broken.json").write_text("[{")
    fails("mmau", clips / "broken.json", "is not JSON")
    (clips / "other.json").write_text('[{"id": 1}]')
    fails("mmau", clips / "other.json", "item 0 has no question")
    (clips / "absent.json").write_text(json.dumps([{"id": 1, "audio_id": "x.wav", "question": "?", "choices": []}]))
    fails("mmau", clips / "absent.json", "x.wav", "--audio")
    fails("compa", clips / "esc50.csv", "pair_file")
    fails("esc50", clips / "esc50.csv", "is missing, with 5 others")
    (clips / "cats.csv").write_text("filename,fold,category\na.wav,1,cat\n")
    fails("esc50", clips / "cats.csv", "none of its labels")
    with pytest.raises(EdgeError):
        score.compa("no-such-bundle", clips / "esc50.csv", clips, clips / "out", print)
