"""Rows of a sound that grows, for an encoder whose rows hear only so far before and behind them (Moonshine streaming): what cannot change
any more is kept, and a view encodes its end alone, with as much before it as its rows hear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.types import Samples, TensorModel

Arrays = dict[str, NDArray[Any]]
FIRST_ROW = "first_row"


@dataclass(frozen=True, slots=True)
class Reach:
    """row: samples in a row. left: rows before it that a row hears, right: behind it; less than these and it is another one."""

    row: int
    left: int
    right: int


class Growing:
    """Outputs of `model` for sounds, of which one may be the last with more at its end; one thread. reach: None encodes each as a whole."""

    def __init__(self, model: TensorModel, reach: Reach | None) -> None:
        self._model, self._reach = model, reach
        self._found: Arrays = {}
        self._rows, self._heard = 0, np.zeros(0, np.float32)

    def outputs(self, samples: Samples, feed: Mapping[str, NDArray[Any]], name: str) -> Arrays:
        """Outputs for float32[n].

        feed: the model's inputs; `name` is the one that is made of the samples. Rows are the second axis of `last_hidden_state`, the last
        of keys and the one before it of values.
        """
        if self._reach is None:
            return self._model.run(feed)
        goes_on = np.array_equal(samples[: len(self._heard)], self._heard)
        kept = max(0, self._rows - self._reach.right) if goes_on else 0
        first = max(0, kept - self._reach.left)
        begin = first * self._reach.row
        given = {**feed, name: np.ascontiguousarray(samples[begin:])[None], FIRST_ROW: np.array([first], np.int64)}
        found = self._model.run(given)
        if first:
            ends = {n: (_part(self._found[n], n, 0, kept), _part(a, n, kept - first, None)) for n, a in found.items()}
            found = {n: np.concatenate(both, _axis(n)) for n, both in ends.items()}
        self._found, self._heard = found, samples
        self._rows = found["last_hidden_state"].shape[1]
        return found


def _axis(name: str) -> int:
    return 1 if name == "last_hidden_state" else 3 if name.endswith("key") else 2


def _part(array: NDArray[Any], name: str, begin: int, stop: int | None) -> NDArray[Any]:
    return array[(slice(None),) * _axis(name) + (slice(begin, stop),)]
