"""Rooms, streets, weather and animals as they sound: what the starter must not take for rain or a helicopter.

ambience.toml lists the files of collections that a user clones into DATA/ambience. Some are learnt, as sounds without a name and as the
background of scenes; others are kept apart, and `auricle-export evaluate` counts what is claimed in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge.types import SAMPLE_RATE
from export.train.recordings import BED, Recording, Samples, listed, load

COLLECTIONS = listed("ambience.toml")
"""Name of the clone -> folder in it; named, unnamed and kept files."""
PIECE_S = 10
"""Recordings are long, and a scene draws from its recording's beginning: each piece is a recording of its own."""
MOST_PIECES = 6
RMS = 0.1


def learnt(data: Path) -> list[Recording]:
    """Every file that may be learnt, in pieces; none where DATA/ambience is not there. Raises: FileNotFoundError for a missing file."""
    found = []
    for collection, path, table in _collections(data):
        kinds = {name: (label, ()) for label, names in table.get("named", {}).items() for name in names}
        kinds |= {name: ("", (*BED, *doubtful)) for name, doubtful in table.get("unnamed", {}).items()}
        for name, (label, doubtful) in kinds.items():
            found += [Recording(f"{collection}/{name}", label, 0, piece, doubtful=doubtful) for piece in _pieces(_heard(path / name))]
    return found


def kept(data: Path) -> list[Recording]:
    """Files that nothing is trained on, whole, RMS 0.1; `doubtful` are the labels that may be claimed in each."""
    return [
        Recording(f"{collection}/{name}", "", 0, _heard(path / name), doubtful=tuple(allowed))
        for collection, path, table in _collections(data)
        for name, allowed in table.get("kept", {}).items()
    ]


def _collections(data: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """(name, folder of the files, table) of each collection that is there."""
    for name, table in COLLECTIONS.items():
        if (data / "ambience" / name).is_dir():
            yield name, data / "ambience" / name / table["folder"], table


def _heard(path: Path) -> Samples:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; clone the collection anew (docs/training.md), or move its folder away to do without")
    samples = load(path)
    rms = max(float(np.sqrt(np.mean(samples**2))), 1e-6)
    return np.clip(samples * np.float32(RMS / rms), -1.0, 1.0)


def _pieces(samples: Samples) -> list[Samples]:
    size = PIECE_S * SAMPLE_RATE
    return [samples[at : at + size] for at in range(0, len(samples), size) if len(samples) - at > SAMPLE_RATE or at == 0][:MOST_PIECES]
