"""Questions about a clip with their answers, made from facts: one skill each, as AudioSkills (Audio Flamingo 2) does for large models.

Wording varies with the random generator; the answer follows from the facts alone. Yes and no are equally frequent, and most of what is
asked about and was not there is a hard negative: true of the scene but for its order or for which of two sounds it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED, DIGITS
from export.train.language import OVERLAP_S, PHRASES, Fact, describe, joined
from export.train.nouns import BEYOND, DID, NOUNS, STRANGERS

SKILLS = (
    "caption",
    "first",
    "last",
    "neighbour",
    "order",
    "together",
    "count",
    "louder",
    "presence",
    "where",
    "second",
    "word",
    "choice",
    "unknown",
)
UNKNOWN = "I don't know."

TIMES = ("Not once.", "Once.", "Twice.", "Three times.", "Four times.", "Many times.")


@dataclass(frozen=True, slots=True)
class Asked:
    skill: str
    question: str
    answer: str


def the(noun: str) -> str:
    """With the definite article: "a dog" -> "the dog"."""
    for article in ("a ", "an ", "some "):
        if noun.startswith(article):
            return "the " + noun.removeprefix(article)
    return noun if noun.startswith("the ") else "the " + noun


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


class _Asker:
    """Facts, what else could have been there, and the dice."""

    def __init__(self, rng: np.random.Generator, facts: Sequence[Fact], seconds: float) -> None:
        self.rng, self.seconds = rng, seconds
        self.facts = joined(facts)
        self.once = [f for f in self.facts if sum(g.label == f.label for g in self.facts) == 1]
        self.absent = [label for label in PHRASES if all(f.label != label for f in self.facts)]

    def pick(self, *options: str) -> str:
        return options[int(self.rng.integers(len(options)))]

    def noun(self, label: str) -> str:
        return self.pick(*NOUNS[label])

    def some(self, pool: Sequence[Fact]) -> Fact:
        return pool[int(self.rng.integers(len(pool)))]

    def missing(self) -> str:
        return self.absent[int(self.rng.integers(len(self.absent)))]

    def pair(self) -> tuple[Fact, Fact] | None:
        """Two sounds, each named once, in order of onset and at least 0.3 s apart in it."""
        if len(self.once) < 2:
            return None
        i, j = sorted(self.rng.choice(len(self.once), 2, replace=False).tolist())
        first, second = self.once[i], self.once[j]
        return (first, second) if second.start - first.start >= OVERLAP_S * SAMPLE_RATE else None

    def caption(self) -> Asked | None:
        question = self.pick("What do you hear?", "What did you hear?", "Describe the sounds.", "What is going on?", "What happened?")
        return Asked("caption", question, describe(self.facts, True) or "Nothing that I know.")

    def _end(self, last: bool) -> Asked | None:
        if not self.facts:
            return None
        fact = self.facts[-1 if last else 0]
        others = [f for f in self.facts if f is not fact]
        if any(abs(f.start - fact.start) < OVERLAP_S * SAMPLE_RATE for f in others):
            return None
        word = "last" if last else "first"
        question = self.pick(
            f"What did you hear {word}?", f"Which sound came {word}?", f"What was the {word} sound?", f"What sounded {word}?"
        )
        return Asked(word, question, _capital(NOUNS[fact.label][0]) + ".")

    def first(self) -> Asked | None:
        return self._end(False)

    def last(self) -> Asked | None:
        return self._end(True)

    def neighbour(self) -> Asked | None:
        if not self.once:
            return None
        fact = self.some(self.once)
        at, after = self.facts.index(fact), self.rng.random() < 0.5
        other = at + 1 if after else at - 1
        there = 0 <= other < len(self.facts)
        if there and abs(self.facts[other].start - fact.start) < OVERLAP_S * SAMPLE_RATE:
            return None
        word, noun = "after" if after else "before", the(self.noun(fact.label))
        question = self.pick(f"What came {word} {noun}?", f"What did you hear {word} {noun}?", f"Which sound was {word} {noun}?")
        return Asked("neighbour", question, _capital(NOUNS[self.facts[other].label][0]) + "." if there else "Nothing.")

    def order(self) -> Asked | None:
        if (pair := self.pair()) is None:
            return None
        yes, before = self.rng.random() < 0.5, self.rng.random() < 0.5
        first, second = (the(self.noun(f.label)) for f in (pair if yes == before else pair[::-1]))
        word = "before" if before else "after"
        question = self.pick(
            f"Was {first} {word} {second}?", f"Did {first} come {word} {second}?", f"Did you hear {first} {word} {second}?"
        )
        return Asked("order", question, "Yes." if yes else "No.")

    def together(self) -> Asked | None:
        if (pair := self.pair()) is None:
            return None
        first, second = pair
        overlap = (float("inf") if first.stop is None else first.stop) - second.start
        if 0 < overlap < 2 * OVERLAP_S * SAMPLE_RATE:  # neither quite the one nor the other
            return None
        a, b = (the(self.noun(f.label)) for f in (pair if self.rng.random() < 0.5 else pair[::-1]))
        question = self.pick(
            f"Were {a} and {b} at the same time or one after the other?", f"Did {a} and {b} sound together or one after the other?"
        )
        return Asked("together", question, "At the same time." if overlap > 0 else "One after the other.")

    def count(self) -> Asked | None:
        counted = [f for f in self.once if f.label in COUNTED and f.count > 0]
        if counted and self.rng.random() < 0.8:
            fact = self.some(counted)
            label, times = fact.label, fact.count
        else:
            absent = [label for label in COUNTED if label in self.absent]
            if not absent:
                return None
            label, times = absent[int(self.rng.integers(len(absent)))], 0
        return Asked("count", self.pick("How many times ", "How often ") + DID[label] + "?", TIMES[min(times, 5)])

    def louder(self) -> Asked | None:
        heard = [f for f in self.once if f.dbfs is not None]
        if len(heard) < 2:
            return None
        i, j = self.rng.choice(len(heard), 2, replace=False).tolist()
        a, b = heard[i], heard[j]
        assert a.dbfs is not None
        assert b.dbfs is not None
        if abs(a.dbfs - b.dbfs) < 3:
            return None
        more = self.rng.random() < 0.7
        word = self.pick("louder", "the louder one") if more else self.pick("quieter", "softer")
        wanted = a if (a.dbfs > b.dbfs) == more else b
        question = f"Which was {word}, {the(self.noun(a.label))} or {the(self.noun(b.label))}?"
        return Asked("louder", question, _capital(the(NOUNS[wanted.label][0])) + ".")

    def presence(self) -> Asked | None:
        yes = bool(self.facts) and self.rng.random() < 0.5
        noun = self.noun(self.some(self.facts).label if yes else self.missing())
        question = self.pick(f"Was there {noun}?", f"Did you hear {noun}?", f"Is there {noun}?", f"Can you hear {noun}?")
        return Asked("presence", question, "Yes." if yes else "No.")

    def where(self) -> Asked | None:
        if not self.once or self.seconds < 3:
            return None
        fact = self.some(self.once)
        share = fact.start / SAMPLE_RATE / self.seconds
        if min(abs(share - 1 / 3), abs(share - 2 / 3)) < 0.04:
            return None
        noun = the(self.noun(fact.label))
        question = self.pick(
            f"Did {noun} begin at the start, in the middle or at the end?", f"Where in the audio does {noun} begin: start, middle or end?"
        )
        return Asked("where", question, ("At the start.", "In the middle.", "At the end.")[min(2, int(share * 3))])

    def second(self) -> Asked | None:
        if not self.once:
            return None
        fact = self.some(self.once)
        noun = the(self.noun(fact.label))
        question = self.pick(f"At which second does {noun} begin?", f"When does {noun} begin?", f"After how many seconds did {noun} start?")
        return Asked("second", question, f"At {round(fact.start / SAMPLE_RATE)} s.")

    def word(self) -> Asked | None:
        words = [w for f in self.facts for w in f.words]
        kind = "digit" if self.rng.random() < 0.6 else "letter"
        found = [w if w in DIGITS else w.upper() for w in words if (w in DIGITS) == (kind == "digit")]
        if not words and self.rng.random() < 0.7:
            return None
        question = self.pick(f"Which {kind} was said?", f"Which {kind}s were said?", f"What {kind} did the person say?")
        return Asked("word", question, _capital(", ".join(found[:6])) + "." if found else f"No {kind} was said.")

    def choice(self) -> Asked | None:
        if not self.facts:
            return None
        kind = self.pick("first", "last", "there") if len(self.facts) > 1 else "there"
        if kind == "there":
            right = self.some(self.facts).label
            wrong = [self.missing() for _ in range(2)]
            question = self.pick("Which of these did you hear?", "Which sound is in the audio?")
        else:
            fact = self.facts[0 if kind == "first" else -1]
            rest = [f for f in self.facts if f.label != fact.label]
            if not rest or any(abs(f.start - fact.start) < OVERLAP_S * SAMPLE_RATE for f in rest):
                return None
            right, wrong = fact.label, [self.some(rest).label, self.missing()]
            question = self.pick(f"Which sound came {kind}?", f"What did you hear {kind}?")
        if len({right, *wrong}) < 3:
            return None
        options = [right, *wrong]
        self.rng.shuffle(options)
        listed = " ".join(f"{letter}: {NOUNS[label][0]}." for letter, label in zip("ABC", options, strict=True))
        return Asked("choice", f"{question} {listed}", "ABC"[options.index(right)] + ".")

    def unknown(self) -> Asked | None:
        if self.rng.random() < 0.4:
            return Asked("unknown", self.pick(*BEYOND), UNKNOWN)
        noun = self.pick(*STRANGERS)
        question = self.pick(f"Was there {noun}?", f"Did you hear {noun}?", f"Can you hear {noun}?", f"When does {the(noun)} begin?")
        return Asked("unknown", question, UNKNOWN)


def ask(rng: np.random.Generator, facts: Sequence[Fact], seconds: float, skill: str) -> Asked | None:
    """A question of that skill with its answer; None where the facts don't decide one. seconds: length of the clip."""
    asked = getattr(_Asker(rng, facts, seconds), skill)()
    assert asked is None or isinstance(asked, Asked)
    return asked
