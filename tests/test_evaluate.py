"""Laws of the evaluation: its scenes are what their truth says, and captions, answers and pairs are judged as by hand."""

from __future__ import annotations

import ast
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import line_bundle
import numpy as np
import pytest

from edge import _native, manifest
from edge.types import SAMPLE_RATE
from export import cli
from export.evaluate import counts, digits, order, page, quiet, rooms, run, scenes
from export.evaluate.ear import Ear, final_text, sounds, strongest
from export.evaluate.exam import STRANGE, TEN, Exam
from export.evaluate.figure import (
    HEADLINES,
    Judged,
    clustered,
    difference,
    effective,
    rate,
    reached,
    receipt,
    share,
    share_of,
    value,
    wilson,
)
from export.evaluate.lay import LEAD_S, TAIL_S, Part, Scene, cut, lay
from export.evaluate.questions import draw, render, right
from export.evaluate.questions import measure as ask_all
from export.train import ambience, packaged, synth
from export.train.labels import COUNTED
from export.train.language import describe
from export.train.questions import SKILLS, UNKNOWN, Asked
from export.train.recordings import Recording

ASKS = {
    "prompt": "<caption>",
    "final_prompt": "<caption><caption>",
    "ask_prompt": "<caption>{question}<caption>",
    "ask_tokens": 20,
    "limit_tokens": line_bundle.LIMIT_TOKENS,
    "context": line_bundle.CONTEXT,
}


@pytest.fixture(scope="module")
def exam() -> Exam:
    """The exam on synthetic variants in the place of recordings, so that it needs no data."""
    made = {
        label: [
            Recording(f"{label} {k}", label, 4, synth.SYNTHESISERS[label](np.random.default_rng([n, k])).astype(np.float32)) for k in (0, 1)
        ]
        for n, label in enumerate(TEN)
    }
    return Exam(Path("nowhere"), speaker="", scenes=80, hours=0.02, quick=True, recordings=made)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return line_bundle.make(tmp_path_factory.mktemp("bundle") / "asked", caption=ASKS)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))


def test_a_scene_follows_from_its_seed_and_index(exam: Exam) -> None:
    again = Exam(exam.data, speaker="", recordings=exam.recordings)
    other = Exam(exam.data, speaker="", seed=8, recordings=exam.recordings)
    for index in (3, 0):
        assert np.array_equal(exam.two_sound(index).samples, again.two_sound(index).samples)
        assert exam.two_sound(index).events == again.two_sound(index).events
    assert len({exam.two_sound(0).samples.tobytes(), exam.two_sound(1).samples.tobytes(), other.two_sound(0).samples.tobytes()}) == 3


def test_a_sound_is_where_its_truth_says(exam: Exam) -> None:
    for index in range(12):
        scene = exam.two_sound(index)
        inside = np.zeros(len(scene.samples), bool)
        for event in scene.events:
            inside[event.start : event.stop] = True
            assert rms(scene.samples[event.start : event.stop]) > 10 ** ((event.dbfs - 26) / 20)
        loudest = max(event.dbfs for event in scene.events)
        assert rms(scene.samples[~inside]) < 10 ** ((loudest - 29) / 20), "outside there is only the noise, 30 dB below or more"
        assert np.abs(scene.samples).max() <= 1
        assert scene.events[0].start == int(LEAD_S * SAMPLE_RATE)
        assert len(scene.samples) - max(e.stop for e in scene.events) == int(TAIL_S * SAMPLE_RATE)


def test_the_level_of_an_event_is_that_of_its_loudest_row() -> None:
    tone = np.sin(np.arange(16_000) * 0.3).astype(np.float32) * np.float32(np.sqrt(2))
    scene = lay(
        np.random.default_rng(1), "x", "sequence", [Part("Siren", tone, False), Part("Music", tone, False)], [0, 20_000], [0.0, -5.0]
    )
    for event in scene.events:
        assert 20 * np.log10(rms(scene.samples[event.start : event.stop])) == pytest.approx(event.dbfs, abs=0.1)
    assert scene.events[0].dbfs - scene.events[1].dbfs == pytest.approx(5)


