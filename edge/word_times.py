"""When each word was said, from where a decoder looked while it said it: attention to the encoder's rows, then dynamic time warping.

Sources: whisper/timing.py of openai-whisper 20250625, which norms a head over the tokens, and core/word-alignment.cpp of Moonshine, which
norms a token over the rows; the rest is one method in both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.errors import BundleError
from edge.types import Samples

MEDIAN_ROWS = 7
EXCHANGES = ((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4))
"""Pairs of seven values to put in order, after which the one in the middle is their median. Source: N. Devillard, Fast median search."""
OVER = ("tokens", "rows")
LONG_S = 0.7
"""A median word is taken to be no longer; one that begins or ends a sentence and is more than twice as long holds a pause."""
_ENDS_A_SENTENCE = tuple(".。!！?？")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Of scripts in which words have no spaces between them: Thai, Lao, Burmese, Khmer, kana, Chinese characters."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """heads: (layer, head) of the decoder's cross-attention that follow the words. over: what a head's attention is normed over."""

    heads: tuple[tuple[int, int], ...]
    over: str


class Span(NamedTuple):
    """A word with the tokens [first, stop) that it was said in."""

    text: str
    first: int
    stop: int


def alignment_of(bundle: Bundle) -> Alignment:
    """What the manifest's `caption.alignment` says. Raises: BundleError, also where it says nothing."""
    if "alignment" not in bundle.caption:
        raise BundleError(
            f"bundle {bundle.name} does not know when its words are said; leave --word-times out, or build it from the model's weights"
        )
    table = bundle.caption.table("alignment")
    layers, heads = (table.items_of(key, int, 1, 4096) for key in ("layers", "heads"))
    if len(layers) != len(heads) or min(*layers, *heads) < 0:
        table.refuse("heads", "one number >= 0 for each of `layers`")
    return Alignment(tuple(zip(layers, heads, strict=True)), table.choice("over", OVER))


def starts(attention: Samples, prompt: int, over: str) -> NDArray[np.int64]:
    """Row at which each token of a text begins, and that at which it ends: int64[n + 1], never falling.

    attention: float32[heads, prompt + n + 1, rows] behind the prompt's tokens, the text's and an end. over: see Alignment.
    """
    axis = 1 if over == "tokens" else 2
    spread = attention.std(axis=axis, keepdims=True)
    normed = (attention - attention.mean(axis=axis, keepdims=True)) / np.where(spread > 0, spread, 1)
    # A token is said where the one before it looks. One head after the other, for the attention of one fits into a cache.
    return _first_rows(_warped(-np.mean([_median(head) for head in normed[:, prompt - 1 : -1]], axis=0)))


def _median(x: Samples) -> Samples:
    """Running median over the last axis, mirrored at both ends."""
    half = MEDIAN_ROWS // 2
    if x.shape[-1] <= half:
        return x
    padded = np.pad(x, ((0, 0), (half, half)), mode="reflect")
    shifted = [padded[..., at : at + x.shape[-1]] for at in range(MEDIAN_ROWS)]
    for low, high in EXCHANGES:  # over the whole array at once
        shifted[low], shifted[high] = np.minimum(shifted[low], shifted[high]), np.maximum(shifted[low], shifted[high])
    return np.asarray(shifted[half])


def _warped(cost: NDArray[np.floating]) -> NDArray[np.uint8]:
    """For each token and row, uint8[n + 1, rows + 1], whence the cheapest way comes: 0 both before, 1 the token before, 2 the row before.

    Goes by diagonals, of which every place is known from the two before.
    """
    tokens, rows = cost.shape
    came = np.full((tokens + 1, rows + 1), 2, np.uint8)
    came[:, 0] = 1
    older = np.full(tokens + 1, np.inf, np.float32)
    older[0] = 0
    newer = np.full(tokens + 1, np.inf, np.float32)
    for diagonal in range(2, tokens + rows + 1):
        i = np.arange(max(1, diagonal - rows), min(tokens, diagonal - 1) + 1)
        both, token, row = older[i - 1], newer[i - 1], newer[i]
        best = np.where((both < token) & (both < row), 0, np.where((token < both) & (token < row), 1, 2))
        came[i, diagonal - i] = best
        newest = np.full(tokens + 1, np.inf, np.float32)
        newest[i] = cost[i - 1, diagonal - i - 1] + np.choose(best, (both, token, row))
        older, newer = newer, newest
    return came


def _first_rows(came: NDArray[np.uint8]) -> NDArray[np.int64]:
    i, j = came.shape[0] - 1, came.shape[1] - 1
    found = np.zeros(i, np.int64)
    while i > 0:
        found[i - 1] = j - 1
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 1)
    return np.maximum(found, 0)


def words_of(tokens: Sequence[int], text: Callable[[Sequence[int]], str]) -> list[Span]:
    """The words of a text, with the marks that touch them. text: of some tokens, what is no whole character at the end left out."""
    whole = text(tokens)
    ends = [len(text(tokens[: count + 1])) for count in range(len(tokens))]
    found = []
    for match in re.finditer(r"\S+", whole):
        cuts = [match.start(), *sorted({end for end in ends if match.start() < end < match.end() and _may_begin(whole[end])}), match.end()]
        for begin, stop in pairwise(cuts):
            first = next(at for at, end in enumerate(ends) if end > begin)
            last = next(at for at, end in enumerate(ends) if end >= stop)
            found.append(Span(whole[begin:stop], first, last + 1))
    return found


def _may_begin(character: str) -> bool:
    return _UNSPACED.match(character) is not None and not unicodedata.category(character).startswith("M")


def timed(words: Sequence[Span], begins: NDArray[np.int64], row_s: float) -> list[tuple[float, float]]:
    """Seconds at which each word begins and ends. begins: row at which each token begins, and the one behind the last; row_s: seconds of a
    row.

    Where a sentence begins or ends, a word that is far too long holds the pause beside it, which is taken off.
    """
    spans = [(float(begins[word.first]) * row_s, float(begins[word.stop]) * row_s) for word in words]
    lasting = [stop - start for start, stop in spans if stop > start]
    longest = 2 * min(LONG_S, float(np.median(lasting))) if lasting else 0.0
    for at, (start, stop) in enumerate(spans):
        if stop - start > longest > 0:
            if words[at].text.endswith(_ENDS_A_SENTENCE):
                spans[at] = start, start + longest
            elif at == 0 or words[at - 1].text.endswith(_ENDS_A_SENTENCE):
                spans[at] = stop - longest, stop
    return spans
