"""A before B against B before A: the right caption must be the likelier one, and likelier than over the other audio.

Source: scores of CompA-order, Ghosh et al. 2024, after Winoground (Thrush et al. 2022); the log-probability of the caption is the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import Figure, Judged, share_of
from export.evaluate.progress import told
from export.train.language import Fact, describe

PAIRS = 60
KEYS = ("text", "audio", "group")


def caption(labels: tuple[str, str]) -> str:
    """The caption of one sound and then another, without counts."""
    return describe([Fact(label, k * 32_000, k * 32_000 + 16_000) for k, label in enumerate(labels)], True)


def compa(s: tuple[tuple[float, float], tuple[float, float]]) -> tuple[bool, bool, bool]:
    """(text, audio, group) of one pair. s[a][t]: score of text t over audio a; text k belongs to audio k."""
    text = s[0][0] > s[0][1] and s[1][1] > s[1][0]
    audio = s[0][0] > s[1][0] and s[1][1] > s[0][1]
    return text, audio, text and audio


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """Figures order_text, order_audio, order_group; pairs [{labels, from, scores, text, audio, group}]."""
    count = exam.of(PAIRS)
    rows = []
    for index in told(range(count), "order", count):
        scenes = exam.pair(index)
        labels = [tuple(event.label for event in scene.events) for scene in scenes]
        texts = [caption((pair[0], pair[1])) for pair in labels]
        scores = []
        for scene in scenes:
            clip = ear.hear(scene.samples)
            scores.append((float(clip.score(texts[0])), float(clip.score(texts[1]))))
        text, audio, group = compa((scores[0], scores[1]))
        shown = [[round(x, 3) for x in row] for row in scores]
        rows.append(
            {"labels": list(labels[0]), "from": sorted(scenes[0].recordings), "scores": shown, "text": text, "audio": audio, "group": group}
        )
    what = f"the same two sounds in both orders, {exam.what} and synthetic events"
    return {"figures": figures(rows, what), "pairs": rows}


def figures(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Figure]:
    """Figures of judged pairs."""
    return {f"order_{key}": share_of([Judged(row[key], frozenset(row["from"])) for row in rows], "mixed", what) for key in KEYS}
