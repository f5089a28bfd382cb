"""Laws of questions and answers made from facts."""

from __future__ import annotations

import numpy as np
import pytest

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED
from export.train.language import PHRASES, Fact
from export.train.nouns import NOUNS
from export.train.questions import SKILLS, UNKNOWN, Asked, ask, the


def scene(rng: np.random.Generator, most: int = 4) -> list[Fact]:
    labels = rng.choice(list(PHRASES), int(rng.integers(0, most + 1)), replace=False)
    facts = []
    for index, label in enumerate(map(str, labels)):
        start = index * 2.5 + rng.uniform(0, 1)
        words = ("seven", "q") if label == "Speech" else ()
        count = int(rng.integers(1, 6)) if label in COUNTED else 0
        facts.append(
            Fact(label, int(start * SAMPLE_RATE), int((start + rng.uniform(0.5, 4)) * SAMPLE_RATE), count, words, -40 + 12.0 * index)
        )
    return facts


def asked(skill: str, count: int = 300) -> list[tuple[list[Fact], Asked]]:
    rng, found = np.random.default_rng(3), []
    while len(found) < count:
        facts = scene(rng)
        question = ask(rng, facts, 12.0, skill)
        if question is not None:
            found.append((facts, question))
    return found


def label_of(answer: str) -> str:
    named = answer.removesuffix(".").lower()
    return next((label for label, nouns in NOUNS.items() if named in (nouns[0], the(nouns[0]))), "")


@pytest.mark.parametrize("skill", SKILLS)
def test_every_skill_asks_and_answers_in_one_sentence_each(skill: str) -> None:
    for _, question in asked(skill, 60):
        assert question.skill == skill
        assert question.question[0].isupper()
        assert question.question[-1] in "?."
        assert question.answer[0].isupper()
        assert question.answer.endswith(".")


@pytest.mark.parametrize("skill", ["presence", "order"])
def test_yes_and_no_are_equally_frequent(skill: str) -> None:
    answers = [question.answer for facts, question in asked(skill, 1000) if facts]
    assert set(answers) == {"Yes.", "No."}
    assert abs(answers.count("Yes.") / len(answers) - 0.5) < 0.06


def test_yes_about_order_is_said_where_it_is_so_and_no_where_only_the_order_is_wrong() -> None:
    answers = set()
    for facts, question in asked("order"):
        left, word, right = next(
            question.question.partition(f" {word} ") for word in ("before", "after") if f" {word} " in question.question
        )
        first, second = (next(f for f in facts if any(the(noun) in side for noun in NOUNS[f.label])) for side in (left, right))
        assert first is not second, "both sounds were there"
        so = (first.start < second.start) == (word == " before ")
        assert question.answer == ("Yes." if so else "No.")
        answers.add((word, so))
    assert len(answers) == 4


def test_first_and_last_are_the_ends_of_the_scene() -> None:
    for facts, question in asked("first"):
        assert label_of(question.answer) == facts[0].label
    for facts, question in asked("last"):
        assert label_of(question.answer) == facts[-1].label


def test_counts_are_those_of_the_facts() -> None:
    words = {"Not once.": 0, "Once.": 1, "Twice.": 2, "Three times.": 3, "Four times.": 4, "Many times.": 5}
    seen = set()
    for facts, question in asked("count"):
        counts = {f.count for f in facts if f.label in COUNTED} | {0}
        assert words[question.answer] in counts
        seen.add(words[question.answer])
    assert seen == set(range(6))


def test_the_louder_of_two_is_the_one_with_more_decibels() -> None:
    for facts, question in asked("louder"):
        named = [f for f in facts if any(the(n) in question.question for n in NOUNS[f.label])]
        levels = {f.label: f.dbfs for f in named}
        wanted = max if "louder" in question.question else min
        assert label_of(question.answer) == wanted(levels, key=lambda label: levels[label])


def test_what_lies_outside_the_labels_is_not_known() -> None:
    assert {question.answer for _, question in asked("unknown")} == {UNKNOWN}


def test_a_choice_has_one_right_letter_and_all_of_them_come_up() -> None:
    letters = set()
    for facts, question in asked("choice"):
        options = dict(
            part.split(": ")
            for part in question.question.partition("A: ")[1:][0:1]
            and ("A: " + question.question.partition("A: ")[2]).rstrip(".").split(". ")
        )
        assert len(set(options.values())) == 3
        assert label_of(options[question.answer.removesuffix(".")]) in {f.label for f in facts}
        letters.add(question.answer)
    assert letters == {"A.", "B.", "C."}


def test_the_same_dice_ask_the_same() -> None:
    facts = scene(np.random.default_rng(9))
    for skill in SKILLS:
        assert ask(np.random.default_rng(1), facts, 9.0, skill) == ask(np.random.default_rng(1), facts, 9.0, skill)
