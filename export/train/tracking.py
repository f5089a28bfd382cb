"""How the starter's scores become sounds: thresholds per label, chosen on fold 4 and on noise, written into the manifest."""

from __future__ import annotations

from typing import Any

from edge.sounds import SoundOptions
from export.train.labels import COUNTED

SOUND_TABLE: dict[str, Any] = {
    "default": {"on": 0.5, "off": 0.25, "bridge_s": 0.6, "smooth_rows": 10},
    "labels": {
        # Noise is what the encoder calls the rest, so that it need not call it rain: it competes, but is no sound worth a record.
        "Noise": {"on": 1.0},
        # Short sounds would drown in a mean over 0.4 s; single ones in a row are one sound, and counted.
        "Speech": {"smooth_rows": 5},
        **{label: {"smooth_rows": 5, "bridge_s": 1.2} for label in COUNTED},
    },
}
"""The manifest's `sounds` table."""

SOUND_OPTIONS = {
    "": SoundOptions(**SOUND_TABLE["default"]),
    **{label: SoundOptions(**(SOUND_TABLE["default"] | entry)) for label, entry in SOUND_TABLE["labels"].items()},
}
"""The same for a SoundTracker."""
