"""Laws of what the starter says: sounds in the order of their onsets, and text that grows instead of changing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED, STARTER_LABELS
from export.train.language import MOST_SOUNDS, PHRASES, TIMES, Fact, Named, describe, read


def sound(label: str, start_s: float, stop_s: float | None, count: int = 0, words: tuple[str, ...] = ()) -> Fact:
    stop = None if stop_s is None else int(stop_s * SAMPLE_RATE)
    return Fact(label, int(start_s * SAMPLE_RATE), stop, count, words)


def test_every_label_but_noise_has_words() -> None:
    assert set(PHRASES) == set(STARTER_LABELS) - {"Noise"}
    assert len(set(PHRASES.values())) == len(PHRASES)


def test_nothing_heard_is_nothing_said() -> None:
    assert describe([], True) == ""
    assert describe([sound("Noise", 0, 5)], True) == ""


def test_sounds_are_named_in_the_order_of_their_onsets() -> None:
    heard = [sound("Doorbell", 3, 4), sound("Knock", 1, 2)]
    assert describe(heard, True) == "Someone knocks, then a doorbell rings."


def test_a_sound_that_begins_while_another_goes_on_is_joined_by_while() -> None:
    assert describe([sound("Rain", 0, None), sound("Bark", 2, 3)], True) == "Rain is falling while a dog barks."


@pytest.mark.parametrize(("stop_s", "word"), [(2.0, ", then"), (2.29, ", then"), (2.31, " while"), (None, " while")])
def test_three_tenths_of_a_second_tell_sequence_from_overlap(stop_s: float | None, word: str) -> None:
    assert describe([sound("Siren", 0, stop_s), sound("Bark", 2, 3)], True) == f"A siren wails{word} a dog barks."


def test_a_sound_that_comes_again_after_another_is_said_again() -> None:
    heard = [sound("Bark", 0, 1), sound("Knock", 1.5, 2), sound("Bark", 3, 4)]
    assert describe(heard, True) == "A dog barks, then someone knocks, then a dog barks again."


def test_a_sound_that_only_pauses_is_one_and_its_events_are_added_up() -> None:
    assert describe([sound("Bark", 0, 1, 2), sound("Bark", 3, 4, 1)], True) == "A dog barks three times."
    assert describe([sound("Rain", 0, 1), sound("Rain", 3, 4)], True) == "Rain is falling."


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (1, ""), (2, " twice"), (3, " three times"), (4, " four times"), (5, " many times"), (9, " many times")]
)
def test_a_counted_sound_says_how_often(count: int, said: str) -> None:
    assert describe([sound("Sneeze", 0, 1, count)], True) == f"Someone sneezes{said}."


def test_a_sound_that_may_go_on_is_not_counted_yet() -> None:
    assert describe([sound("Bark", 0, 1, 2)], False) == "A dog barks."
    assert describe([sound("Bark", 0, 1, 2), sound("Siren", 3, None)], False) == "A dog barks twice, then a siren wails."


def test_words_said_alone_are_quoted_in_their_order() -> None:
    assert describe([sound("Speech", 0, 3, 0, ("seven", "b"))], True) == "A person says seven, b."


def test_the_text_for_more_sounds_continues_the_text_for_fewer() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        starts = np.sort(rng.uniform(0, 25, 6))
        labels = rng.choice(list(PHRASES), 6)
        heard = [sound(str(label), s, s + rng.uniform(0.2, 6), int(rng.integers(1, 5))) for label, s in zip(labels, starts, strict=True)]
        whole = describe(heard, True)
        for count in range(1, 6):
            assert whole.startswith(describe(heard[:count], False).removesuffix("."))


def test_a_caption_names_a_bounded_number_of_sounds() -> None:
    many = [sound(("Bark", "Siren")[i % 2], 2 * i, 2 * i + 1) for i in range(30)]
    assert len(read(describe(many, True))) == MOST_SOUNDS


def test_what_a_caption_says_is_read_back() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        labels = rng.choice(list(PHRASES), 4, replace=False)
        heard = []
        for index, label in enumerate(map(str, labels)):
            words = ("eight", "h") if label == "Speech" and rng.random() < 0.5 else ()
            count = int(rng.integers(1, 6)) if label in COUNTED else 0
            heard.append(sound(label, 2 * index, 2 * index + (3 if rng.random() < 0.5 else 1), count, words))
        told = read(describe(heard, True))
        assert [n.label for n in told] == [f.label for f in heard]
        assert [n.count for n in told] == [min(f.count, max(TIMES)) for f in heard]
        assert [n.words for n in told] == [f.words for f in heard]
        assert [n.together for n in told[1:]] == [before.stop > after.start for before, after in itertools.pairwise(heard)]


def test_a_text_about_nothing_known_names_nothing() -> None:
    assert read("Somebody plays the trumpet.") == []
    assert read("A person says nothing.") == []
    assert read("A dog barks.") == [Named("Bark", 1, (), False)]
