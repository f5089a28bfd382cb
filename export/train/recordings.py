"""The real recordings that the starter learns from, with their folds, as 16 kHz mono.

Nothing here fetches: a folder laid out like `data/README.md` describes is given (see docs/training.md for where a user gets the same
recordings). ESC-10 fold 5, two FSDD speakers and the longer speech are never read: they are kept for judging the result.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train.labels import DIGITS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Samples = NDArray[np.float32]

ESC10_LABELS = {
    "dog_bark": "Bark",
    "rooster": "Crowing, cock-a-doodle-doo",
    "rain": "Rain",
    "sea_waves": "Waves, surf",
    "baby_cry": "Baby cry, infant cry",
    "clock_tick": "Tick-tock",
    "person_sneeze": "Sneeze",
    "helicopter": "Helicopter",
    "chainsaw": "Chainsaw",
    "fire_crackling": "Crackle",
}
"""ESC-10 folder -> AudioSet display name."""

NOT_MUSIC = ("misc_burp", "misc_crow", "misc_cineboom", "loop_3d_printer", "ambi_swoosh", "ambi_dark_woosh")
"""Files of the music folder that no listener would call music; used as unlabelled distractors."""

KEPT_OUT_SPEAKERS = ("lucas", "george")
VALIDATION_FOLD, VALIDATION_SPEAKER = 4, "theo"
"""What the measured edition is not given; the shipped one is."""
BED = ("Noise",)
"""`doubtful` of a recording that has no label and may lie under a scene as its background."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording. label: AudioSet display name, or "" for a distractor that has no label. fold: 0 where folds have no meaning.

    word, speaker: the digit or letter that is said, and by whom; "" where none is or it is not known. doubtful: labels that may be
    heard in it as well.
    """

    name: str
    label: str
    fold: int
    samples: Samples
    word: str = ""
    speaker: str = ""
    doubtful: tuple[str, ...] = ()


def listed(name: str | Path) -> dict[str, Any]:
    """What a TOML file holds; a name without a folder is one of this folder's."""
    return tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


def load(path: Path) -> Samples:
    """A file as float32[n] mono at 16 kHz; clipped to [-1, 1]."""
    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = data.mean(axis=1)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return np.clip(mono, -1.0, 1.0).astype(np.float32)


def trimmed(samples: Samples) -> Samples:
    """Silence at both ends cut, peak 0.5; empty for silence."""
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    if peak < 1e-4:
        return samples[:0]
    loud = np.flatnonzero(np.abs(samples) > 0.02 * peak)
    return samples[max(0, loud[0] - 160) : loud[-1] + 480] * np.float32(0.5 / peak)


def esc10(data: Path, folds: Collection[int]) -> list[Recording]:
    """The ten environmental classes of the given folds (1-4)."""
    found = []
    for folder, label in ESC10_LABELS.items():
        for path in sorted((data / "esc10" / folder).glob("*.ogg")):
            fold = int(path.name.split("-")[0])
            if fold in folds and fold != 5:
                found.append(Recording(f"esc10/{folder}/{path.name}", label, fold, load(path)))
    return found


def without_of(folds: Collection[int]) -> tuple[str, ...]:
    """Speakers that are left out with these folds: without fold 4 the validation speaker as well."""
    return () if VALIDATION_FOLD in folds else (VALIDATION_SPEAKER,)


def speech(data: Path, only: Collection[str] = ()) -> list[Recording]:
    """Spoken digits and letters of the speakers that may be used, each with its word. only: of these speakers alone."""
    found = []
    for path in sorted((data / "fsdd").glob("*.wav")) + sorted((data / "spoken_characters").glob("*.wav")):
        word, speaker, _ = path.stem.split("_")
        if speaker in KEPT_OUT_SPEAKERS or (only and speaker not in only):
            continue
        word = DIGITS[int(word)] if word.isdigit() else word
        found.append(Recording(f"{path.parent.name}/{path.name}", "Speech", 0, load(path), word, speaker))
    return found


def music(data: Path) -> list[Recording]:
    """Loops and notes of the music folder; a few files that are no music come without a label."""
    found = []
    for path in sorted((data / "music").glob("*.flac")):
        samples = load(path)[: 20 * SAMPLE_RATE]
        if len(samples) >= SAMPLE_RATE // 10:
            found.append(Recording(f"music/{path.name}", "" if path.stem.startswith(NOT_MUSIC) else "Music", 0, samples))
    return found
