"""What was just heard can be asked about while the line listens: the answer is that of the clip itself, and captions are not disturbed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import line_bundle
import numpy as np
import pytest
import soundfile

from edge.config import load
from edge.errors import BundleError, EdgeError
from edge.listener import Listener
from edge.memory import Memory
from edge.types import Encoding, Turn

SCENE = Path(__file__).resolve().parents[1] / "edge/data/demo_scene.flac"
QUESTION = "How often did someone knock?"
NOTHING = np.zeros((0, 0), np.float32)


@pytest.fixture(scope="module")
def starter() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def same(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in ("latency", "started")} for record in records]


def test_asked_while_it_listens_it_answers_as_about_the_clip_and_goes_on_as_if_nobody_had_asked(starter: Listener) -> None:
    undisturbed = list(starter.listen(SCENE))
    samples, _ = soundfile.read(SCENE, dtype="float32")
    records, answers = [], []
    for record in starter.listen(SCENE):
        records.append(record)
        if record["type"] == "caption" and record["final"]:
            answers.append(starter.ask(QUESTION))
            assert (answers[-1]["start"], answers[-1]["end"]) == (record["start"], record["end"])
            assert answers[-1]["type"] == "answer"
    assert same(records) == same(undisturbed)
    assert len(answers) >= 3
    for answer in answers:
        clip = samples[round(answer["start"] * 16_000) : round(answer["end"] * 16_000)]
        assert answer["text"] == starter.ask(QUESTION, clip)["text"]
    assert len({answer["text"] for answer in answers}) > 1, "every turn has its own answer, or this proves nothing"
    assert starter.ask(QUESTION) == answers[-1]  # after the stream as well


def test_a_turn_that_is_still_open_can_be_asked_about(starter: Listener) -> None:
    for record in starter.listen(SCENE):
        if record["type"] == "caption" and not record["final"] and record["end"] - record["start"] > 2:
            answer = starter.ask("What is heard?")
            assert answer["start"] == record["start"]
            assert answer["end"] == record["end"]
            assert answer["text"]
            break


def test_what_is_too_long_ago_is_said_to_be(starter: Listener) -> None:
    list(starter.listen(SCENE))
    with pytest.raises(EdgeError, match=r"nothing was heard in the last 0\.01 s"):
        starter.ask(QUESTION, last_s=0.01)


def test_silence_passes_too_and_what_was_heard_before_it_is_not_just_now(starter: Listener, tmp_path: Path) -> None:
    samples, rate = soundfile.read(SCENE, stop=8 * 16_000, dtype="float32")
    soundfile.write(tmp_path / "then.wav", np.concatenate([samples, np.zeros(90 * rate, np.float32)]), rate)
    list(starter.listen(tmp_path / "then.wav"))
    assert starter.ask(QUESTION, last_s=120)["text"]
    with pytest.raises(EdgeError, match="nothing was heard in the last 60 s"):
        starter.ask(QUESTION)


def test_who_has_one_answer_may_ask_again_or_leave(starter: Listener) -> None:
    """Both waited for ever: the lock was held while the answer was out of the house."""
    list(starter.listen(SCENE))
    asked = threading.Thread(target=lambda: [starter.ask(QUESTION) for _ in starter.ask_through(QUESTION, last_s=120)], daemon=True)
    asked.start()
    asked.join(60)
    assert not asked.is_alive()


def test_before_anything_was_heard_and_after_the_end_nothing_can_be_asked() -> None:
    with Listener() as listener:
        with pytest.raises(EdgeError, match="nothing has been heard yet"):
            listener.ask(QUESTION)
        with pytest.raises(ValueError, match="question is empty"):
            listener.ask("  ")
    with pytest.raises(ValueError, match="closed"):
        listener.ask(QUESTION)


def test_memory_s_bounds_what_is_kept() -> None:
    with Listener(config=load(flags={"memory_s": 0.0})) as listener:
        for record in listener.listen(SCENE):
            if record["type"] == "caption" and record["final"]:
                listener.ask(QUESTION)  # the newest turn is kept in any case while it is the newest
        assert len(listener._line._recall.memory._turns) == 1


def encoding(rows: int, width: int = 8, hop: int = 5_120) -> Encoding:
    return Encoding(0, rows * hop, np.ones((rows, width), np.float32), hop, NOTHING, hop)


def test_a_year_of_turns_takes_no_more_than_its_bounds() -> None:
    memory = Memory(60.0, most_bytes=4_000)
    most = 0
    for index in range(2_000):
        start = index * 40_000
        memory.take(Turn(index, start, start + 30_000, True, "end", "sound"), encoding(6))
        most = max(most, memory.bytes)
        assert memory.bytes == sum(part.nbytes for turn in memory._turns for part in turn.parts)
        assert memory._turns[0].stop >= start + 30_000 - 60 * 16_000
    assert most <= 4_000
    at, newest = memory.newest(1.0)
    assert (at, newest.stop, newest.vectors.shape) == (1_999 * 40_000, 30_000, (6, 8))


def test_rows_of_a_tower_take_the_place_of_those_before() -> None:
    for whole, rows in ((True, 5), (False, 7)):
        memory = Memory(60.0, whole=whole)
        for count in (2, 5):
            memory.take(Turn(1, 0, count * 5_120, False, "hop", "sound"), encoding(count))
        assert memory.newest(60.0)[1].vectors.shape == (rows, 8)


def test_a_bundle_without_a_language_model_says_so(tmp_path: Path) -> None:
    with (
        Listener(line_bundle.make(tmp_path / "mute", captioner=False)) as listener,
        pytest.raises(BundleError, match="answers no questions"),
    ):
        listener.ask(QUESTION)
