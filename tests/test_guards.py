"""Texts that have come loose: loops and empty wordiness are found, what people say is not."""

from __future__ import annotations

import random

import pytest

from edge.guards import KEPT, cut_loops, loop_at, wordy_at

SAID = [
    "no no no no",
    "ha ha ha ha ha ha",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
    "very very very very good and very very very bad",
    "row row row your boat gently down the stream merrily merrily merrily merrily life is but a dream",
    "the dog barks and the dog barks and then the dog is quiet and the dog barks",
]


@pytest.mark.parametrize("text", SAID)
def test_what_people_say_is_no_loop(text: str) -> None:
    words = text.split()
    assert cut_loops(words) == words


@pytest.mark.parametrize("period", [1, 2, 3, 5, 13, 32])
def test_a_loop_is_cut_to_two_of_its_phrase(period: int) -> None:
    rng = random.Random(period)
    before, phrase = [rng.randrange(1000) for _ in range(9)], [1000 + i for i in range(period)]
    wanted = before + phrase * KEPT
    for times in range(1, 60):
        text = before + phrase * times
        found = cut_loops(text)
        assert found in (wanted, text)
        if times * period >= 12 and times >= 4:
            assert found == wanted
    assert loop_at(before + phrase * 2) is None


def test_a_text_of_one_word_is_none() -> None:
    assert loop_at([]) is None
    assert loop_at([7]) is None
    assert cut_loops([]) == []


def test_a_text_that_says_little_in_many_words_is_cut_where_it_begins_to() -> None:
    def text(tokens: object) -> str:
        return " ".join(str(t) for t in tokens)

    said = ["Somebody", "knocks", "at", "the", "door,", "then", "a", "dog", "barks", "and", "the", "kettle", "whistles."]
    rng = random.Random(3)
    wordy = said + [f"{rng.choice(['la', 'lala'])}{rng.choice('ae')}" for _ in range(200)]
    at = wordy_at(wordy, text)
    assert at is not None
    assert len(said) <= at < len(wordy)
    assert wordy_at(wordy[:at], text) is None
    assert wordy_at(wordy[: at + 1], text) is not None
    assert wordy_at(said, text) is None
    assert wordy_at([], text) is None
