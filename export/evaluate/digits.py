"""Spoken digits of a speaker whom nothing was trained on."""

from __future__ import annotations

from collections import Counter
from typing import Any

from export.evaluate.ear import Ear, final_text
from export.evaluate.exam import Exam
from export.evaluate.figure import Skipped, share
from export.evaluate.peer import Peer
from export.evaluate.progress import told
from export.train.labels import DIGITS
from export.train.language import read

NONE, OTHER = "none", "other"


def measure(ear: Ear | Peer, exam: Exam) -> dict[str, Any]:
    """Figures digits_right (exactly the one digit is said) and digits_speech (speech is named at all); by_digit; confusion; wrong."""
    if not exam.speaker:
        raise Skipped("no speaker was given (--speaker)")
    confusion: dict[str, Counter[str]] = {digit: Counter() for digit in DIGITS}
    right: Counter[str] = Counter()
    speech, wrong = 0, []
    count = len(exam.digits)
    for index in told(range(count), "digits", count):
        recording = exam.digits[index]
        text = final_text(ear.listen(exam.digit(index).samples))
        told_sounds = read(text)
        words = [word for sound in told_sounds for word in sound.words]
        speech += any(sound.label == "Speech" for sound in told_sounds)
        right[recording.word] += words == [recording.word]
        confusion[recording.word][heard_as(words)] += 1
        if words != [recording.word]:
            wrong.append({"clip": recording.name, "digit": recording.word, "said": text})
    what = f"FSDD speaker {exam.speaker}"
    return {
        "figures": {
            "digits_right": share(right.total(), count, "real", what),
            "digits_speech": share(speech, count, "real", f"{what}: speech is named"),
        },
        "by_digit": {digit: share(right[digit], row.total(), "real", what) for digit, row in confusion.items()},
        "confusion": {digit: dict(row.most_common()) for digit, row in confusion.items()},
        "wrong": wrong,
    }


def heard_as(words: list[str]) -> str:
    """The digit that was said alone, "none", or "other" for letters and for more than one word."""
    if not words:
        return NONE
    return words[0] if len(words) == 1 and words[0] in DIGITS else OTHER
