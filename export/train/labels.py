"""What the starter can name: AudioSet display names, in the order of the encoder's score columns, and the words that it knows."""

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

COUNTED = ("Bark", "Crowing, cock-a-doodle-doo", "Sneeze", "Knock", "Beep, bleep", "Vehicle horn, car horn, honking")
"""Sounds that come one by one, in the order of the encoder's onset columns: a caption says how often."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
WORDS = DIGITS + LETTERS
"""Words said alone that the encoder spots, in the order of its word columns."""
