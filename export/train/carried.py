"""Everything that scenes are drawn from in a few files: `auricle-export train sources` writes them, `gather` reads them where they lie.

For a machine that has neither the Debian packages nor the synthesisers, such as a GPU that is rented by the minute: 13 MB of Ogg Vorbis for
an hour instead of 115 of samples. What is learnt from them has been through Vorbis once.
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
PART_S = 3 * 3600
"""A file holds no more than about that: some 40 MB, for what is carried at once may be limited."""


def files(folder: Path) -> tuple[Path, ...]:
    """What is where in the sound, and the sound, in as many files as the table says (one where there is no table)."""
    table = folder / "sources.json"
    held = json.loads(table.read_text(encoding="utf-8")) if table.is_file() else {}
    return table, *(_sound(folder, part) for part in range(held.get("files", 1)))


def _sound(folder: Path, part: int) -> Path:
    return folder / (f"sources-{part}.ogg" if part else "sources.ogg")


def teacher_file(folder: Path) -> Path:
    """YAMNet's weights as floats, for a machine without LiteRT."""
    return folder / "teacher.npz"


def save(folder: Path, known: Sequence[Recording], spoken: Spoken) -> None:
    """Writes recordings, and utterances with whether digits may be said in them."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = [*(recording.samples for recording in known), *(samples for samples, _ in spoken)]
    ends = np.cumsum([len(samples) for samples in whole])
    parts = np.unique((ends - 1) // (PART_S * SAMPLE_RATE), return_inverse=True)[1].tolist()
    for part in range(max(parts) + 1):
        with soundfile.SoundFile(
            _sound(folder, part), "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=QUALITY
        ) as out:
            for samples in (samples for samples, of in zip(whole, parts, strict=True) if of == part):
                for at in range(0, len(samples), BLOCK):
                    out.write(samples[at : at + BLOCK])
    held = [{**asdict(recording), "samples": len(recording.samples)} for recording in known]
    told = {"files": max(parts) + 1, "known": held, "spoken": [[len(samples), digits] for samples, digits in spoken]}
    (folder / "sources.json").write_text(json.dumps(told), encoding="utf-8")


def load(folder: Path) -> tuple[list[Recording], list[tuple[NDArray[np.float32], bool]]]:
    """What `save` was given. Raises: ValueError where the files do not belong together."""
    table, *sounds = files(folder)
    held = json.loads(table.read_text(encoding="utf-8"))
    samples = np.concatenate([soundfile.read(sound, dtype="float32")[0] for sound in sounds])
    sizes = [entry["samples"] for entry in held["known"]] + [size for size, _ in held["spoken"]]
    if sum(sizes) != len(samples):
        raise ValueError(
            f"{folder}/*.ogg hold {len(samples)} samples, {table} tells of {sum(sizes)}; write both again (auricle-export train sources)"
        )
    parts = iter(np.split(samples, np.cumsum(sizes)[:-1]))
    known = [Recording(**entry | {"samples": next(parts), "doubtful": tuple(entry["doubtful"])}) for entry in held["known"]]
    return known, [(next(parts), digits) for _, digits in held["spoken"]]
