"""Presets of settings for kinds of devices; whatever is set explicitly stands above them."""

from __future__ import annotations

from typing import Any

PROFILES: dict[str, dict[str, Any]] = {
    # A battery and one core: fewer views, nothing repeated for two minutes, a status every half minute.
    "glasses": {"gate.hop_s": 1.0, "threads": 1, "remind_s": 120.0, "memory_s": 120.0, "status_s": 30.0},
    # Who acts on what it hears wants it soon, and knows its own state.
    "robot": {"gate.hop_s": 0.25, "gate.hang_over_s": 0.8, "threads": 2, "remind_s": 30.0, "status_s": 1.0},
    # Power from the wall: what suits a reader.
    "mains": {"gate.hop_s": 0.5, "threads": 2, "memory_s": 600.0},
}
