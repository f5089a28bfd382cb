"""The published YAMNet in a bundle's place, for what it can do: which sounds, and when.

Its 521 scores become ours by the largest of the AudioSet names that mean the same; windows of 0.975 s, one every 0.48 s, as published.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import AudioFileError
from edge.sinks.record import as_dict
from edge.sounds import SoundOptions, SoundTracker
from edge.types import Encoding, Samples
from export.evaluate.ear import Records
from export.train.labels import STARTER_LABELS
from export.train.teacher import PATCH, Teacher

LABELS = "yamnet/labels.txt"
HOP = 7_680
ON, OFF = 0.3, 0.15
"""Thresholds for its sounds in scenes. Its scores are less sure than ours; 0.3 was not tuned."""

ALSO = {
    "Speech": ("Child speech, kid speaking", "Conversation", "Narration, monologue"),
    "Bark": ("Dog", "Yip", "Bow-wow", "Growling", "Whimper (dog)"),
    "Crowing, cock-a-doodle-doo": ("Chicken, rooster", "Fowl"),
    "Rain": ("Raindrop", "Rain on surface"),
    "Waves, surf": ("Ocean",),
    "Baby cry, infant cry": ("Crying, sobbing",),
    "Tick-tock": ("Tick", "Clock"),
    "Crackle": ("Fire",),
    "Smoke detector, smoke alarm": ("Fire alarm", "Alarm"),
    "Siren": ("Civil defense siren", "Police car (siren)", "Ambulance (siren)", "Fire engine, fire truck (siren)"),
    "Doorbell": ("Ding-dong",),
    "Telephone": ("Telephone bell ringing", "Ringtone"),
    "Vehicle horn, car horn, honking": ("Toot", "Air horn, truck horn", "Train horn"),
    "Engine": (
        "Light engine (high frequency)",
        "Medium engine (mid frequency)",
        "Heavy engine (low frequency)",
        "Idling",
        "Engine starting",
    ),
    "Music": ("Musical instrument",),
    "Wind": ("Wind noise (microphone)",),
    "Noise": ("White noise", "Pink noise", "Static", "Environmental noise"),
}
"""AudioSet names that count as one of ours, beside the name itself."""


class Peer:
    """YAMNet from data/yamnet. Same use as an `Ear`. Raises: AudioFileError where it is not there."""

    captions = answers = False
    version = "1"
    labels = STARTER_LABELS

    def __init__(self, data: Path) -> None:
        self.path = data / "yamnet/yamnet.tflite"
        names = data / LABELS
        if not self.path.is_file() or not names.is_file():
            raise AudioFileError(f"{self.path} or labels.txt beside it is missing; give --data a folder that holds yamnet")
        self.name = "yamnet"
        self.files = {self.path.name: self.path.stat().st_size}
        self.precisions = {"encoder": "float32"}
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        listed = names.read_text(encoding="utf-8").splitlines()
        self._columns = [[listed.index(name) for name in (label, *ALSO.get(label, ())) if name in listed] for label in STARTER_LABELS]
        self._model = Teacher(self.path)

    def scores(self, samples: Samples) -> NDArray[np.float32]:
        """float32[windows, len(STARTER_LABELS)] in 0..1; the last window is filled up with silence."""
        windows = max(1, 1 + -(-(len(samples) - PATCH) // HOP))
        padded = np.concatenate([samples, np.zeros(max(0, (windows - 1) * HOP + PATCH - len(samples)), np.float32)])
        rows = [self._model.score(np.ascontiguousarray(padded[k * HOP : k * HOP + PATCH])) for k in range(windows)]
        return np.stack([[row[columns].max() if columns else 0.0 for columns in self._columns] for row in rows]).astype(np.float32)

    def listen(self, samples: Samples) -> Records:
        """Sound records; a window's scores hold for its middle HOP samples."""
        return self._records(self.scores(samples), len(samples))

    def _records(self, scores: NDArray[np.float32], stop: int) -> Records:
        tracker = SoundTracker(STARTER_LABELS, {"": SoundOptions(ON, OFF, 0.6, 1)})
        begin = (PATCH - HOP) // 2
        encoding = Encoding(begin, max(stop, begin + 1), np.zeros((0, 0), np.float32), HOP, scores, HOP)
        return [as_dict(sound) for sound in [*tracker.extend(encoding), *tracker.close()]]

    def ranked(self, samples: Samples) -> tuple[list[str], Records]:
        """Labels by their mean score over the clip, which is how YAMNet's authors judge clips, with the records; noise is left out."""
        scores = self.scores(samples)
        order = np.argsort(-scores.mean(axis=0), kind="stable")
        labels = [STARTER_LABELS[k] for k in order if STARTER_LABELS[k] != "Noise"]
        return labels, self._records(scores, len(samples))

    def about(self) -> dict[str, Any]:
        """What the evaluation says of it."""
        return {"name": self.name, "version": self.version, "manifest_sha256": self.sha256, "precisions": self.precisions}

    def close(self) -> None:
        pass

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
