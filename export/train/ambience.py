"""Rooms, streets, weather, animals and things as they sound: what the starter must not take for rain or a helicopter.

ambience.toml lists the files of collections that a user clones into DATA/ambience, gathered.toml those of other public repositories, which
lie there as OWNER/NAME. Some are learnt, as sounds with or without a name and as the background of scenes; others are kept apart, and
`auricle-export evaluate` counts what is claimed in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train.labels import STARTER_LABELS
from export.train.recordings import BED, Recording, Samples, listed, load, trimmed
from export.train.teacher import PATCH, Teacher, columns

COLLECTIONS = listed("ambience.toml") | listed("gathered.toml")
"""Name of the clone -> folder in it; named, unnamed, sifted and kept files."""
PIECE_S = 10
"""Recordings are long, and a scene draws from its recording's beginning: each piece is a recording of its own."""
MOST_PIECES = 6
RMS = 0.1
SURE, NEVER = 0.3, 0.12
"""A file of a folder has a name where YAMNet's scores are that high on the mean, and none where no patch of it has a score that high."""
LONGEST_S = 8
SOUNDS = (".ogg", ".wav", ".mp3", ".flac")


def learnt(data: Path) -> list[Recording]:
    """Every file that may be learnt, long ones in pieces; none where DATA/ambience is not there.

    Raises: FileNotFoundError for a missing file, and where folders are to be sifted for a missing DATA/yamnet.
    """
    found, sieve = [], Sieve(data / "yamnet")
    for collection, path, table in _collections(data):
        kinds: dict[Path, tuple[str, tuple[str, ...]]] = {}
        for label, name in ((label, name) for label, names in table.get("named", {}).items() for name in names):
            folder = (path / name).is_dir()
            files = [file for file in _below(path, [name]) if sieve.mean(load(file), label) >= SURE] if folder else [path / name]
            kinds |= dict.fromkeys(files, (label, ()))
        kinds |= {path / name: ("", (*BED, *doubtful)) for name, doubtful in table.get("unnamed", {}).items()}
        for file, (label, doubtful) in kinds.items():
            name = f"{collection}/{file.relative_to(path)}"
            samples = trimmed(_there(file)) if label else _heard(file)
            found += [Recording(name, label, 0, piece, doubtful=doubtful) for piece in _pieces(samples)]
        apart = {*kinds, *(path / name for name in chain(table.get("left_out", []), table.get("kept", {})))}
        for file in _below(path, table.get("sifted", [])):
            if file in apart:
                continue
            samples = trimmed(_there(file))[: LONGEST_S * SAMPLE_RATE]
            if len(samples) > 0.1 * SAMPLE_RATE and sieve.peak(samples) < NEVER:
                found.append(Recording(f"{collection}/{file.relative_to(path)}", "", 0, samples))
    return found


class Sieve:
    """YAMNet, asked for the labels that it shares with the starter; its files are read when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns: dict[str, int] = {}

    def _scores(self, samples: Samples) -> NDArray[np.float32]:
        """float32[patches of 0.975 s, each half over the one before; 521]."""
        if not self._columns:
            if not (self._folder / "labels.txt").is_file():
                raise FileNotFoundError(f"{self._folder} is missing: YAMNet sifts the collections of DATA/ambience (docs/training.md)")
            self._columns = dict(zip(STARTER_LABELS, columns(self._folder), strict=True))
            self._teacher = Teacher(self._folder / "yamnet.tflite")
        x = np.pad(samples, (0, max(0, PATCH - len(samples))))
        return np.stack([self._teacher.score(x[at : at + PATCH].copy()) for at in range(0, len(x) - PATCH + 1, PATCH // 2)])

    def mean(self, samples: Samples, label: str) -> float:
        return float(self._scores(samples)[:, self._columns[label]].mean())

    def peak(self, samples: Samples) -> float:
        """Of any label and patch."""
        return float(self._scores(samples)[:, list(self._columns.values())].max())


def kept(data: Path) -> list[Recording]:
    """Files that nothing is trained on, whole, RMS 0.1; `doubtful` are the labels that may be claimed in each."""
    return [
        Recording(f"{collection}/{name}", "", 0, _heard(path / name), doubtful=tuple(allowed))
        for collection, path, table in _collections(data)
        for name, allowed in table.get("kept", {}).items()
    ]


def named(data: Path) -> list[Recording]:
    """What is named file by file, ten seconds of each, and is learnt."""
    return [
        Recording(f"{collection}/{name}", label, 0, trimmed(_there(path / name))[: PIECE_S * SAMPLE_RATE])
        for collection, path, table in _collections(data)
        for label, names in table.get("named", {}).items()
        for name in names
        if not (path / name).is_dir()
    ]


def _collections(data: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """(name, folder of the files, table) of each collection that is there."""
    for name, table in COLLECTIONS.items():
        if (data / "ambience" / name).is_dir():
            yield name, data / "ambience" / name / table.get("folder", "."), table


def _below(path: Path, folders: Sequence[str]) -> list[Path]:
    """Every sound in these folders; a name may be a sound's as well."""
    named = (path / name for name in folders)
    return sorted(file for at in named for file in (at.rglob("*") if at.is_dir() else [at]) if file.suffix in SOUNDS)


def _there(path: Path) -> Samples:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; clone the collection anew (docs/training.md), or move its folder away to do without")
    return load(path)


def _heard(path: Path) -> Samples:
    samples = _there(path)
    rms = max(float(np.sqrt(np.mean(samples**2))), 1e-6)
    return np.clip(samples * np.float32(RMS / rms), -1.0, 1.0)


def _pieces(samples: Samples) -> list[Samples]:
    size = PIECE_S * SAMPLE_RATE
    return [samples[at : at + size] for at in range(0, len(samples), size) if len(samples) - at > SAMPLE_RATE or at == 0][:MOST_PIECES]
