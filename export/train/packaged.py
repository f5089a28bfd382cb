"""More of the world to hear: recordings that Debian packages for other purposes, read where apt installs them.

Voices in many languages (telephone prompts, names of pictures, letters), English digits and letters, animals and machines that
the starter has no name for, and music played from sampled instruments. French voices are left out: they are kept for judging how
often speech is taken for another sound. What games bring is listed in games.toml. `scripts/setup.sh train` installs the packages;
licences: docs/starter.md.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train.labels import DIGITS, LETTERS
from export.train.recordings import BED, Recording, listed, load, trimmed

SHARE = Path("/usr/share")
PACKAGES = {
    "asterisk-core-sounds-en-wav": "asterisk/sounds/en_US_f_Allison",
    "asterisk-core-sounds-es-wav": "asterisk/sounds/es_MX_f_Allison",
    "asterisk-core-sounds-fr-wav": "asterisk/sounds/fr_CA_f_June",
    "asterisk-core-sounds-it-wav": "asterisk/sounds/it_IT_m_Carlo",
    "asterisk-core-sounds-ru-wav": "asterisk/sounds/ru_RU_f_IvrvoiceRU",
    "klettres-data": "klettres/en",
    "tuxpaint-stamps-default": "tuxpaint/stamps",
    "fluid-soundfont-gs": "sounds/sf2/FluidR3_GS.sf2",
    "timgm6mb-soundfont": "sounds/sf2/TimGM6mb.sf2",
}
"""Debian package -> what it brings, below /usr/share."""
VOICES = tuple(package for package, path in PACKAGES.items() if path.startswith(("asterisk/", "klettres/", "tuxpaint/")))
"""Those of them that `voices` reads."""
GAMES = listed("games.toml")
"""Further packages -> folder below /usr/share, files in it that stay unnamed, those of them that may lie under scenes, files by label."""

STAMPS = SHARE / "tuxpaint/stamps"
DISTRACTORS = (
    *("animals/marsupials", "animals/insects", "animals/amphibians", "animals/mammals/rodents", "animals/mammals/camel"),
    *("animals/mammals/bears", "animals/mammals/aquatic", "animals/mammals/equines", "animals/mammals/apes", "animals/mammals/cats"),
    *("animals/mammals/bovines", "animals/mammals/deer", "animals/birds", "household", "hobbies/camera_35mm.ogg", "naturalforces"),
    *("animals/mammals/pig.ogg", "animals/mammals/elephant.ogg", "animals/mammals/badger.ogg", "seasonal/newyears/fireworks.ogg"),
)
"""Stamps of Tux Paint whose sounds the starter must leave unnamed."""
NAMED = {
    "animals/birds/rooster.ogg": "Crowing, cock-a-doodle-doo",
    "animals/mammals/dogs/dog.ogg": "Bark",
    "vehicles/emergency/firetruck.ogg": "Siren",
    **{
        f"hobbies/music/{name}": "Music" for name in ("string/cello.ogg", "string/violin.ogg", "wind/bassoon.ogg", "percussion/drumkit.ogg")
    },
}
KEPT_LANGUAGE = "fr"


def require(only: Collection[str] = ()) -> None:
    """Raises FileNotFoundError that names the packages which are not installed, of these or (none given) of all."""
    wanted = PACKAGES | {package: table["folder"] for package, table in GAMES.items()}
    missing = [package for package, path in wanted.items() if (not only or package in only) and not (SHARE / path).exists()]
    if missing:
        raise FileNotFoundError(
            f"recordings of Debian packages are missing: run `apt-get install {' '.join(missing)}`, or scripts/setup.sh train"
        )


def _language(path: Path) -> str:
    """Language of a spoken stamp ("dog_desc_fr.ogg" -> "fr"); "en" where the name says none."""
    return path.stem.partition("_desc")[2].strip("_").split("_")[0] or "en"


def voices(kept: bool = False, limit: int = 1600) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(language, samples) of people speaking, 0.4 to 8 s each. kept: only the French ones, which nothing is trained on."""
    prompts = [p for p in sorted((SHARE / "asterisk/sounds").glob("*/*.wav")) if "silence" not in p.name and "beep" not in p.name]
    stamps = sorted(STAMPS.glob("**/*_desc*.ogg"))
    syllables = sorted((SHARE / "klettres").glob("*/*/*.ogg"))
    groups = []
    for paths, language in (
        (prompts, lambda p: p.parent.name[:2]),
        (stamps, _language),
        (syllables, lambda p: p.relative_to(SHARE / "klettres").parts[0]),
    ):
        chosen = [p for p in paths if (language(p) == KEPT_LANGUAGE) == kept]
        groups += [(p, language(p)) for p in chosen[:: max(1, -(-len(chosen) // (limit // 2)))]]
    for path, language in groups:
        samples = trimmed(load(path))
        if 0.4 * SAMPLE_RATE <= len(samples) <= 12 * SAMPLE_RATE:
            yield language, samples[: 8 * SAMPLE_RATE]


def words() -> list[Recording]:
    """English digits and letters said alone by four further speakers; `word` says which."""
    allison, numbers = SHARE / "asterisk/sounds/en_US_f_Allison", STAMPS / "symbols/math"
    files = [(word, "tuxpaint", numbers / f"{n}.ogg") for n, word in enumerate(DIGITS)]
    files += [(word, "tuxpaint-gb", numbers / f"{n}_en_GB.ogg") for n, word in enumerate(DIGITS)]
    files += [(word, "allison", allison / f"digits/{n}.wav") for n, word in enumerate(DIGITS)]
    files += [(letter, "allison", allison / f"letters/{letter}.wav") for letter in LETTERS]
    files += [(letter, "klettres", SHARE / f"klettres/en/alpha/{letter.upper()}.ogg") for letter in LETTERS]
    return [Recording(str(path), "Speech", 0, trimmed(load(path)), word, who) for word, who, path in files]


def others() -> list[Recording]:
    """Distractors without a label, and the few recordings that have one."""
    found = [
        path
        for entry in DISTRACTORS
        for path in ([STAMPS / entry] if entry.endswith(".ogg") else sorted((STAMPS / entry).glob("**/*.ogg")))
    ]
    kinds: dict[Path, tuple[str, tuple[str, ...]]] = {path: ("", ()) for path in found if "_desc" not in path.name}
    kinds |= {STAMPS / name: (label, ()) for name, label in NAMED.items()}
    for table in GAMES.values():
        folder = SHARE / table["folder"]
        kinds |= {folder / name: ("", ()) for name in table.get("unnamed", [])}
        kinds |= {folder / name: ("", BED) for name in table.get("beds", [])}
        kinds |= {folder / name: (label, ()) for label, names in table.get("named", {}).items() for name in names}
    recordings = []
    for path, (label, doubtful) in kinds.items():
        samples = trimmed(load(path))[: 8 * SAMPLE_RATE]
        if len(samples) > 0.1 * SAMPLE_RATE:
            recordings.append(Recording(str(path), label, 0, samples, doubtful=doubtful))
    return recordings


def played(seed: int, count: int) -> Iterator[NDArray[np.float32]]:
    """Short pieces of random music on the instruments of two sound fonts, 6 s each; piece k depends on seed and k only."""
    fonts = [SHARE / PACKAGES["fluid-soundfont-gs"], SHARE / PACKAGES["timgm6mb-soundfont"]]
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        with tempfile.TemporaryDirectory() as folder:
            tune, wav = Path(folder) / "tune.mid", Path(folder) / "tune.wav"
            tune.write_bytes(midi(rng))
            # The smaller font has every General MIDI instrument; the other adds its drum kits.
            font = fonts[1] if rng.random() < 0.8 else fonts[0]
            command = ["fluidsynth", "-ni", "-q", "-g", "0.7", "-r", "16000", "-F", str(wav), str(font), str(tune)]
            try:
                subprocess.run(command, capture_output=True, timeout=60, check=True)
            except FileNotFoundError:
                raise FileNotFoundError(
                    "fluidsynth plays the training music and is not installed: run `apt-get install fluidsynth`"
                ) from None
            samples = trimmed(load(wav))[: 6 * SAMPLE_RATE]
        if len(samples) > SAMPLE_RATE:
            yield samples


def midi(rng: np.random.Generator) -> bytes:
    """A standard MIDI file, format 0: one to four instruments and at times drums, in a random scale and tempo."""
    scale = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10], [0, 3, 5, 7, 10], [0, 2, 4, 7, 9]][rng.integers(4)]
    key, beat = int(rng.integers(40, 64)), int(rng.uniform(140, 420))  # milliseconds
    events: list[tuple[int, bytes]] = []
    for channel in range(int(rng.integers(1, 5))):
        events.append((0, bytes([0xC0 | channel, int(rng.integers(0, 112))])))
        at, chord = 0, bool(rng.random() < 0.3)
        while at < 7000:
            length = beat * int(rng.choice([1, 1, 2, 2, 4]))
            if rng.random() < 0.85:
                degree = int(rng.integers(0, 2 * len(scale)))
                note = key + 12 * (degree // len(scale)) + scale[degree % len(scale)] + 12 * (channel % 2)
                for pitch in (note, note + 4, note + 7) if chord else (note,):
                    events += [(at, bytes([0x90 | channel, min(pitch, 120), int(rng.integers(60, 120))]))]
                    events += [(at + int(length * 0.9), bytes([0x80 | channel, min(pitch, 120), 0]))]
            at += length
    if rng.random() < 0.4:
        for at in range(0, 7000, beat):
            events += [(at, bytes([0x99, int(rng.choice([35, 38, 42, 42, 46, 49])), int(rng.integers(60, 120))]))]
    track, now = bytearray(), 0
    for at, message in sorted(events, key=lambda event: event[0]):
        track += _variable(at - now) + message
        now = at
    track += b"\x00\xff\x2f\x00"
    # 500 ticks for a quarter of 500 ms: one tick is a millisecond.
    return b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1, 1, 0xF4]) + b"MTrk" + len(track).to_bytes(4, "big") + bytes(track)


def _variable(value: int) -> bytes:
    """A variable-length quantity of the MIDI file format."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.insert(0, 0x80 | (value & 0x7F))
    return bytes(out)


def _filled(path: Path) -> bool:
    """Whether there is such a file and a recording in it: up to 2.7.0 one could be written without."""
    if not path.is_file():
        return False
    with np.load(path) as held:
        return len(held["sizes"]) > 0


def cached(path: Path, make: Callable[[], list[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """What `make` returns, kept as one file of 16-bit samples. Raises: FileNotFoundError where it returns nothing: no file is written."""
    if not _filled(path):
        made = make()
        if not made:  # a file without recordings would be taken for made, and come back as one recording without samples
            raise FileNotFoundError(f"{path} cannot be made: what its recordings come from is not installed; run scripts/setup.sh train")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            samples = (np.clip(np.concatenate(made), -1, 1) * 32_767).astype(np.int16)
            np.savez(file, sizes=np.array([len(x) for x in made]), samples=samples)
        part.replace(path)
    with np.load(path) as held:
        return list(np.split(held["samples"].astype(np.float32) / np.float32(32_767), np.cumsum(held["sizes"])[:-1]))
