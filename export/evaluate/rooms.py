"""What is claimed in recordings of rooms, streets and animals that nothing was trained on (export/train/ambience.toml), each by itself."""

from __future__ import annotations

from typing import Any

from edge.types import SAMPLE_RATE
from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import Skipped, rate, share
from export.evaluate.progress import told
from export.evaluate.quiet import watch
from export.train import ambience

MOST_S = 60
"""Of each recording; the longest would outweigh the others."""


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """Figures false_per_hour_rooms, false_captions_per_hour_rooms, and rooms_claimed: the share of recordings in which anything false is
    claimed; rooms: of each, its name, what may be claimed in it, and what `quiet.watch` found.
    """
    kept = ambience.kept(exam.data)[:: 10 if exam.quick else 1]
    if not kept:
        raise Skipped(f"{exam.data}/ambience holds no collection (docs/training.md says which)")
    rows, seconds = [], 0.0
    for recording in told(kept, "rooms", len(kept)):
        samples = recording.samples[: MOST_S * SAMPLE_RATE]
        found = watch(ear, iter([samples]), frozenset(("Noise", *recording.doubtful)))
        rows.append({"name": recording.name, "allowed": list(recording.doubtful), **found})
        seconds += len(samples) / SAMPLE_RATE
    hours, what = seconds / 3600, f"{len(kept)} recordings of rooms, streets, weather and animals"
    figures = {
        "false_per_hour_rooms": rate(sum(sum(row["sounds"].values()) for row in rows), hours, "real", what),
        "false_captions_per_hour_rooms": rate(sum(row["captions"] for row in rows), hours, "real", what),
        "rooms_claimed": share(sum(bool(row["sounds"]) for row in rows), len(rows), "real", what),
    }
    return {"figures": figures, "rooms": rows}
