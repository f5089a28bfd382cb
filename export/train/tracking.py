"""How the starter's scores become sounds: thresholds and smoothing per label, written into the manifest.

Those of 2.7.0 were chosen as `auricle-export train thresholds --unheard` does, for the encoder in float, on learnt scenes, recordings from
elsewhere and rooms (docs/training.md), under an exam's seed that is not the one that is reported; rows of the means are 2.4.0's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.sounds import SoundOptions
from export.train.labels import COUNTED, STARTER_LABELS

CHOSEN: dict[str, tuple[float, int]] = {
    "Speech": (0.95, 5),
    "Bark": (0.5, 8),
    "Crowing, cock-a-doodle-doo": (0.95, 10),
    "Rain": (0.75, 10),
    "Waves, surf": (0.75, 8),
    "Baby cry, infant cry": (0.6, 8),
    "Tick-tock": (0.55, 5),
    "Sneeze": (0.45, 5),
    "Helicopter": (0.5, 8),
    "Chainsaw": (0.5, 10),
    "Crackle": (0.8, 12),
    "Smoke detector, smoke alarm": (0.6, 12),
    "Siren": (0.95, 5),
    "Doorbell": (0.7, 12),
    "Telephone": (0.95, 12),
    "Vehicle horn, car horn, honking": (0.65, 10),
    "Knock": (0.5, 8),
    "Beep, bleep": (0.9, 5),
    "Engine": (0.7, 5),
    "Music": (0.95, 5),
    "Wind": (0.85, 12),
}
"""Label -> score at which it begins, rows of its moving mean; half of the score ends it."""
DEFAULT = {"on": 0.6, "off": 0.3, "bridge_s": 0.6, "smooth_rows": 10}
BRIDGE_S = {**dict.fromkeys(COUNTED, 1.2), "Smoke detector, smoke alarm": 1.8}
"""Pauses that lie inside one sound: single events in a row are counted; alarms are silent for 1.5 s after three beeps (ISO 8201)."""


def _entry(label: str, chosen: Mapping[str, tuple[float, int]]) -> dict[str, Any]:
    if label == "Noise":
        # What the encoder calls the rest, so that it need not call it rain: it competes, but is no sound worth a record.
        return {"on": 1.0}
    entry: dict[str, Any] = {}
    if label in chosen:
        on, rows = chosen[label]
        entry = {"on": on, "off": round(on / 2, 2), "smooth_rows": rows}
    if label in BRIDGE_S:
        entry["bridge_s"] = BRIDGE_S[label]
    return entry


def sound_table(chosen: Mapping[str, tuple[float, int]]) -> dict[str, Any]:
    """The manifest's `sounds` table for such a choice."""
    return {"default": DEFAULT, "labels": {label: entry for label in STARTER_LABELS if (entry := _entry(label, chosen))}}


SOUND_TABLE = sound_table(CHOSEN)
"""That of the starter."""

SOUND_OPTIONS = {
    "": SoundOptions(**SOUND_TABLE["default"]),
    **{label: SoundOptions(**(SOUND_TABLE["default"] | entry)) for label, entry in SOUND_TABLE["labels"].items()},
}
"""The same for a SoundTracker."""
