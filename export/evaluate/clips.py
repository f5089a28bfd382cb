"""Single clips of the fold: is the class the strongest sound, is it named, and is anything else?"""

from __future__ import annotations

from collections import Counter
from typing import Any

from export.evaluate.ear import Ear, final_text
from export.evaluate.exam import TEN, Exam
from export.evaluate.figure import share
from export.evaluate.peer import Peer
from export.evaluate.progress import told
from export.train.language import read

NONE = "none"


def measure(ear: Ear | Peer, exam: Exam) -> dict[str, Any]:
    """Figures clips_*, and: classes {label: {right, captioned, n}}, confusion {label: {heard: n}}, wrong [{clip, label, heard, said}]."""
    clips = exam.clips()
    confusion: dict[str, Counter[str]] = {clip.label: Counter() for clip in clips}
    captioned: Counter[str] = Counter()
    invented, of_ten, others = 0, 0, Counter[str]()
    wrong = []
    for clip in told(clips, "clips", len(clips)):
        labels, records = ear.ranked(clip.samples)
        heard = labels[0] if labels else ""
        of_ten += next((label for label in labels if label in TEN), "") == clip.label
        confusion[clip.label][heard or NONE] += 1
        text = final_text(records)
        named = {sound.label for sound in read(text)}
        captioned[clip.label] += clip.label in named
        invented += bool(named - {clip.label})
        others.update(named - {clip.label})
        if heard != clip.label:
            wrong.append({"clip": clip.name, "label": clip.label, "heard": heard or NONE, "said": text})
    n = len(clips)
    right = sum(row[label] for label, row in confusion.items())
    silent = sum(row[NONE] for row in confusion.values())
    hits = {"clips_accuracy": right, "clips_accuracy_of_ten": of_ten, "clips_silent": silent}
    figures = {name: share(count, n, "real", exam.what) for name, count in hits.items()}
    if ear.captions:
        figures["clips_captioned"] = share(captioned.total(), n, "real", exam.what)
        figures["clips_invent"] = share(invented, n, "real", exam.what)
    classes = {label: {"right": row[label], "captioned": captioned[label], "n": row.total()} for label, row in confusion.items()}
    table = {label: dict(row.most_common()) for label, row in confusion.items()}
    return {"figures": figures, "classes": classes, "confusion": table, "also_named": dict(others.most_common()), "wrong": wrong}
