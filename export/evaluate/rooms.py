"""What is claimed in recordings of rooms, streets and animals that nothing was trained on (export/train/ambience.toml), each by itself."""

from __future__ import annotations

from typing import Any

from edge.types import SAMPLE_RATE
from export.evaluate.ear import Ear, sounds
from export.evaluate.exam import Exam
from export.evaluate.figure import Skipped, rate, share
from export.evaluate.progress import told
from export.train import ambience
from export.train.language import read

MOST_S = 60
"""Of each recording; the longest would outweigh the others."""


def measure(ear: Ear, exam: Exam) -> dict[str, Any]:
    """Figures false_per_hour_rooms, false_captions_per_hour_rooms, and rooms_claimed: the share of recordings in which anything false is
    claimed; rooms: of each, what was claimed and said.
    """
    kept = ambience.kept(exam.data)[:: 10 if exam.quick else 1]
    if not kept:
        raise Skipped(f"{exam.data}/ambience holds no collection (docs/training.md says which)")
    rows, claimed, captions, seconds = [], 0, 0, 0.0
    for recording in told(kept, "rooms", len(kept)):
        samples, allowed = recording.samples[: MOST_S * SAMPLE_RATE], ("Noise", *recording.doubtful)
        records = ear.listen(samples)
        false = [sound["label"] for sound in sounds(records) if sound["label"] not in allowed]
        said = [record["text"] for record in records if record["type"] == "caption" and record["final"]]
        wrong = [text for text in said if any(sound.label not in allowed for sound in read(text))]
        rows.append({"name": recording.name, "allowed": list(recording.doubtful), "false": false, "said": said})
        claimed, captions, seconds = claimed + len(false), captions + len(wrong), seconds + len(samples) / SAMPLE_RATE
    hours, what = seconds / 3600, f"{len(kept)} recordings of rooms, streets, weather and animals"
    figures = {
        "false_per_hour_rooms": rate(claimed, hours, "real", what),
        "false_captions_per_hour_rooms": rate(captions, hours, "real", what),
        "rooms_claimed": share(sum(bool(row["false"]) for row in rows), len(rows), "real", what),
    }
    return {"figures": figures, "rooms": rows}
