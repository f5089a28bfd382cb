"""Words and sounds on one line: every sound once, every word in its order, and what is committed stays whatever comes next."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import line_bundle
import numpy as np
import pytest

from edge.bundle import Bundle
from edge.config import load
from edge.errors import BundleError
from edge.pipeline import Line
from edge.time_line import TimeLine, called
from edge.types import Caption, Encoding, Meter, Sound, Turn

WORDS = ["well", "then", "sit", "down", "and", "wait", "until", "the", "kettle", "boils", "and", "somebody", "knocks", "at", "our", "door"]
LABELS = ("Bark", "Smoke detector, smoke alarm", "Knock", "Siren")
NOTHING = np.zeros((0, 0), np.float32)
EMPTY = Encoding(0, 0, NOTHING, 1, NOTHING, 1)


class Script:
    """A transcriber that says what it is told to: (text, committed) of each view."""

    def __init__(self, views: list[tuple[str, int]]) -> None:
        self.views, self.meter, self.heard, self.revision = views, Meter(), 0, 0

    def begin(self, turn: Turn) -> int:
        return turn.start

    def extend(self, samples: Any) -> Encoding:
        self.heard += len(samples)
        return EMPTY

    def revise(self, turn: Turn, encoding: Encoding, sounds: Any) -> Caption | None:
        text, committed = self.views.pop(0)
        if not text and not self.revision:
            return None
        self.revision += 1
        return Caption(1, self.revision, turn.start, turn.stop, text, len(text) if turn.final else committed, turn.final)


def script(rng: random.Random, views: int) -> list[tuple[str, int]]:
    """A text that grows by words, whose open end is taken back now and then."""
    found: list[tuple[str, int]] = []
    sure: list[str] = []
    for _ in range(views):
        sure = WORDS[: min(len(WORDS), len(sure) + rng.randrange(3))]
        more = [rng.choice(WORDS) for _ in range(rng.randrange(4))]
        found.append((" ".join([*sure, *more]), len(" ".join(sure))))
    found[-1] = " ".join(sure), len(" ".join(sure))
    return found


def told(views: list[tuple[str, int]], arriving: dict[int, list[Sound]], unspoken: tuple[str, ...] = ()) -> list[Caption]:
    line = TimeLine(Script(list(views)), unspoken)
    found, sounds = [], []
    for index in range(len(views)):
        turn = Turn(1, 0, (index + 1) * 8000, index == len(views) - 1, "hop", "speech", speech=True)
        sounds += arriving.get(index, [])
        line.listen(turn, np.zeros(8000, np.float32))
        caption = line.revise(turn, EMPTY, sounds)
        if caption is not None:
            found.append(caption)
    return found


@pytest.mark.parametrize("seed", range(300))
def test_what_is_committed_stays_every_sound_stands_once_and_every_word_in_its_order(seed: int) -> None:
    rng = random.Random(seed)
    views = script(rng, rng.randrange(2, 9))
    count = rng.randrange(4)
    arriving: dict[int, list[Sound]] = {}
    for index in range(count):
        at = rng.randrange(len(views))
        arriving.setdefault(at, []).append(Sound(index + 1, LABELS[index], at * 8000, None, 0.9))
    captions = told(views, arriving)
    for index, caption in enumerate(captions, 1):
        assert caption.revision == index
        assert caption.final == (index == len(captions))
        assert 0 <= caption.committed <= len(caption.text)
        for later in captions[index:]:
            assert later.text.startswith(caption.text[: caption.committed]), (caption, later)
            assert later.committed >= caption.committed
    if not captions:
        assert not count
        assert not any(text for text, _ in views)
        return
    last = captions[-1]
    assert last.committed == len(last.text)
    names = [f"[{called(LABELS[index])}]" for index in range(count)]
    assert sorted(re.findall(r"\[[^]]*\]", last.text)) == sorted(names)
    words = " ".join(re.sub(r'\[[^]]*\]|"', " ", last.text).split())
    assert words == views[-1][0]


def test_a_line_reads_as_it_happened() -> None:
    bark, alarm = Sound(1, "Bark", 0, 4000, 0.9), Sound(2, "Smoke detector, smoke alarm", 20_000, None, 0.9)
    views = [("", 0), ("Sit!", 0), ("Sit!", 4), ("Sit! What is", 4), ("Sit! What is that?", 18)]
    captions = told(views, {0: [bark], 3: [alarm]})
    assert [c.text for c in captions] == [
        "[bark]",
        '[bark] "Sit!"',
        '[bark] "Sit!"',
        '[bark] "Sit!" [smoke detector] "What is"',
        '[bark] "Sit!" [smoke detector] "What is that?"',
    ]
    assert [c.text[: c.committed] for c in captions[:4]] == ["[bark]", "[bark]", '[bark] "Sit!', '[bark] "Sit!" [smoke detector]']


def test_speech_is_its_words_and_what_is_unspoken_stays_so() -> None:
    sounds = [Sound(1, "Speech", 0, None, 0.9), Sound(2, "Noise", 0, None, 0.9)]
    captions = told([("", 0), ("hello", 5)], {0: sounds}, ("Noise",))
    assert [c.text for c in captions] == ['"hello"']
    assert told([("", 0), ("", 0)], {0: sounds}, ("Noise",)) == []


def test_a_sound_that_goes_on_into_the_next_turn_is_told_once() -> None:
    line = TimeLine(Script([("", 0)] * 3))
    siren = Sound(7, "Siren", 0, None, 0.9)
    first = line.revise(Turn(1, 0, 8000, True, "longest", "sound"), EMPTY, [siren])
    assert first is not None
    assert first.text == "[siren]"
    assert line.revise(Turn(2, 8000, 16_000, True, "end", "sound"), EMPTY, [siren]) is None
    after = line.revise(Turn(3, 20_000, 28_000, True, "end", "sound"), EMPTY, [Sound(8, "Siren", 20_000, None, 0.9)])
    assert after is not None
    assert after.id == first.id + 1


def test_a_sound_that_goes_on_for_long_is_told_again_in_another_turn() -> None:
    line = TimeLine(Script([("", 0)] * 9), remind_s=10.0)
    rain, second, found = Sound(7, "Rain", 0, None, 0.9), 16_000, []
    for turn, stop in ((1, 1), (1, 15), (2, 16), (2, 20), (3, 24), (4, 26), (4, 29), (5, 30)):
        told = line.revise(Turn(turn, 0, stop * second, False, "hop", "sound"), EMPTY, [rain])
        found.append((turn, stop, told.text) if told else None)
    assert [one for one in found if one] == [(1, 1, "[rain]"), (2, 16, "[rain]"), (4, 26, "[rain]")]


def test_a_second_bundle_must_transcribe(tmp_path: Path) -> None:
    first, second = line_bundle.make(tmp_path / "first"), line_bundle.make(tmp_path / "second")
    with pytest.raises(BundleError, match="does not transcribe; name one for --speech that does"):
        Line(Bundle.open(first), load(flags={"speech": str(second)}))
    with pytest.raises(BundleError, match="nowhere"):
        Line(Bundle.open(first), load(flags={"speech": str(tmp_path / "nowhere")}))