def test_kinds_of_scenes_are_what_they_are_called(exam: Exam) -> None:
    origins, kinds = [], []
    for index in range(12):
        scene = exam.two_sound(index)
        first, second = scene.events
        assert first.label != second.label
        assert sum(event.label in STRANGE for event in scene.events) == (scene.origin == "mixed")
        assert abs(first.dbfs - second.dbfs) <= 6
        if scene.kind == "overlap":
            length = first.stop - first.start
            assert length >= 1.5 * SAMPLE_RATE
            assert length / 3 - 1 <= second.start - first.start <= length / 2
            assert " while " in describe(scene.facts(), True)
        else:
            assert 0.3 * SAMPLE_RATE - 1 <= second.start - first.stop <= SAMPLE_RATE
            assert ", then " in describe(scene.facts(), True)
        assert max(event.stop - event.start for event in scene.events) <= 3 * SAMPLE_RATE
        origins.append(scene.origin)
        kinds.append(scene.kind)
    assert origins.count("mixed") == origins.count("real") == kinds.count("overlap") == kinds.count("sequence") == 6


def test_a_part_is_cut_where_the_sound_is() -> None:
    samples = np.random.default_rng(1).normal(0, 1e-4, 5 * SAMPLE_RATE).astype(np.float32)
    samples[16_000:32_000] += np.sin(np.arange(16_000) * 0.2).astype(np.float32) * 0.1
    part = cut(np.random.default_rng(2), samples, "Siren", 1.2, "x", True)
    assert 16_000 <= len(part.samples) <= 16_000 + 2 * 640
    assert cut(np.random.default_rng(2), samples[:0], "Siren", 1.2, "x", True).samples.size == 0


def test_ab_and_ba_hold_the_same_sounds(exam: Exam) -> None:
    for index in range(3):
        ab, ba = exam.pair(index)
        assert [e.label for e in ab.events] == [e.label for e in ba.events][::-1]
        assert len(ab.samples) == len(ba.samples)
        for one in ab.events:
            twin = next(e for e in ba.events if e.label == one.label)
            a, b = ab.samples[one.start : one.stop], ba.samples[twin.start : twin.stop]
            assert len(a) == len(b)
            assert one.dbfs == pytest.approx(twin.dbfs, abs=0.5)
            assert rms(a - b * np.float32(10 ** ((one.dbfs - twin.dbfs) / 20))) < 10 ** ((max(e.dbfs for e in ab.events) - 25) / 20)


def test_counted_scenes_hold_so_many_events(exam: Exam) -> None:
    for label in COUNTED:
        for times in (1, 4):
            scene = exam.counted(label, times, 0)
            (event,) = scene.events
            assert (event.label, event.count) == (label, times)
            assert scene.origin == ("real" if label in exam.recordings else "synthetic")


@pytest.mark.parametrize(
    ("text", "missed", "invented", "ordered", "together"),
    [
        ("A dog barks, then rain is falling.", (), (), True, True),
        ("A dog barks twice, then rain is falling.", (), (), True, True),
        ("Rain is falling, then a dog barks.", (), (), False, True),
        ("A dog barks while rain is falling.", (), (), True, False),
        ("A dog barks. Rain is falling.", (), (), True, True),
        ("A dog barks, then rain is falling while a dog barks again.", (), (), True, True),
        ("A dog barks.", ("Rain",), (), None, None),
        ("", ("Bark", "Rain"), (), None, None),
        ("A dog barks, then a siren wails, then rain is falling.", (), ("Siren",), True, True),
        ("A person says seven.", ("Bark", "Rain"), ("Speech",), None, None),
    ],
)
def test_a_caption_is_judged_as_by_hand(text: str, missed: Any, invented: Any, ordered: bool | None, together: bool | None) -> None:
    found = scenes.judge(("Bark", "Rain"), False, text)
    assert (found.missed, found.invented, found.order, found.together) == (missed, invented, ordered, together)
    assert found.right == (not missed and not invented and ordered is True)


def test_an_overlap_is_told_by_while() -> None:
    assert scenes.judge(("Bark", "Rain"), True, "A dog barks while rain is falling.").together is True
    assert scenes.judge(("Bark", "Rain"), True, "A dog barks, then rain is falling.").together is False


