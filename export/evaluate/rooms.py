"""What is claimed in recordings of rooms, streets and animals that nothing was trained on (export/train/ambience.toml), each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.types import SAMPLE_RATE
from export.evaluate.ear import Ear
from export.evaluate.exam import Exam
from export.evaluate.figure import Figure, Skipped, clustered, share
from export.evaluate.progress import told
from export.evaluate.quiet import watch
from export.train import ambience

MOST_S = 60
"""Of each recording; the longest would outweigh the others."""


def files(data: Path) -> list[Path]:
    """Where the recordings lie, those of collections that are not there as well."""
    return [
        data / "ambience" / collection / table.get("folder", ".") / name
        for collection, table in ambience.COLLECTIONS.items()
        for name in table.get("kept", {})
    ]


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """What `figures` says; rooms: of each recording its name, what may be claimed in it, its seconds, and what `quiet.watch` found."""
    kept = ambience.kept(exam.data)[:: 10 if exam.quick else 1]
    if not kept:
        raise Skipped(f"{exam.data}/ambience holds no collection (docs/training.md says which)")
    rows = []
    for recording in told(kept, "rooms", len(kept)):
        samples = recording.samples[: MOST_S * SAMPLE_RATE]
        found = watch(ear, iter([samples]), frozenset(("Noise", *recording.doubtful)))
        rows.append({"name": recording.name, "allowed": list(recording.doubtful), "seconds": len(samples) / SAMPLE_RATE, **found})
    return {"figures": figures(rows), "rooms": rows}


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Figures false_per_hour_rooms, false_captions_per_hour_rooms, and rooms_claimed: the share of recordings in which anything false is
    claimed. rows: the rooms of a result. Raises: KeyError for rows without seconds, as results of 2.7.0 and before have them.
    """
    what, seconds = f"{len(rows)} recordings of rooms, streets, weather and animals", [row["seconds"] for row in rows]
    return {
        "false_per_hour_rooms": clustered([sum(row["sounds"].values()) for row in rows], seconds, "real", what),
        "false_captions_per_hour_rooms": clustered([row["captions"] for row in rows], seconds, "real", what),
        "rooms_claimed": share(sum(bool(row["sounds"]) for row in rows), len(rows), "real", what),
    }
