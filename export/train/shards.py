"""Scenes rendered ahead of training into shards: log-mels, truth and the teacher's logits. Each shard is a function of (seed, index) alone.

A shard that exists is never made again, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import _native
from export.train import recordings, scenes, speech
from export.train.model import BANDS
from export.train.teacher import Teacher

SHARD_SCENES = 250
LOW_HZ, HIGH_HZ = 50.0, 8000.0
"""The starter's front end: 64 bands between these frequencies."""


@dataclass(frozen=True, slots=True)
class Shard:
    """mels float16[N, 512, 64]; truth uint8[N, 128, L]; teacher float16[N, 13, 521]."""

    mels: NDArray[np.float16]
    truth: NDArray[np.uint8]
    teacher: NDArray[np.float16]


def front_end(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mels by the runtime's own native code: what is trained on is what the device computes."""
    return np.asarray(_native.log_mel(np.ascontiguousarray(samples, np.float32), BANDS, LOW_HZ, HIGH_HZ))


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard_{index:04d}.npz"


def load_shard(path: Path) -> Shard:
    with np.load(path) as held:
        return Shard(held["mels"], held["truth"], held["teacher"])


def make_shards(folder: Path, data: Path, folds: Collection[int], seed: int, indices: Collection[int]) -> None:
    """Renders the shards that are missing. One process; run several with disjoint indices for more cores."""
    os.makedirs(folder, exist_ok=True)
    missing = [i for i in indices if not shard_path(folder, i).exists()]
    if not missing:
        return
    spoken = speech.bank(seed=seed, count=400, cache_dir=folder.parent / "speech")
    known = recordings.esc10(data, folds) + recordings.speech(data) + recordings.music(data)
    sources = scenes.Sources.of(known, spoken)
    teacher = Teacher(data / "yamnet" / "yamnet.tflite")
    for index in missing:
        mels, truth, taught = [], [], []
        for scene_index in range(SHARD_SCENES):
            scene = scenes.render(np.random.default_rng([seed, index, scene_index]), sources)
            mels.append(front_end(scene.samples).astype(np.float16))
            truth.append(scene.truth)
            taught.append(teacher.logits(scene.samples))
        part = shard_path(folder, index).with_suffix(".part")
        with part.open("wb") as out:
            np.savez(out, mels=np.stack(mels), truth=np.stack(truth), teacher=np.stack(taught))
        part.rename(shard_path(folder, index))
