"""What a reader may ask for: no more changes than can be read, and nothing of priority overlooked. Laws of pace.py and priority.py."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from tape import told

from edge.bundle import Bundle
from edge.capture import AudioFile
from edge.config import Config
from edge.pace import Pace, revised
from edge.pipeline import Line
from edge.priority import Priority
from edge.sinks.record import as_dict
from edge.types import SAMPLE_RATE, Caption, Sound

WORDS = ["a", "dog", "barks", "twice", "then", "someone", "knocks", "and", "a", "bell", "rings", "far", "away"]


def stream(seed: int, views: int = 40) -> list[Caption]:
    """Two captions whose open ends change at random, a view every half second, the last of each final."""
    rng = random.Random(seed)
    found, text = [], []
    for view in range(views):
        final = view in (views // 2, views - 1)
        if rng.random() < 0.7:
            keep = rng.randint(max(0, len(text) - 3), len(text))
            text = text[:keep] + rng.choices(WORDS, k=rng.randint(0, 4))
        shown = " ".join(text)
        number = 1 + (view > views // 2)
        found.append(Caption(number, view + 1, 0, (view + 1) * SAMPLE_RATE // 2, shown, len(shown) if final else 0, final))
        if final:
            text = []
    return found


def test_without_limits_nothing_is_held_back() -> None:
    pace, given = Pace(), stream(1)
    shown = [pace.admit(caption) for caption in given]
    assert [replace(c, revision=0) for c in shown if c] == [replace(c, revision=0) for c in given]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_shown_could_be_read_before_it_changes_and_finals_always_come(seed: int) -> None:
    cps, given = 12.0, stream(seed)
    pace = Pace(reading_cps=cps)
    shown = [c for c in (pace.admit(caption) for caption in given) if c is not None]
    assert [c.text for c in shown if c.final] == [c.text for c in given if c.final]
    for before, after in pairwise(shown):
        if before.id == after.id and not after.final:
            assert (after.stop - before.stop) / SAMPLE_RATE * cps >= new_characters(shown, before) - 1e-6
    assert len(shown) < len(given), "else the limit was no limit"
    numbered(shown)


def new_characters(shown: list[Caption], caption: Caption) -> int:
    at = shown.index(caption)
    before = shown[at - 1].text if at and shown[at - 1].id == caption.id else ""
    same = next((i for i, (a, b) in enumerate(zip(before, caption.text, strict=False)) if a != b), min(len(before), len(caption.text)))
    return len(caption.text) - same


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("most", [0, 1])
def test_no_partial_revises_more_words_than_allowed(seed: int, most: int) -> None:
    pace, given = Pace(revised_words=most), stream(seed)
    shown = [c for c in (pace.admit(caption) for caption in given) if c is not None]
    for before, after in pairwise(shown):
        if before.id == after.id and not after.final:
            assert revised(before.text, after.text) <= most
    assert sum(c.final for c in shown) == 2
    numbered(shown)


def numbered(shown: list[Caption]) -> None:
    """Revisions grow by one from one, as the contract has it."""
    for number in {c.id for c in shown}:
        own = [c.revision for c in shown if c.id == number]
        assert own == list(range(1, len(own) + 1))


def test_revised_words_are_those_that_no_longer_stand() -> None:
    assert revised("", "A dog barks.") == 0
    assert revised("A dog barks.", "A dog barks, then a bell rings.") == 0, "a stop that becomes a comma is nothing to read again"
    assert revised("A dog barks twice", "A cat barks twice") == 1
    assert revised("A dog barks twice", "A dog") == 2


def test_a_caption_of_priority_is_shown_at_once() -> None:
    pace = Pace(reading_cps=1.0, revised_words=0)
    first = Caption(1, 1, 0, 8_000, "A bell rings", 0, False)
    assert pace.admit(first) is not None
    assert pace.admit(replace(first, revision=2, stop=16_000, text="Somebody shouts")) is None
    assert pace.admit(replace(first, revision=3, stop=16_000, text="A siren", priority=True)) == Caption(
        1, 2, 0, 16_000, "A siren", 0, False, priority=True
    )


@pytest.mark.parametrize("label", ["Smoke detector, smoke alarm", "Siren", "Baby cry, infant cry", "Fire alarm", "Glass"])
def test_the_usual_priorities_are_what_nobody_may_overlook(label: str) -> None:
    usual = Priority(Config().priority)
    assert usual.of_label(label)


@pytest.mark.parametrize("label", ["Bark", "Crying fowl", "Alarmingly loud", "Rain", "Speech"])
def test_other_sounds_are_not_of_priority(label: str) -> None:
    assert not Priority(Config().priority).of_label(label)


def test_a_name_is_heard_as_a_word_in_any_case_and_nothing_is_a_pattern() -> None:
    names = Priority(names="Ana; Mr. X+")
    assert names.of_text('"Is ANA there?"')
    assert not names.of_text("Banana")
    assert names.of_text("mr. x+ called")
    assert not names.of_text("mrs x")
    assert not Priority(names=" ; ,").of_text("anything")


def test_sounds_and_captions_of_priority_are_marked_in_the_records() -> None:
    line = Line(Bundle.open("starter"), Config(priority="Speech"))
    records = told(line.run(AudioFile("edge/data/demo_scene.flac")))
    line.close()
    sounds = {(s.label, s.priority) for s in records if isinstance(s, Sound)}
    assert ("Speech", True) in sounds
    assert {priority for label, priority in sounds if label != "Speech"} == {False}
    marked = [as_dict(r) for r in records if isinstance(r, Sound | Caption) and r.priority]
    assert marked
    assert all(m["priority"] is True for m in marked)
    unmarked = [as_dict(r) for r in records if isinstance(r, Sound | Caption) and not r.priority]
    assert all("priority" not in m for m in unmarked), "readers of today see what they saw"
    first = next(c for c in records if isinstance(c, Caption) and c.priority)
    assert first.start <= next(s.start for s in records if isinstance(s, Sound) and s.priority)


def test_the_line_holds_revisions_back_as_asked() -> None:
    counts = []
    for cps in (0.0, 2.0):
        line = Line(Bundle.open("starter"), Config(reading_cps=cps))
        records = told(line.run(AudioFile("edge/data/demo_scene.flac")))
        counts.append([sum(isinstance(r, Caption) and r.final is final for r in records) for final in (True, False)])
        line.close()
    assert counts[0][0] == counts[1][0] > 3, "every final"
    assert counts[1][1] < counts[0][1] / 2
