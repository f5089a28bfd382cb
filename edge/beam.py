"""Beam search: of the texts that a decoder may say, one whose mean log-probability is high, looked for a few hypotheses wide.

Source: Sutskever et al. 2014, section 3.2, with scores divided by the length (Wu et al. 2016, section 7, alpha 1), as transformers does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Hypothesis:
    """tokens so far and the sum of their natural-log probabilities; following: those of the next, float64[vocabulary].

    held: what the decoder needs to go on.
    """

    tokens: tuple[int, ...]
    total: float
    following: NDArray[np.float64]
    held: Any

    @property
    def mean(self) -> float:
        """Log-probability of a token, the end counted."""
        return self.total / max(1, len(self.tokens))


def search(
    first: Hypothesis, step: Callable[[Hypothesis, int], tuple[NDArray[np.float64], Any]], width: int, limit: int, end: Collection[int]
) -> Hypothesis:
    """The best text behind `first`, its end token among its tokens where it was said.

    step: `following` and `held` behind a hypothesis and one more token. width: hypotheses that are followed, >= 1. limit: most tokens.
    """
    running, finished = [first], list[Hypothesis]()
    for _ in range(limit):
        candidates = []
        for hypothesis in running:
            totals = hypothesis.total + hypothesis.following
            best = np.argpartition(-totals, min(2 * width, len(totals) - 1))[: 2 * width]
            candidates += [(float(totals[token]), hypothesis, int(token)) for token in best if np.isfinite(totals[token])]
        candidates.sort(key=lambda candidate: -candidate[0])
        following: list[tuple[float, Hypothesis, int]] = []
        for rank, (total, hypothesis, token) in enumerate(candidates[: 2 * width]):
            if token not in end:
                following.append((total, hypothesis, token))
            elif rank < width:
                finished.append(Hypothesis((*hypothesis.tokens, token), total, hypothesis.following, None))
        if not following:
            running = []
            break
        running = [Hypothesis((*h.tokens, token), total, *step(h, token)) for total, h, token in following[:width]]
        finished = sorted(finished, key=lambda h: -h.mean)[:width]
        if len(finished) == width and running[0].mean <= finished[-1].mean:
            running = []
            break
    return max([*finished, *running], key=lambda h: h.mean, default=first)
