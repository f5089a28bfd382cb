"""Where the language model starts: what names a sound lies near the evidence of it.

A small decoder on a CPU sees too few texts to find by itself that the row which says "siren" and the token "siren" have to do with each
other: from random weights a final caption of a simulated turn cost 14.9 nats after 400 batches, from these 8.9 (turns were a little
shorter by then; yes/no questions stayed at chance either way until more of them were asked in each batch). So each label, digit, letter
and number has a direction of its own; the tokens of its names and its columns of the evidence begin there. Attention begins as a match of
like with like and a copy of what is matched (mimetic initialization, Trockman and Kolter 2023). All of it is free to move.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from export.train.evidence import columns
from export.train.labels import COUNTED, STARTER_LABELS, WORDS
from export.train.language import PHRASES, TIMES
from export.train.nouns import DID, NOUNS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from export.train.fit_language import Speaker

SPREAD = 0.05
"""Standard deviation of an embedding's values."""


def names(label: str) -> set[str]:
    """The words that are used of this label and of no other."""

    def words(of: str) -> set[str]:
        texts = [PHRASES.get(of, ""), *NOUNS.get(of, ()), DID.get(of, "")]
        return {word for text in texts for word in re.findall("[a-z]+", text)}

    others: set[str] = set().union(*(words(other) for other in STARTER_LABELS if other != label))
    return words(label) - others


def tokens_of(words: Tokenizer, name: str) -> list[int]:
    """Ids of the tokens that are this word alone: inside a sentence, at its beginning, in capitals."""
    found = []
    for text in (f" {name}", f" {name.capitalize()}", name.capitalize(), f" {name.upper()}", name.upper()):
        ids = words.encode(text).ids
        if len(ids) == 1:
            found.append(ids[0])
    return found


@torch.no_grad()
def prime(speaker: Speaker, words: Tokenizer, seed: int) -> None:
    """Sets the first weights of projector and decoder, in place."""
    rng = torch.Generator().manual_seed(seed)
    width = speaker.decoder.shape.width

    def direction() -> Tensor:
        return torch.randn(width, generator=rng) * SPREAD

    embed, at = speaker.decoder.embed.weight, columns
    labels, said = {label: direction() for label in STARTER_LABELS}, {word: direction() for word in WORDS}
    often = {times: direction() for times in range(1, 6)}
    known = [(name, labels[label]) for label in STARTER_LABELS for name in names(label)] + list(said.items())
    known += [(name, often[times]) for times, name in ((1, "once"), (2, "twice"), (3, "three"), (4, "four"), (5, TIMES[5].split()[0]))]
    for name, base in known:
        for token in tokens_of(words, name):
            embed[token] = 0.8 * base + 0.6 * embed[token]
    direct = speaker.projector.direct.weight
    direct *= 0.4
    turned = [torch.linalg.qr(torch.randn(width, width, generator=rng))[0] for _ in range(4)]
    for i, label in enumerate(STARTER_LABELS):
        direct[:, at("event").start + i] = 2.0 * labels[label]
        for turn, group in zip(turned, ("follows", "told", "active", "loud"), strict=True):
            direct[:, at(group).start + i] = turn @ labels[label]
    for i, word in enumerate(WORDS):
        direct[:, at("word").start + i] = 2.0 * said[word]
    for i, label in enumerate(COUNTED):
        direct[:, at("counted").start + i] = 1.5 * (turned[1] @ labels[label])
    for i in range(5):
        direct[:, at("count").start + i] = 1.5 * often[i + 1]
    for layer in speaker.decoder.layers:
        layer.k.weight.copy_(layer.q.weight)
        layer.o.weight.copy_(layer.v.weight.T)
