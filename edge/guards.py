"""What stops a text that has come loose from its audio, judged by its structure: loops of tokens, and many words that say little.

Sources: compression ratio and no-speech probability with its thresholds, Radford et al. 2022 (Whisper), section 4.5.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

LONGEST_PERIOD = 32
"""Tokens in the longest phrase whose repetition is looked for."""
LOOP_TOKENS, LOOP_TIMES = 12, 4
"""A phrase that comes so often, and makes up so many tokens, is a loop: "no no no no" is none yet."""
KEPT = 2
"""How often the phrase of a loop stays in the text."""
COMPRESSION, COMPRESSION_BYTES = 2.4, 100
"""Bytes of text for each byte that zlib needs, from which a text of at least so many bytes is worth nothing."""
NO_SPEECH, NO_SPEECH_LOG_PROBABILITY = 0.6, -1.0
"""The model thinks it likelier than this that nobody speaks, and its own words less likely than that (mean of natural logs): no words."""


def loop_at(tokens: Sequence[int]) -> int | None:
    """Where to cut a text whose end has begun to repeat itself, so that the phrase stays KEPT times; None where it has not."""
    size = len(tokens)
    for period in range(1, min(LONGEST_PERIOD, size // LOOP_TIMES) + 1):
        same = 0
        while same + period < size and tokens[size - 1 - same] == tokens[size - 1 - same - period]:
            same += 1
        run = same + period
        if run >= max(LOOP_TOKENS, LOOP_TIMES * period):
            return size - run + KEPT * period
    return None


def cut_loops(tokens: Sequence[int]) -> list[int]:
    """The text as a decoder that is stopped by `loop_at` leaves it."""
    for size in range(1, len(tokens) + 1):
        at = loop_at(tokens[:size])
        if at is not None:
            return list(tokens[:at])
    return list(tokens)


def wordy_at(tokens: Sequence[int], text: Callable[[Sequence[int]], str]) -> int | None:
    """How many tokens of a text that says little in many words may stay; None where it is none."""
    if not _wordy(text(tokens)):
        return None
    low, high = 0, len(tokens)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _wordy(text(tokens[:middle])) else (middle, high)
    return low


def _wordy(text: str) -> bool:
    data = text.encode()
    return len(data) >= COMPRESSION_BYTES and len(data) / len(zlib.compress(data)) > COMPRESSION