@pytest.mark.parametrize(
    ("text", "said"),
    [("A dog barks.", 1), ("A dog barks three times.", 3), ("A dog barks, then a dog barks again.", 2), ("Rain is falling.", 0), ("", 0)],
)
def test_counts_are_read_from_captions(text: str, said: int) -> None:
    assert counts.said_count(text, "Bark") == said


def test_a_digit_is_heard_when_it_is_said_alone() -> None:
    assert [digits.heard_as(words) for words in (["seven"], [], ["seven", "one"], ["q"])] == ["seven", "none", "other", "other"]


@pytest.mark.parametrize(
    ("skill", "answer", "said", "good"),
    [
        ("first", "A dog.", "a dog", True),
        ("first", "A dog.", "A clock.", False),
        ("presence", "Yes.", "YES.", True),
        ("presence", "Yes.", "", False),
        ("second", "At 3 s.", "At 4 s.", True),
        ("second", "At 3 s.", "At 5 s.", False),
        ("second", "At 3 s.", "In the middle.", False),
        ("unknown", UNKNOWN, "I don't know.", True),
        ("choice", "B.", "B", True),
    ],
)
def test_an_answer_is_right_or_not(skill: str, answer: str, said: str, good: bool) -> None:
    assert right(Asked(skill, "?", answer), said) is good


def test_questions_ask_every_skill_and_yes_as_often_as_no(exam: Exam) -> None:
    items = draw(exam)
    per_skill = [item.asked.skill for item in items]
    assert set(per_skill) == set(SKILLS)
    for skill in ("presence", "order"):
        answers = [item.asked.answer for item in items if item.asked.skill == skill]
        assert answers.count("Yes.") == answers.count("No.") == 2
    assert [item.scene for item in items] == [item.scene for item in draw(exam)]
    assert all(isinstance(render(exam, item.scene), Scene) for item in items[:3])


def test_compa_scores_want_both_captions_or_both_clips() -> None:
    assert order.compa(((-1.0, -2.0), (-3.0, -1.0))) == (True, True, True)
    assert order.compa(((-1.0, -2.0), (-4.0, -5.0))) == (False, False, False)
    assert order.compa(((-5.0, -6.0), (-2.0, -1.0))) == (True, False, False)
    assert order.compa(((-5.0, -2.0), (-6.0, -3.0)))[0] is False
    assert order.caption(("Bark", "Rain")) == "A dog barks, then rain is falling."


def test_records_are_read_in_order_of_time() -> None:
    records: list[dict[str, Any]] = [
        {"type": "caption", "final": True, "start": 4.0, "text": "Rain is falling."},
        {"type": "caption", "final": False, "start": 1.0, "text": "A siren wails."},
        {"type": "caption", "final": True, "start": 1.0, "text": "A dog barks."},
        {"type": "sound", "state": "start", "label": "Bark", "start": 1.0, "score": 0.6},
        {"type": "sound", "state": "end", "label": "Bark", "start": 1.0, "end": 2.0, "score": 0.8},
        {"type": "sound", "state": "start", "label": "Rain", "start": 4.0, "score": 0.7},
        {"type": "sound", "state": "end", "label": "Noise", "start": 0.0, "end": 5.0, "score": 0.5},
    ]
    assert final_text(records) == "A dog barks. Rain is falling."
    assert strongest(records) == "Bark"
    assert strongest([]) == ""
    assert [sound["label"] for sound in sounds(records)] == ["Bark"]


def test_noise_lasts_as_long_as_it_should(exam: Exam) -> None:
    pieces = list(quiet.noise(exam, 61.5))
    assert sum(map(len, pieces)) == int(61.5 * SAMPLE_RATE)
    levels = [20 * np.log10(rms(piece)) for piece in pieces]
    assert -61 < min(levels) < max(levels) < -19
    assert np.array_equal(np.concatenate(pieces), np.concatenate(list(quiet.noise(exam, 61.5))))


def test_intervals_are_those_of_the_books() -> None:
    assert wilson(15, 20) == pytest.approx((0.5313, 0.8881), abs=1e-4)  # by hand
    nothing = rate(0, 1.0, "synthetic", "noise")
    assert (nothing["low"], nothing["high"]) == (0.0, pytest.approx(3.6889, abs=1e-3))  # -ln 0.025, Garwood 1936
    assert share(0, 0, "real", "x")["value"] is None


