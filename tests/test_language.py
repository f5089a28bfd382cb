"""Laws of what the starter says: sounds in the order of their onsets, and text that grows instead of changing."""

from __future__ import annotations

import numpy as np
import pytest

from edge.types import SAMPLE_RATE, Sound
from export.train.labels import STARTER_LABELS
from export.train.language import MOST_SOUNDS, PHRASES, describe


def sound(label: str, start_s: float, stop_s: float | None, number: int = 1) -> Sound:
    stop = None if stop_s is None else int(stop_s * SAMPLE_RATE)
    return Sound(number, label, int(start_s * SAMPLE_RATE), stop, 0.9)


def test_every_label_but_noise_has_words() -> None:
    assert set(PHRASES) == set(STARTER_LABELS) - {"Noise"}
    assert len(set(PHRASES.values())) == len(PHRASES)


def test_nothing_heard_is_nothing_said() -> None:
    assert describe([]) == ""
    assert describe([sound("Noise", 0, 5)]) == ""


def test_sounds_are_named_in_the_order_of_their_onsets() -> None:
    heard = [sound("Doorbell", 3, 4, 2), sound("Knock", 1, 2, 1)]
    assert describe(heard) == "Someone knocks, then a doorbell rings."


def test_a_sound_that_begins_while_another_goes_on_is_joined_by_while() -> None:
    assert describe([sound("Rain", 0, None), sound("Bark", 2, 3, 2)]) == "Rain is falling while a dog barks."


@pytest.mark.parametrize(("stop_s", "word"), [(2.0, ", then"), (2.29, ", then"), (2.31, " while"), (None, " while")])
def test_three_tenths_of_a_second_tell_sequence_from_overlap(stop_s: float | None, word: str) -> None:
    assert describe([sound("Siren", 0, stop_s), sound("Bark", 2, 3, 2)]) == f"A siren wails{word} a dog barks."


def test_a_sound_that_comes_again_is_said_again() -> None:
    assert describe([sound("Bark", 0, 1), sound("Bark", 3, 4, 2)]) == "A dog barks, then a dog barks again."


def test_the_text_for_more_sounds_continues_the_text_for_fewer() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        starts = np.sort(rng.uniform(0, 25, 6))
        labels = rng.choice(list(PHRASES), 6)
        heard = [sound(str(label), s, s + rng.uniform(0.2, 6), i) for i, (label, s) in enumerate(zip(labels, starts, strict=True))]
        whole = describe(heard)
        for count in range(1, 6):
            assert whole.startswith(describe(heard[:count]).removesuffix("."))


def test_a_caption_names_a_bounded_number_of_sounds() -> None:
    many = [sound("Bark", 2 * i, 2 * i + 1, i) for i in range(30)]
    assert describe(many).count("dog") == MOST_SOUNDS
