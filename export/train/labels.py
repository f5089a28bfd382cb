"""What the starter can name: AudioSet display names, in the order of the encoder's score columns."""

from __future__ import annotations

STARTER_LABELS = (
    "Speech",
    "Bark",
    "Crowing, cock-a-doodle-doo",
    "Rain",
    "Waves, surf",
    "Baby cry, infant cry",
    "Tick-tock",
    "Sneeze",
    "Helicopter",
    "Chainsaw",
    "Crackle",
    "Smoke detector, smoke alarm",
    "Siren",
    "Doorbell",
    "Telephone",
    "Vehicle horn, car horn, honking",
    "Knock",
    "Beep, bleep",
    "Engine",
    "Music",
    "Wind",
    "Noise",
)