def judged(*items: tuple[int, str]) -> list[Judged]:
    """Whether an item is right, and a letter for each of its recordings."""
    return [Judged(right, frozenset(letters)) for right, letters in items]


def test_items_of_one_recording_are_worth_one_item() -> None:
    """By hand, from the sum of products over pairs that share a recording."""
    assert effective(judged((1, "ab"), (1, "bc"), (0, "de"))) == pytest.approx(1.8)
    assert effective(judged((1, "ab"), (0, "bc"), (1, "de"))) == 3, "never more than there are"
    spoiled = judged(*((k < 6, "abcdefghij"[k]) for k in range(10) for _ in range(20)))
    assert effective(spoiled) == pytest.approx(9), "ten recordings, and one is lost to their own mean"
    found = share_of(spoiled, "real", "x")
    assert (found["value"], found["n"]) == (0.6, 200)
    assert (found["low"], found["high"]) == pytest.approx(wilson(5.4, 9), abs=1e-4)


def test_what_shares_no_recording_or_is_all_alike_has_the_interval_of_the_books() -> None:
    synthetic = judged(*((k % 4 > 0, "") for k in range(80)))
    assert share_of(synthetic, "synthetic", "x") == share(60, 80, "synthetic", "x")
    alike = judged(*((1, "abcde"[k % 5]) for k in range(100)), (1, ""), (1, ""))
    assert share_of(alike, "mixed", "x")["low"] == pytest.approx(wilson(7, 7)[0], abs=1e-4), "five recordings and two without any"
    assert share_of([Judged(1, frozenset("a"), 2), Judged(0, frozenset("b"), 2)], "real", "x")["value"] == 0.25
    assert share_of([], "real", "x") == share(0, 0, "real", "x")


def test_scenes_of_one_recording_widen_their_interval() -> None:
    """A hundred scenes, every wrong one with the same bark in it."""
    events = [[{"label": "Bark", "from": f"bark {k % 5}"}, {"label": "Alarm", "from": "synthetic"}] for k in range(100)]
    verdicts = {"missed": [], "invented": [], "order": True, "together": True}
    rows = [{"events": e, "origin": "mixed", "right": k % 5 > 0, **verdicts} for k, e in enumerate(events)]
    found = scenes.caption_figures(rows, "x")
    assert found["scenes_right"]["low"] < 0.5 < share(80, 100, "mixed", "x")["low"]
    assert found["captions_invent"]["high"] == pytest.approx(wilson(0, 5)[1], abs=1e-4)


def test_claims_that_come_in_clusters_are_drawn_by_recording() -> None:
    """Two recordings, one with every claim: of four draws one has it twice, two once, one never; its seconds come with it. By hand."""
    found = clustered([0, 6], [1800.0, 5400.0], "real", "rooms")
    assert (found["value"], found["low"], found["high"], found["n"]) == (3.0, 0.0, 4.0, 7200)
    assert found == clustered([0, 6], [1800.0, 5400.0], "real", "rooms")
    for events in ([4], [0, 0]):
        alike = clustered(events, [60.0] * len(events), "real", "rooms")
        assert (alike["low"], alike["high"]) == (None, None), "draws that are all alike are no interval"


