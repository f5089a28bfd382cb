"""Everything that scenes are drawn from in two files: `auricle-export train sources` writes them, `gather` reads them where they lie.

For a machine that has neither the Debian packages nor the synthesisers, such as a GPU that is rented by the minute: 4.2 hours in 56 MB of
Ogg Vorbis instead of 480 of samples. What is learnt from them has been through Vorbis once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train.recordings import Recording

Spoken = Sequence[tuple[NDArray[np.float32], bool]]
BLOCK = SAMPLE_RATE
"""libsndfile's Vorbis encoder crashes on ten minutes at once (1.2.2)."""
QUALITY = 0.75
"""soundfile's compression_level: 0 is the best and largest, 1 the smallest."""


def files(folder: Path) -> tuple[Path, Path]:
    """The sound, and what is where in it."""
    return folder / "sources.ogg", folder / "sources.json"


def teacher_file(folder: Path) -> Path:
    """YAMNet's weights as floats, for a machine without LiteRT."""
    return folder / "teacher.npz"


def save(folder: Path, known: Sequence[Recording], spoken: Spoken) -> None:
    """Writes recordings, and utterances with whether digits may be said in them."""
    sound, table = files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(sound, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=QUALITY) as out:
        for samples in [*(recording.samples for recording in known), *(samples for samples, _ in spoken)]:
            for at in range(0, len(samples), BLOCK):
                out.write(samples[at : at + BLOCK])
    held = [{**asdict(recording), "samples": len(recording.samples)} for recording in known]
    table.write_text(json.dumps({"known": held, "spoken": [[len(samples), digits] for samples, digits in spoken]}), encoding="utf-8")


def load(folder: Path) -> tuple[list[Recording], list[tuple[NDArray[np.float32], bool]]]:
    """What `save` was given. Raises: ValueError where the two files do not belong together."""
    sound, table = files(folder)
    held = json.loads(table.read_text(encoding="utf-8"))
    samples, _ = soundfile.read(sound, dtype="float32")
    sizes = [entry["samples"] for entry in held["known"]] + [size for size, _ in held["spoken"]]
    if sum(sizes) != len(samples):
        raise ValueError(
            f"{sound} holds {len(samples)} samples, {table} tells of {sum(sizes)}; write both again (auricle-export train sources)"
        )
    parts = iter(np.split(samples, np.cumsum(sizes)[:-1]))
    known = [Recording(**entry | {"samples": next(parts), "doubtful": tuple(entry["doubtful"])}) for entry in held["known"]]
    return known, [(next(parts), digits) for _, digits in held["spoken"]]
