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

from export.train import ambience, carried, packaged, recordings, scenes, speech
from export.train.labels import WORDS
from export.train.model import BANDS
from export.train.teacher import Teacher

SHARD_SCENES = 250
FOLDS = (1, 2, 3, 4)
LOW_HZ, HIGH_HZ = 50.0, 8000.0
"""The starter's front end: 64 bands between these frequencies."""
WORD_VOICES = 20
"""Synthetic voices that say each word."""


@dataclass(frozen=True, slots=True)
class Shard:
    """mels float16[N, 512, 64]; truth, onsets, words uint8[N, 128, …] as in Scene; teacher float16[N, 7, 521]."""

    mels: NDArray[np.float16]
    truth: NDArray[np.uint8]
    onsets: NDArray[np.uint8]
    words: NDArray[np.uint8]
    teacher: NDArray[np.float16]


def front_end(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mels by the runtime's own native code: what is trained on is what the device computes."""
    from edge import _native

    return np.asarray(_native.log_mel(np.ascontiguousarray(samples, np.float32), BANDS, LOW_HZ, HIGH_HZ))


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard_{index:04d}.npz"


def load_shard(path: Path) -> Shard:
    with np.load(path) as held:
        return Shard(*(held[name] for name in Shard.__slots__))


Known = tuple[list[recordings.Recording], list[tuple[NDArray[np.float32], bool]]]
"""Recordings, and utterances with whether digits may be said in them."""


def gather(data: Path, folds: Collection[int], cache: Path, without: Collection[str] = (), seed: int = 1) -> scenes.Sources:
    """Everything that scenes are drawn from. without: speakers of digits that are left out. cache: where what is made once is kept, or
    what another machine has gathered (`carried`).
    """
    known, spoken = carried.load(cache) if all(path.is_file() for path in carried.files(cache)) else gathered(data, cache, seed)
    wanted = [r for r in known if r.fold in (0, *folds) and not (r.word and r.speaker in without)]
    return scenes.Sources.of(wanted, spoken)


def gathered(data: Path, cache: Path, seed: int = 1) -> Known:
    """The same from data and packages, of every fold but the fifth and every speaker who may be heard."""
    packaged.require()
    sentences = speech.bank(seed, 1200, cache)
    abroad = packaged.cached(cache / "voices.npz", lambda: [x for language, x in packaged.voices() if language != "en"])
    english = packaged.cached(cache / "voices-en.npz", lambda: [x for language, x in packaged.voices() if language == "en"])
    spoken = [(x, False) for x in [*sentences, *abroad]] + [(x, True) for x in english]
    said = packaged.cached(cache / f"words-{seed}.npz", lambda: [x for _, x in speech.spoken_words(seed, WORD_VOICES)])
    made = [recordings.Recording("", "Speech", 0, x, WORDS[i // WORD_VOICES], "synthetic") for i, x in enumerate(said)]
    played = packaged.cached(cache / f"played-{seed}.npz", lambda: list(packaged.played(seed, 120)))
    known = recordings.esc10(data, FOLDS) + recordings.music(data) + packaged.others() + ambience.learnt(data)
    known += recordings.speech(data) + packaged.words() + made
    known += [recordings.Recording("", "Music", 0, x) for x in played]
    return known, spoken


def make_shards(folder: Path, data: Path, folds: Collection[int], without: Collection[str], seed: int, indices: Collection[int]) -> None:
    """Renders the shards that are missing. One process; run several with disjoint indices for more cores."""
    os.makedirs(folder, exist_ok=True)
    missing = [i for i in indices if not shard_path(folder, i).exists()]
    if not missing:
        return
    sources = gather(data, folds, folder.parent / "made", without)
    teacher = Teacher(data / "yamnet" / "yamnet.tflite")
    for index in missing:
        made = [scenes.render(np.random.default_rng([seed, index, i]), sources) for i in range(SHARD_SCENES)]
        held = Shard(
            np.stack([front_end(scene.samples).astype(np.float16) for scene in made]),
            *(np.stack([getattr(scene, name) for scene in made]) for name in ("truth", "onsets", "words")),
            np.stack([teacher.logits(scene.samples) for scene in made]),
        )
        part = shard_path(folder, index).with_suffix(".part")
        with part.open("wb") as out:
            np.savez(out, **{name: getattr(held, name) for name in Shard.__slots__})
        part.rename(shard_path(folder, index))
