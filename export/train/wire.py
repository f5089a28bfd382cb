"""One attention head of the language model set by least squares to copy the word that was said, from where "says" stands.

Which of 36 words a row of evidence names is seldom asked, and attention and what it copies are both useless without the other: after
2,400 batches every digit was still told as the same one. So one head of the last layer is set from the model's own hidden states: its key
is what sets rows with a word apart, its query what sets the token before a word apart, its value which word it is, its output
that word's tokens. Fitting goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from export.train.evidence import columns
from export.train.labels import WORDS
from export.train.language import FINAL, describe
from export.train.prime import tokens_of
from export.train.timelines import Example

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from export.train.fit_language import Speaker

HEAD = 3
MATCH = 6.0
"""How far the logit of attention to a row with a word stands above that to others."""
LOUDNESS = 0.8
"""Norm of what is copied, as a share of the state that it is added to."""


@torch.no_grad()
def wire_words(speaker: Speaker, words: Tokenizer, turns: Sequence[Example]) -> None:
    """Sets head HEAD of the last layer, in place. turns: some in which words are said, each word several times."""
    decoder, at = speaker.decoder, columns("word")
    last, size = decoder.layers[-1], decoder.shape.width // decoder.shape.heads
    known = {token: i for i, word in enumerate(WORDS) for token in tokens_of(words, word)}
    rows: list[Tensor] = []
    spoken: list[int] = []
    asking: list[Tensor] = []
    plain_rows: list[Tensor] = []
    plain_tokens: list[Tensor] = []
    norms: list[float] = []
    for turn in turns:
        ids = words.encode(FINAL).ids + words.encode(describe(turn.facts, True)).ids
        prefix = speaker.projector(torch.from_numpy(turn.evidence)[None])
        x = torch.cat((prefix, decoder.embed(torch.tensor(ids))[None]), dim=1)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        for layer in decoder.layers[:-1]:
            x = layer(x, torch.arange(x.shape[1])[None], mask)
        states = last.attn_norm(x)[0]
        said = torch.from_numpy(turn.evidence[:, at])
        for i in range(len(said)):
            if said[i].max() > 0.5:
                rows.append(states[i])
                spoken.append(int(said[i].argmax()))
            else:
                plain_rows.append(states[i])
        for i in range(len(ids)):
            following = ids[i + 1] if i + 1 < len(ids) else -1
            state = states[len(said) + i]
            (asking if following in known else plain_tokens).append(state)
            if following in known:
                norms.append(float(x[0, len(said) + i].norm()))
    heard, which = torch.stack(rows), torch.tensor(spoken)
    others, silent, waiting = torch.stack(plain_rows), torch.stack(plain_tokens), torch.stack(asking)
    key = _direction(heard, torch.ones(len(heard), 1), others, 1e-2)[0]
    query = _direction(waiting, torch.ones(len(waiting), 1), silent, 1e-2)[0]
    reader = _direction(heard, torch.eye(len(WORDS))[which], torch.cat((others, silent, waiting)), 1e-3)
    basis = torch.linalg.qr(torch.randn(size, len(WORDS), generator=torch.Generator().manual_seed(1)))[0]
    tokens = torch.stack([decoder.embed.weight[tokens_of(words, word)].mean(dim=0) for word in WORDS], dim=1)
    tokens = tokens - tokens.mean(dim=1, keepdim=True)
    tokens = tokens / tokens.norm(dim=0) * (LOUDNESS * sum(norms) / len(norms))
    part = slice(HEAD * size, (HEAD + 1) * size)
    for weight in (last.q.weight, last.k.weight):
        weight[part] = 0
    # The pair that turns slowest: a match that does not depend on the distance.
    slow = HEAD * size + size - 2
    scale = (MATCH * size**0.5) ** 0.5
    last.q.weight[slow], last.k.weight[slow] = scale * query, scale * key
    last.v.weight[part] = basis @ reader
    last.o.weight[:, part] = tokens @ basis.T


def _direction(these: Tensor, wanted: Tensor, others: Tensor, ridge: float) -> Tensor:
    """[K, width]: least squares with a ridge: `wanted` [N, K] for these states, 0 for the others, both sides weighing the same."""
    x = torch.cat((these, others))
    y = torch.cat((wanted, torch.zeros(len(others), wanted.shape[1])))
    weight = torch.cat((torch.full((len(these), 1), 0.5 / len(these)), torch.full((len(others), 1), 0.5 / len(others))))
    return torch.linalg.solve((x * weight).T @ x + ridge * torch.eye(x.shape[1]), (x * weight).T @ y).T
