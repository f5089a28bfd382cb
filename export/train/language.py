"""What the starter says: English made from facts about sounds, and read back from it; a byte-level BPE for it.

The text for a longer stretch continues the text for its beginning, so that a live caption grows instead of changing: sounds are named
in the order of their onsets, each joined by how it lies to the one before, and how often a sound came is said once it is over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED, WORDS

PHRASES = {
    "Speech": "a person is speaking",
    "Bark": "a dog barks",
    "Crowing, cock-a-doodle-doo": "a rooster crows",
    "Rain": "rain is falling",
    "Waves, surf": "waves wash ashore",
    "Baby cry, infant cry": "a baby is crying",
    "Tick-tock": "a clock is ticking",
    "Sneeze": "someone sneezes",
    "Helicopter": "a helicopter is flying",
    "Chainsaw": "a chainsaw is running",
    "Crackle": "a fire crackles",
    "Smoke detector, smoke alarm": "a smoke alarm is sounding",
    "Siren": "a siren wails",
    "Doorbell": "a doorbell rings",
    "Telephone": "a telephone rings",
    "Vehicle horn, car horn, honking": "a car horn honks",
    "Knock": "someone knocks",
    "Beep, bleep": "something beeps",
    "Engine": "an engine is running",
    "Music": "music is playing",
    "Wind": "wind is blowing",
}
"""What a caption calls a sound. "Noise" has no words: it is a sound record, but nothing that a caption should claim."""
SAYS = "a person says"
TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "many times"}
"""How often, from 5 on "many times"; once is not said."""
END, BEGIN, FINAL, QUESTION, ANSWER = "<end>", "<caption>", "<final>", "<question>", "<answer>"
SPECIAL = (END, BEGIN, FINAL, QUESTION, ANSWER)
MOST_SOUNDS = 8
"""A caption names at most this many; a turn of 30 s seldom holds more."""
OVERLAP_S = 0.3


@dataclass(frozen=True, slots=True)
class Fact:
    """A sound as it may be spoken of. [start, stop) in samples, stop None while it goes on. count: single events, 0 where unknown.

    words: digits and letters said in it. dbfs: its level where it could be heard alone, else None. order: its place among the sounds, where
    that is known otherwise than by its onset; together: likewise, whether it began while an earlier one went on.
    """

    label: str
    start: int
    stop: int | None
    count: int = 0
    words: tuple[str, ...] = ()
    dbfs: float | None = None
    order: int = 0
    together: bool | None = None


def joined(facts: Sequence[Fact]) -> list[Fact]:
    """Facts that have words, in order of onset, at most MOST_SOUNDS; a sound that pauses with nothing else between is one."""
    found: list[Fact] = []
    for fact in sorted((f for f in facts if f.label in PHRASES), key=lambda f: (f.order, f.start)):
        if found and found[-1].label == fact.label:
            before = found[-1]
            stop = None if fact.stop is None or before.stop is None else max(before.stop, fact.stop)
            levels = [f.dbfs for f in (before, fact) if f.dbfs is not None]
            level = max(levels) if levels else None
            found[-1] = replace(before, stop=stop, count=before.count + fact.count, words=before.words + fact.words, dbfs=level)
        else:
            found.append(fact)
    return found[:MOST_SOUNDS]


def describe(facts: Sequence[Fact], final: bool) -> str:
    """One sentence that names the sounds in the order of their onsets; "" for none.

    A sound that begins at least 0.3 s before everything earlier has ended is joined by "while", another by ", then". A label that was
    already named before another is named again with "again". final: nothing follows, so the last sound, and those that still go on,
    are counted as well.
    """
    said: list[str] = []
    named: set[str] = set()
    running_until = 0.0
    told = joined(facts)
    for index, fact in enumerate(told):
        over = final or (fact.stop is not None and index + 1 < len(told))
        phrase = PHRASES[fact.label]
        if fact.words:
            phrase = f"{SAYS} {', '.join(fact.words)}"
        elif fact.label in named:
            phrase += " again"
        elif fact.label in COUNTED and over and fact.count > 1:
            phrase += " " + TIMES[min(fact.count, 5)]
        named.add(fact.label)
        if not said:
            said.append(phrase[0].upper() + phrase[1:])
        elif fact.together or (fact.together is None and fact.start < running_until - OVERLAP_S * SAMPLE_RATE):
            said.append(" while " + phrase)
        else:
            said.append(", then " + phrase)
        stop = float("inf") if fact.stop is None else float(fact.stop)
        running_until = max(running_until, stop)
    return "".join(said) + "." if said else ""


@dataclass(frozen=True, slots=True)
class Named:
    """One sound as a caption names it. count: 0 where it is not of the counted ones; together: joined by "while"."""

    label: str
    count: int
    words: tuple[str, ...]
    together: bool


_WORD = "(?:" + "|".join(WORDS) + ")"
_PHRASE = re.compile(
    "|".join([f"(?P<says>{SAYS} {_WORD}(?:, {_WORD})*)(?![a-z])", *(f"(?P<p{i}>{re.escape(p)})" for i, p in enumerate(PHRASES.values()))])
)
_LABELS = tuple(PHRASES)


def read(text: str) -> list[Named]:
    """The sounds that a caption names, in its order: what `describe` has put in, and what an evaluation takes out."""
    found = []
    lowered = text.lower()
    for match in _PHRASE.finditer(lowered):
        together = lowered[: match.start()].endswith(" while ")
        if match["says"]:
            found.append(Named("Speech", 0, tuple(match["says"].removeprefix(SAYS).strip().split(", ")), together))
            continue
        assert match.lastgroup is not None
        label = _LABELS[int(match.lastgroup[1:])]
        following = lowered[match.end() :].lstrip()
        times = next((n for n, word in TIMES.items() if following.startswith(word)), 1) if label in COUNTED else 0
        found.append(Named(label, times, (), together))
    return found


def train_tokenizer(texts: Sequence[str], path: Path, size: int = 768) -> None:
    """Byte-level BPE whose first tokens are SPECIAL, written as a Hugging Face tokenizer.json."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(path))
