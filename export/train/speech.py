"""Spoken sentences from the two speech synthesisers that Debian packages: espeak-ng (formants) and flite (recorded units)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from edge.errors import BackendError
from export.train import packaged
from export.train.labels import DIGITS, WORDS

RATE = 16_000
EDITION = 4
"""Raised whenever `bank` would make other utterances from the same seed, so that old caches are not used."""

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
TIMBRES = (
    *("", "", "+f1", "+f2", "+f3", "+f4", "+f5", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+m8", "+croak", "+whisper", "+whisperf"),
    *(
        "+klatt",
        "+klatt2",
        "+klatt4",
        "+klatt6",
        "+Andy",
        "+Annie",
        "+Alicia",
        "+Michael",
        "+Storm",
        "+grandma",
        "+grandpa",
        "+linda",
        "+steph",
    ),
)
FLITE_VOICES = ("slt", "rms", "awb", "kal16", "kal")

_WHO = (
    "I",
    "we",
    "they",
    "my sister",
    "the neighbour",
    "your brother",
    "the doctor",
    "Anna",
    "Tom",
    "somebody",
    "the children",
    "our teacher",
)
_DO = ("saw", "found", "lost", "bought", "forgot", "liked", "carried", "painted", "heard", "needed", "opened", "cleaned", "called about")
_WHAT = (
    "the keys",
    "a red bicycle",
    "an old photograph",
    "the kitchen table",
    "green apples",
    "some bread",
    "the green door",
    "a letter",
    "that film",
)
_WHEN = (
    "yesterday",
    "this morning",
    "after lunch",
    "last week",
    "on Sunday",
    "before the meeting",
    "at noon",
    "in the garden",
    "on the way home",
)
_WHOLE = (
    *(
        "Hello, is anybody home?",
        "Could you open the window, please?",
        "What time is it?",
        "I will be there in ten minutes.",
        "Thank you very much.",
    ),
    *(
        "Good morning, how are you today?",
        "Please leave a message after the tone.",
        "Turn left at the next corner.",
        "No, not like that.",
        "Come in.",
    ),
    *(
        "Can you hear me now?",
        "Dinner is almost ready.",
        "Wait a moment.",
        "Who is there?",
        "I do not think so.",
        "Have a nice day.",
        "Yes.",
        "Stop it!",
    ),
    *(
        "The train to the city leaves from the last platform.",
        "Where did you put my glasses?",
        "Remember to take your medicine.",
        "Let us go outside.",
    ),
    *(
        "It is going to rain this afternoon.",
        "Be careful, the plate is hot.",
        "Did you feed the cat?",
        "That was wonderful.",
        "Help me with this box.",
    ),
)


PROSE = Path("/usr/share/common-licenses")
"""English prose that every Debian system has: the licences of free software."""


@cache
def prose() -> tuple[tuple[str, ...], ...]:
    """Its stretches of words between punctuation, four words at least, none with the name of a digit or a letter but "a"."""
    said = set(WORDS) - {"a"}
    found = []
    for path in sorted(PROSE.glob("*")):
        for stretch in re.split(r"[^A-Za-z' \n]+", path.read_text(errors="ignore")):
            words = tuple(word.strip("'") for word in stretch.lower().split())
            if len(words) >= 4 and not said.intersection(words):
                found.append(words)
    return tuple(dict.fromkeys(found))


def sentences(rng: np.random.Generator) -> str:
    """A short English sentence from phrases or a small grammar, or up to twelve words of prose.

    None has the name of a digit, which `spoken_words` says alone.
    """
    if prose() and rng.random() < 0.6:
        words = prose()[rng.integers(len(prose()))]
        size = int(rng.integers(4, 13))
        start = int(rng.integers(0, max(1, len(words) - size + 1)))
        return " ".join(words[start : start + size])
    kind = rng.random()
    if kind < 0.4:
        return str(rng.choice(_WHOLE))
    text = f"{rng.choice(_WHO)} {rng.choice(_DO)} {rng.choice(_WHAT)}"
    if kind > 0.75:
        text += f" {rng.choice(_WHEN)}"
    return text[0].upper() + text[1:] + str(rng.choice([".", ".", "!", "?"]))


def speak(text: str, voice: str = "en-us", wpm: float = 160, pitch: float = 50, engine: str = "espeak-ng") -> np.ndarray:
    """One utterance.

    text: what is said. voice: an espeak-ng voice with variant ("en-gb+f2") or a flite voice ("slt"). wpm: words a minute, 80 to 400.
    pitch: 0 to 99, 50 is the voice's own. engine: "espeak-ng" or "flite".
    Returns: float32[n], mono, 16 kHz, silence at both ends cut, peak 0.5.
    Raises: BackendError when the program is missing or fails; ValueError for another engine or flite voice.
    """
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        if engine == "espeak-ng":
            _run([engine, "-v", voice, "-s", f"{wpm:.0f}", "-p", f"{pitch:.0f}", "-w", str(wav), "--stdin"], text)
        elif engine == "flite":
            if voice not in FLITE_VOICES:  # flite would speak in its default voice without a word about it
                raise ValueError(f"voice must be one of {', '.join(FLITE_VOICES)} for flite, not {voice!r}")
            _run([engine, "-voice", voice, "--setf", f"duration_stretch={160 / wpm:.3f}", "-t", text, "-o", str(wav)], "")
        else:
            raise ValueError(f'engine must be "espeak-ng" or "flite", not {engine!r}')
        try:
            x, rate = soundfile.read(wav, dtype="float32")
        except soundfile.LibsndfileError as error:
            raise BackendError(f"{engine} wrote no sound for voice {voice!r}; list its voices and choose one of those.") from error
    if engine == "flite":  # its voices take no pitch, so the tape is run faster or slower
        rate = rate * 2 ** ((pitch - 50) / 150)
    x = soxr.resample(x, rate, RATE).astype(np.float32)
    loud = np.flatnonzero(np.abs(x) > 0.01 * (np.abs(x).max() if len(x) else 0.0))
    if len(loud) == 0:
        raise BackendError(f"{engine} spoke only silence for {text!r} with voice {voice!r}; choose another voice.")
    x = x[max(0, loud[0] - 160) : loud[-1] + 480]
    return x * np.float32(0.5 / np.abs(x).max())


def utterance(rng: np.random.Generator) -> np.ndarray:
    """A random sentence in a random voice, 0.5 to 5 s; float32[n], 16 kHz, peak 0.5."""
    while True:
        engine = "flite" if rng.random() < 0.4 else "espeak-ng"
        voice = str(rng.choice(FLITE_VOICES)) if engine == "flite" else str(rng.choice(ACCENTS)) + str(rng.choice(TIMBRES))
        x = speak(sentences(rng), voice, float(rng.uniform(110, 230)), float(rng.uniform(15, 85)), engine)
        if 0.5 * RATE <= len(x) <= 5 * RATE:
            return x


def bank(seed: int, count: int, cache_dir: Path | str) -> list[np.ndarray]:
    """`count` random utterances, made once and kept in cache_dir; utterance k depends on seed and k only.

    Returns: a list of float32[n], 16 kHz, peak 0.5, 0.5 to 5 s each.
    Raises: BackendError when espeak-ng or flite is missing and the cache does not hold them yet.
    """
    path = Path(cache_dir) / f"speech-{EDITION}-{seed}-{count}.npz"
    return packaged.cached(path, lambda: [utterance(np.random.default_rng([seed, k])) for k in range(count)])


def spoken_words(seed: int, voices: int) -> list[tuple[str, np.ndarray]]:
    """Every digit and letter in `voices` random voices: (word, float32[n] at 16 kHz, peak 0.5)."""
    made = []
    for index, word in enumerate(WORDS):
        for k in range(voices):
            rng = np.random.default_rng([seed, index, k])
            engine = "flite" if word in DIGITS and rng.random() < 0.4 else "espeak-ng"  # flite reads "a" as an article
            voice = str(rng.choice(FLITE_VOICES)) if engine == "flite" else str(rng.choice(ACCENTS)) + str(rng.choice(TIMBRES))
            text = word if word in DIGITS else word.upper()
            made.append((word, speak(text, voice, float(rng.uniform(110, 220)), float(rng.uniform(15, 85)), engine)))
    return made


def _run(command: list[str], text: str) -> None:
    name = command[0]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise BackendError(f"{name} is needed to synthesise speech and is not installed: run `apt-get install {name}`.") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{name} did not finish within 60 s; try a shorter text.") from error
    if done.returncode != 0:
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BackendError(f"{name} could not speak ({why[0]}); check the voice's name.")
