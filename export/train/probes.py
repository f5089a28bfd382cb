"""What the language model must know on the way to an answer, asked of its inner states while it is fitted, and thrown away after.

"Was the siren before the dog?" is answered in steps: find the row that tells of each of the two, compare their places, turn the answer
round where the question says "after". From the "Yes." or "No." alone none of these steps has a gradient until the others are there, and
after 4,000 batches the answers were still at chance. So where a question names a sound, the state after layer FOUND is asked for its
place and its count by a linear map; and where the answer begins, the state after layer COMPARED is asked which of the two that were named
came first. (Deep supervision, Lee et al. 2015; the maps aren't part of what is exported.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.train.labels import COUNTED
from export.train.language import ANSWER, PHRASES, QUESTION, Fact, joined
from export.train.nouns import DID, NOUNS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FOUND, COMPARED = 1, 2
"""Layers, from 0, whose output is asked."""
PLACES, COUNTS = 9, 6
IGNORED = -100
COUNT_WEIGHT = 4.0
"""How much more than another token one counts that tells how often, or that could have."""


def _names() -> list[tuple[str, str]]:
    """(name, label), the longer first; an article may be any."""
    found = [(re.sub("^(a|an|the|some) ", "", noun), label) for label, nouns in NOUNS.items() for noun in nouns]
    found += [(did.removeprefix("did "), label) for label, did in DID.items()]
    return sorted(set(found), key=lambda item: -len(item[0]))


_NAMES = dict(_names())
_MENTION = re.compile(r"\b(" + "|".join(re.escape(name) for name, _ in _names()) + r")\b", re.IGNORECASE)

_COUNTED = re.compile("|".join(re.escape(PHRASES[label]) for label in COUNTED), re.IGNORECASE)


def mentions(text: str) -> list[tuple[int, str]]:
    """(place behind the last character, label) of each sound that a question names."""
    return [(m.end(), _NAMES[m[1].lower()]) for m in _MENTION.finditer(text)]


def asked_of(prompt: str, facts: Sequence[Fact], words: Tokenizer) -> list[tuple[int, int, int, int]]:
    """(token of the prompt, place, count, order) for one prompt; IGNORED where nothing is asked.

    place: 0 not heard, else its number in the order of onsets; count: 0 where not counted, else up to 5; order: at the prompt's last
    token, 1 where the sound that was named first came first, else 0. A sound that came more than once is asked nothing.
    """
    if not prompt.startswith(QUESTION):
        return []
    told = joined(facts)
    encoded = words.encode(prompt)
    found: list[tuple[int, int, int, int]] = []
    places: list[int] = []
    for end, label in mentions(prompt.removesuffix(ANSWER)):
        at = [i + 1 for i, fact in enumerate(told) if fact.label == label]
        if len(at) > 1:
            continue
        token = next(i for i, (a, b) in enumerate(encoded.offsets) if a < end <= b)
        place = at[0] if at else 0
        counted = told[place - 1].count if at and label in COUNTED else 0
        found.append((token, min(place, PLACES - 1), min(counted, COUNTS - 1), IGNORED))
        if at:
            places.append(place)
    if len(places) == 2:
        found.append((len(encoded.ids) - 1, IGNORED, IGNORED, int(places[0] < places[1])))
    return found


def token_weights(text: str, offsets: Sequence[tuple[int, int]]) -> list[float]:
    """One weight for each token of a caption and its end: what follows the phrase of a counted sound says how often it came."""
    ends = {m.end() for m in _COUNTED.finditer(text)}
    return [COUNT_WEIGHT if a in ends else 1.0 for a, _ in offsets] + [1.0]


class Probes(nn.Module):
    """Linear maps from inner states to what is asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place, self.count, self.order = nn.Linear(width, PLACES), nn.Linear(width, COUNTS), nn.Linear(width, 2)

    def loss(self, states: Sequence[Tensor], asked: Tensor) -> Tensor:
        """states: outputs [B, T, width] of the layers; asked int64[B, T, 3]."""
        found = self.place(states[FOUND]), self.count(states[FOUND]), self.order(states[COMPARED])
        losses = [
            functional.cross_entropy(logits.flatten(0, 1), asked[:, :, i].flatten(), ignore_index=IGNORED, reduction="sum")
            / (asked[:, :, i] != IGNORED).sum().clamp(min=1)
            for i, logits in enumerate(found)
        ]
        return torch.stack(losses).sum()
