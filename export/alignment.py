"""What a manifest says of a decoder's heads that follow the words. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from edge.seq2seq import ATTENTION


def alignment(heads: Sequence[tuple[int, int]], over: str, outputs: Collection[str]) -> dict[str, Any]:
    """An entry of `caption` for (layer, head) pairs; none where there are none or the decoder, by its outputs, does not tell them.

    over: see edge.word_times.Alignment.
    """
    if not heads or any(f"{ATTENTION}{layer}" not in outputs for layer, _ in heads):
        return {}
    return {"alignment": {"layers": [layer for layer, _ in heads], "heads": [head for _, head in heads], "over": over}}
