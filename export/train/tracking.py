"""How the starter's scores become sounds: thresholds per label, chosen on fold 4 and on noise, written into the manifest."""

from __future__ import annotations

from typing import Any

from edge.sounds import SoundOptions

SOUND_TABLE: dict[str, Any] = {
    "default": {"on": 0.5, "off": 0.25, "bridge_s": 0.6, "smooth_rows": 10},
    # Noise is what the encoder calls the rest, so that it need not call it rain: it competes, but is no sound worth a record.
    "labels": {"Noise": {"on": 1.0}},
}
"""The manifest's `sounds` table."""

SOUND_OPTIONS = {
    "": SoundOptions(**SOUND_TABLE["default"]),
    **{label: SoundOptions(**(SOUND_TABLE["default"] | entry)) for label, entry in SOUND_TABLE["labels"].items()},
}
"""The same for a SoundTracker."""
