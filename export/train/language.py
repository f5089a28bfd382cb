"""What the starter says: English made from sounds with their onsets and offsets, and a byte-level BPE for it.

The text for a longer stretch continues the text for its beginning, so that a live caption grows instead of changing:
sounds are named in the order of their onsets, each joined by how it lies to the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.types import SAMPLE_RATE, Sound

PHRASES = {
    "Speech": "a person is speaking",
    "Bark": "a dog barks",
    "Crowing, cock-a-doodle-doo": "a rooster crows",
    "Rain": "rain is falling",
    "Waves, surf": "waves wash ashore",
    "Baby cry, infant cry": "a baby is crying",
    "Tick-tock": "a clock is ticking",
    "Sneeze": "someone sneezes",
    "Helicopter": "a helicopter is flying",
    "Chainsaw": "a chainsaw is running",
    "Crackle": "a fire crackles",
    "Smoke detector, smoke alarm": "a smoke alarm is sounding",
    "Siren": "a siren wails",
    "Doorbell": "a doorbell rings",
    "Telephone": "a telephone rings",
    "Vehicle horn, car horn, honking": "a car horn honks",
    "Knock": "someone knocks",
    "Beep, bleep": "something beeps",
    "Engine": "an engine is running",
    "Music": "music is playing",
    "Wind": "wind is blowing",
}
"""What a caption calls a sound. "Noise" has no words: it is a sound record, but nothing that a caption should claim."""
END, BEGIN = "<end>", "<caption>"
MOST_SOUNDS = 8
"""A caption names at most this many; a turn of 30 s seldom holds more."""


def describe(sounds: Sequence[Sound]) -> str:
    """One sentence that names the sounds in the order of their onsets; "" for none.

    A sound that begins at least 0.3 s before everything earlier has ended is joined by "while", another by ", then". A label that was
    already named is named again only after it had ended, with "again".
    """
    said: list[str] = []
    named: set[str] = set()
    running_until = 0.0
    worded = [sound for sound in sounds if sound.label in PHRASES]
    for sound in sorted(worded, key=lambda s: (s.start, s.id))[:MOST_SOUNDS]:
        phrase = PHRASES[sound.label] + (" again" if sound.label in named else "")
        named.add(sound.label)
        if not said:
            said.append(phrase[0].upper() + phrase[1:])
        elif sound.start < running_until - 0.3 * SAMPLE_RATE:
            said.append(" while " + phrase)
        else:
            said.append(", then " + phrase)
        stop = float("inf") if sound.stop is None else float(sound.stop)
        running_until = max(running_until, stop)
    return "".join(said) + "." if said else ""


def train_tokenizer(texts: Sequence[str], path: Path, size: int = 512) -> None:
    """Byte-level BPE with <end> = 0 and <caption> = 1, written as a Hugging Face tokenizer.json."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END, BEGIN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(path))