def test_the_interval_of_rooms_is_that_of_recordings_and_comes_again_from_the_result(
    exam: Exam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims in five of fifty recordings, nine in each; what is stored gives the same figures as the evaluation."""
    claimed = iter([{"Rain": 9} if k % 10 == 0 else {} for k in range(50)])
    silence = [Recording(f"room {k}", "", 0, np.zeros((k + 1) * SAMPLE_RATE, np.float32)) for k in range(50)]
    monkeypatch.setattr(ambience, "kept", lambda data: silence)
    monkeypatch.setattr(rooms, "watch", lambda *_: {"sounds": next(claimed), "captions": 0})
    nobody: Any = None
    found = rooms.measure(nobody, Exam(tmp_path, recordings=exam.recordings))
    figure, hours = found["figures"]["false_per_hour_rooms"], 50 * 51 / 2 / 3600
    poisson = rate(45, hours, "real", figure["data"])
    assert (figure["value"], figure["n"]) == (poisson["value"], poisson["n"]) == (round(45 / hours, 4), 1275)
    assert 0 < figure["low"] < 0.6 * poisson["low"]
    assert figure["high"] > 1.3 * poisson["high"]
    assert rooms.figures(json.loads(json.dumps(found["rooms"]))) == found["figures"]


def test_bars_and_aims_are_reached_from_their_side() -> None:
    assert [reached("clips_accuracy", value(x, "share", 80, "real", "x")) for x in (0.96, 0.957, 0.9, 0.89)] == [
        "aim",
        "bar",
        "bar",
        "short",
    ]
    assert [reached("captions_invent", value(x, "share", 80, "real", "x")) for x in (0.01, 0.05, 0.06)] == ["aim", "bar", "short"]
    assert reached("order_text", value(1.0, "share", 9, "real", "x")) == ""
    assert difference("counts_exact", share(3, 4, "real", "x"), share(1, 2, "real", "x")) == 25


def sample() -> dict[str, Any]:
    figures = {key: share(3, 4, "mixed", "scenes") for key in HEADLINES}
    figures["bundle_bytes"] = value(5_000_000, "bytes", 3, "mixed", "files")
    figures["false_per_hour_noise"] = rate(2, 1.0, "synthetic", "noise")
    figures["onset_error_ms"] = value(None, "ms", 0, "mixed", "scenes")
    event = {"label": "Bark", "start_s": 0.7, "stop_s": 1.5, "dbfs": -20.0, "from": "x"}
    failure = {"index": 3, "kind": "sequence", "origin": "real", "events": [event], "said": "<script>x</script>", "heard": [], "faults": 2}
    return {
        "bundle": {"name": "starter", "version": "1", "manifest_sha256": "0" * 64, "precisions": {}},
        "figures": figures,
        "parts": {"order": {"skipped": "it answers no questions", "figures": {}}},
        "failures": [failure],
        "options": {"fold": 4, "speaker": "theo", "scenes": 200, "hours": 1.0, "seed": 7, "quick": False},
        "machine": {"cpu": "x", "cores": 2, "python": "3.11"},
        "commit": "abc",
        "date": "2026-01-01",
        "libraries": {},
        "against": {"bundle": {"name": "float", "version": "1"}, "figures": figures, "parts": {}, "difference": {"counts_exact": -0.5}},
    }


def test_receipt_entries_are_what_a_manifest_may_hold(tmp_path: Path) -> None:
    entries = receipt(sample())
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)
    assert HEADLINES["onset_error_ms"].title not in names, "what was not measured is not told"
    folder = line_bundle.make(tmp_path / "told", receipt={"figures": entries})
    held = manifest.parse((folder / manifest.FILE_NAME).read_bytes(), "told").receipt
    assert [figure.name for figure in held] == names
    assert next(figure.value for figure in held if figure.name == HEADLINES["counts_exact"].title) == 0.75


def test_the_page_holds_everything_and_links_to_nothing() -> None:
    text = page.render(sample(), {"A picture & more": b"\x89PNG"}, {3: np.zeros(8000, np.float32)})
    for address in re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^"\s>)]+)', text):
        assert address.startswith("data:"), address
    assert "://" not in text
    assert "<script" not in text
    assert "data:audio/ogg;base64,T2dnUw" in text  # OggS
    assert "data:image/png;base64,iVBORw" in text
    assert "-0.5 points" in text
    assert "it answers no questions" in text


def test_an_answering_bundle_is_questioned_through_the_runtime(exam: Exam, mini: Path) -> None:
    with Ear(mini) as ear:
        asked, pairs, counted = ask_all(ear, exam), order.measure(ear, exam), counts.measure(ear, exam)
    assert asked["figures"]["questions"]["n"] == len(draw(exam))
    assert len(asked["wrong"]) == sum(f["n"] for f in asked["by_skill"].values()) - round(
        asked["figures"]["questions"]["value"] * asked["figures"]["questions"]["n"]
    )
    assert len(pairs["pairs"]) == 6
    assert all(score < 0 for row in pairs["pairs"] for scores in row["scores"] for score in scores)
    assert sum(sum(row.values()) for row in counted["table"].values()) == 24


def test_a_part_that_is_done_is_not_done_again(exam: Exam, tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"figures": {}, "made": len(calls)}

    path, key = tmp_path / "parts/x.json", run.key_of("abc", exam, "")
    assert run.kept("x", key, path, make)["made"] == run.kept("x", key, path, make)["made"] == 1
    assert run.kept("x", {**key, "seed": 8}, path, make)["made"] == 2
    path.write_text('{"key": ')
    assert run.kept("x", key, path, make)["made"] == 3


def test_a_part_is_done_again_when_what_it_reads_has_changed(exam: Exam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, share = tmp_path / "data", tmp_path / "share"
    monkeypatch.setattr(ambience, "COLLECTIONS", {"clone": {"folder": "wild", "kept": {"street.wav": []}}})
    monkeypatch.setattr(packaged, "SHARE", share)

    def key() -> dict[str, Any]:
        return run.key_of("abc", Exam(data, fold=4, speaker="theo", recordings=exam.recordings), "")

    def put(path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))

    names = ("esc10/rain/4-1.ogg", "fsdd/0_theo_0.wav", "ambience/clone/wild/street.wav", "speech/jfk.wav", "yamnet/labels.txt")
    for path in [*(data / name for name in names), share / "asterisk/sounds/fr_CA/one.wav"]:
        held = [key()]
        for size in (8, 9):
            put(path, size)
            assert key() not in held, f"{path}, {size} bytes"
            held.append(key())
        put(path, 8)
        assert key() == held[1], "the same files are the same exam"
    held = [key()]
    for name in ("esc10/rain/3-1.ogg", "fsdd/0_george_0.wav", "ambience/clone/wild/learnt.wav", "README.md"):
        put(data / name, 8)
    assert key() in held, "what no part reads does not count"


def test_a_part_is_done_again_when_any_code_behind_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module of export.train that the evaluation imports, directly or through others, and the compiled runtime."""
    behind: set[Path] = set()
    todo = sorted((run.ROOT / "export/evaluate").glob("*.py"))
    while todo:
        nodes = [node for node in ast.walk(ast.parse(todo.pop().read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
        names = {name for node in nodes for name in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))}
        paths = {run.ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith("export.train")}
        todo += (new := {path for path in paths if path.is_file()} - behind)
        behind |= new
    assert len(behind) > 5
    digested: list[Path] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: digested.append(path) or real(path))
    run.code_digest()
    missing = {*behind, Path(_native.__file__)} - set(digested)
    assert not missing, f"not in the digest: {sorted(map(str, missing))}"


def test_the_whole_evaluation_is_one_command(mini: Path, shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if find_spec("sed_eval") is None:  # importing it needs what hits.sed_eval() puts in place
        pytest.skip("sed_eval is only in the export environment (.venv-export), where make export-test runs this")
    told = ["--quick", "--scenes", "40", "--hours", "0.02", "--out", str(tmp_path)]
    assert cli.main(["evaluate", str(mini), "--data", str(shared_data), *told]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(found["parts"]) == set(run.PARTS)
    assert {"clips_accuracy", "scenes_right", "event_f1_0.5", "yes_no", "order_group", "bundle_bytes"} <= set(found["figures"])
    assert "://" not in (tmp_path / "evaluation.html").read_text()


def test_what_cannot_be_examined_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "starter", "--data", str(tmp_path)]) == 1
    assert "there is no esc10 folder" in capsys.readouterr().err
    (tmp_path / "esc10" / "dog_bark").mkdir(parents=True)
    assert cli.main(["evaluate", "starter", "--data", str(tmp_path), "--fold", "9"]) == 1
    assert "of fold 9; the folds there are none" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="fsdd holds nobody called 'theo'; its speakers are none"):
        _ = Exam(tmp_path, recordings={"Bark": []}).digits
    for wrong in (["--scenes", "0"], ["--hours", "nan"], ["--seed", "-1"]):
        with pytest.raises(SystemExit) as refused:
            cli.main(["evaluate", "starter", *wrong])
        assert refused.value.code == 2
