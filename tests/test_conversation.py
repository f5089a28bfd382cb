"""Laws of asking further: word by word, behind earlier answers, through a long clip, over several clips, and thought over or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import line_bundle
import numpy as np
import pytest
import soundfile
from line_bundle import CONTEXT, LIMIT_TOKENS, VECTOR_HOP, scene
from tape import Tape

from edge.ask import PAUSE_S
from edge.backends.llama import LlamaModel
from edge.bundle import Bundle
from edge.config import Config
from edge.errors import AudioError, BundleError, EdgeError
from edge.listener import Listener
from edge.pipeline import Line
from edge.types import SAMPLE_RATE

SCENE = scene(("", 0.7), ("Tone", 1.2), ("", 0.5), ("Whistle", 1.0))
OTHER = scene(("Hum", 2.0), ("Hiss", 1.0), seed=3)
LONG = scene(*[("Hum", 3.0), ("Whistle", 4.0), ("", 2.0)] * 6)
ASK_TOKENS = 20
TABLE: dict[str, Any] = {
    **{"prompt": "<caption>", "limit_tokens": LIMIT_TOKENS, "context": CONTEXT},
    **{"ask_prompt": "<caption>q:{question}<caption>", "again_prompt": "<caption>+{question}<caption>", "ask_tokens": ASK_TOKENS},
}
QUESTIONS = ("Is a dog barking?", "What is heard?", "How many?", "the rain")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    loaded = Line(Bundle.open(line_bundle.make(tmp_path_factory.mktemp("bundle") / "asked", caption=TABLE)))
    yield loaded
    loaded.close()


def thinking(folder: Path, close: str, think_tokens: int) -> Line:
    """A line whose model thinks from <caption> to `close`."""
    table = {**TABLE, "thought": {"open": "<caption>", "close": close}}
    return Line(Bundle.open(line_bundle.make(folder, caption=table)), Config(think_tokens=think_tokens))


def test_an_answer_is_told_as_it_grows_and_is_the_same(line: Line) -> None:
    clip, grew = line.hear(SCENE), 0
    for question in QUESTIONS:
        told: list[str] = []
        answer = clip.ask(question, tell=told.append)
        assert answer == clip.ask(question)
        assert told[-1].strip() == answer.text
        assert all(after.startswith(before) for before, after in pairwise(told))
        grew += len(told)
    assert grew > 3 * len(QUESTIONS)


def test_a_further_question_stands_behind_the_earlier_ones_and_their_answers(tmp_path: Path) -> None:
    line = Line(Bundle.open(line_bundle.make(tmp_path / "bundle", caption={**TABLE, "context": 512})))
    model, clip = line.text_model, line.hear(SCENE)
    assert model is not None
    earlier: list[tuple[str, str]] = []
    text = ""
    for question in QUESTIONS[:3]:
        text += f"<caption>{'+' if earlier else 'q:'}{question}<caption>"
        answer = clip.ask(question, earlier)
        model.reset()
        model.extend(clip.rows)
        assert answer.text == model.detokenize(model.decode(model.tokenize(text), [], 0, ASK_TOKENS)).strip()
        line.hear(SCENE).score("")  # so that the next question finds other rows
        earlier.append((question, answer.text))
        text += answer.text.replace("<", "").replace(">", "")
    assert clip.ask(QUESTIONS[2]).text != earlier[-1][1], "or the earlier ones were not heard"
    with pytest.raises(EdgeError, match=r"behind 30 earlier ones leaves no room for audio; ask .* leave some of the earlier"):
        clip.ask(QUESTIONS[0], earlier * 10)
    line.close()


def test_a_bundle_that_takes_each_question_by_itself_says_so(tmp_path: Path) -> None:
    table = {key: value for key, value in TABLE.items() if key != "again_prompt"}
    with Listener(line_bundle.make(tmp_path / "alone", caption=table)) as listener:
        clip = listener.hear(SCENE)
        first = clip.ask("What is heard?")
        with pytest.raises(BundleError, match="takes each question by itself"):
            clip.ask("And then?", earlier=[first])


def test_a_long_clip_is_asked_through_from_its_beginning_to_its_end(line: Line) -> None:
    clip = line.hear(LONG)
    for window_s in (5.0, 1_000.0):
        answers = list(clip.through("What is heard?", window_s))
        assert answers[0].start == 0
        assert answers[-1].stop == len(LONG)
        assert all(a.stop == b.start for a, b in pairwise(answers))
        assert all(a.stop - a.start <= max(window_s * SAMPLE_RATE, VECTOR_HOP) for a in answers)
        rows = [round((a.stop - a.start) / VECTOR_HOP) for a in answers]
        assert max(rows) - min(rows) <= 2, "even windows"
        assert len(answers) > 1, "the context holds less than the clip"
    assert len({a.text for a in clip.through("What is heard?", 5.0)}) > 1, "or the windows were not told apart"


def test_the_answer_of_a_window_is_that_of_its_rows(line: Line) -> None:
    model, clip = line.text_model, line.hear(LONG)
    assert model is not None
    answers = list(clip.through("How many?", 6.0))
    for answer in answers[::3]:
        model.reset()
        model.extend(clip.rows[answer.start // VECTOR_HOP : -(-answer.stop // VECTOR_HOP)])
        wanted = model.decode(model.tokenize("<caption>q:How many?<caption>"), [], 0, ASK_TOKENS)
        assert answer.text == model.detokenize(wanted).strip()


def test_several_clips_are_heard_as_one_with_a_pause_and_their_spans(line: Line) -> None:
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    whole = line.hear(np.concatenate([SCENE, pause, OTHER]))
    both = line.hear([SCENE, Tape(OTHER)])
    np.testing.assert_array_equal(both.rows, whole.rows)
    assert both.parts == ((0, len(SCENE)), (len(SCENE) + len(pause), len(SCENE) + len(pause) + len(OTHER)))
    assert both.ask("Which is louder?") == whole.ask("Which is louder?")
    assert [(s.label, s.start, s.stop) for s in both.sounds] == [(s.label, s.start, s.stop) for s in whole.sounds]
    assert {s.label for s in both.sounds} == {"Tone", "Whistle", "Hum", "Hiss"}
    with pytest.raises(AudioError, match="the clip number 2 holds no audio"):
        line.hear([SCENE, np.zeros(0, np.float32)])


def test_sources_of_a_question_that_is_refused_are_closed(line: Line) -> None:
    tapes = [Tape(SCENE), Tape(OTHER)]
    with pytest.raises(ValueError, match="empty"):
        line.hear(tapes, " ")
    assert [tape.closed for tape in tapes] == [1, 1]


def test_a_thought_that_is_not_asked_for_is_closed_before_it_begins(tmp_path: Path) -> None:
    line = thinking(tmp_path / "bundle", "e", 0)
    model, clip = line.text_model, line.hear(SCENE)
    assert model is not None
    answer = clip.ask("How many?")
    model.reset()
    model.extend(clip.rows)
    wanted = model.decode(model.tokenize("<caption>q:How many?<caption><caption>\n\ne\n\n"), [], 0, ASK_TOKENS)
    assert (answer.text, answer.thought) == (model.detokenize(wanted).strip(), "")
    line.close()


def test_a_thought_ends_at_its_mark_or_at_its_budget_and_is_told_apart_from_the_answer(tmp_path: Path) -> None:
    ends = set()
    for number, said in enumerate((None, [269], [263, 269])):
        line = thinking(tmp_path / str(number), "zzz", 12)
        model, clip = line.text_model, line.hear(SCENE)
        assert model is not None
        assert line._questions is not None
        if said is not None:  # whole words, which this model says, and which its tokenizer never gives
            line._questions._thought._close = said
        answer = clip.ask("How many?")
        model.reset()
        model.extend(clip.rows)
        opened = model.tokenize("<caption>q:How many?<caption><caption>\n")
        thought = model.decode(opened, [], 0, 12)
        mark = said or model.tokenize("zzz")
        end = next((i for i in range(len(thought)) if thought[i : i + len(mark)] == mark), len(thought))
        ends.add(end < len(thought))
        assert answer.thought == model.detokenize(thought[:end]).strip()
        wanted = model.decode([*opened, *thought[:end], *model.tokenize("zzz\n\n")], [], 0, ASK_TOKENS)
        assert answer.text == model.detokenize(wanted).strip()
        line.close()
    assert ends == {True, False}, "one that was closed and one that was cut"


def test_thoughts_take_their_place_from_the_audio_and_no_answer_is_still_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, thoughtful = thinking(tmp_path / "a", "e", 0), thinking(tmp_path / "b", "e", 40)
    spans = [line.hear(LONG).ask("How many?") for line in (plain, thoughtful)]
    assert spans[1].start - spans[0].start > 30 * VECTOR_HOP
    monkeypatch.setattr(LlamaModel, "decode", lambda *args: [])
    with pytest.raises(EdgeError, match="gave no answer"):
        thoughtful.hear(SCENE).ask("How many?")
    plain.close()
    thoughtful.close()


def test_every_turn_of_the_last_minutes_can_be_asked() -> None:
    with Listener() as listener:
        finals = [r for r in listener.listen("edge/data/demo_scene.flac") if r["type"] == "caption" and r["final"]]
        answers = list(listener.ask_through("Is there a smoke alarm?", last_s=300.0))
        assert [round(a["start"], 3) for a in answers if a["text"] == "Yes."]
        assert len(answers) >= len(finals) > 3
        assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(answers))
        last = listener.ask("Is there a smoke alarm?", last_s=300.0)
        assert {k: last[k] for k in ("text", "start", "end")} == {k: answers[-1][k] for k in ("text", "start", "end")}


def test_a_listener_tells_clips_and_sounds(tmp_path: Path) -> None:
    for name, samples in (("a", SCENE), ("b", OTHER)):
        soundfile.write(tmp_path / f"{name}.wav", samples, SAMPLE_RATE)
    with Listener(line_bundle.make(tmp_path / "bundle", caption=TABLE)) as listener:
        heard = listener.hear([tmp_path / "a.wav", tmp_path / "b.wav"])
        answer = heard.ask("Which is louder?")
        assert [clip["start"] for clip in answer["clips"]] == [0.0, round(len(SCENE) / SAMPLE_RATE + PAUSE_S, 3)]
        assert json.loads(json.dumps(heard.sounds)) == heard.sounds
        assert {"label", "start", "end"} <= set(heard.sounds[0])
        further = heard.ask("And the bell?", earlier=[answer])
        assert further["question"] == "And the bell?"
