"""The last minutes of a stream as the encoder's rows, for questions about what was just heard. In RAM only, bounded in time and in bytes.

Rows are kept turn by turn, as the captioner got them, in float16: a question is put to the rows of one turn, for the rows of two do not
follow each other for a language model that hears turn by turn.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgeError
from edge.types import SAMPLE_RATE, Encoding, Samples, Turn

MOST_BYTES = 16 << 20
NOTHING = np.zeros((0, 0), np.float32)


@dataclass(slots=True)
class Remembered:
    """One turn: [start, stop) in samples of the stream, its rows so far (float16[T, D] parts), one for each `hop` samples."""

    id: int
    start: int
    stop: int
    hop: int
    parts: list[NDArray[np.float16]] = field(default_factory=list)
    bytes: int = 0
    """Of the rows."""


class Memory:
    """Written by one thread, read by any. seconds: how long a turn is kept behind its end.

    whole: each encoding holds all rows of its turn.
    """

    def __init__(self, seconds: float, whole: bool = False, most_bytes: int = MOST_BYTES) -> None:
        self._kept, self._whole, self._most = round(seconds * SAMPLE_RATE), whole, most_bytes
        self._lock = threading.Lock()
        self._turns: deque[Remembered] = deque()
        self._now = 0
        self.bytes = 0
        """What the rows take. Counted along: to add it up for every view took 1.4 % of all CPU."""

    def take(self, turn: Turn, encoding: Encoding) -> None:
        """The rows of one view of a turn."""
        with self._lock:
            self._take(turn, encoding)

    def passed(self, at: int) -> None:
        """The stream has come to sample `at`, whether anything was heard or not."""
        with self._lock:
            self._now = max(self._now, at)

    def _take(self, turn: Turn, encoding: Encoding) -> None:
        self._now = max(self._now, turn.stop)
        if not self._turns or self._turns[-1].id != turn.id:
            self._turns.append(Remembered(turn.id, turn.start, turn.stop, encoding.hop))
        last = self._turns[-1]
        last.stop = turn.stop
        if len(encoding.vectors):
            rows, gone = encoding.vectors.astype(np.float16), 0
            if self._whole:
                gone = last.bytes
                last.parts.clear()
            last.parts.append(rows)
            last.bytes += rows.nbytes - gone
            self.bytes += rows.nbytes - gone
        while len(self._turns) > 1 and (self._turns[0].stop < self._now - self._kept or self.bytes > self._most):
            self.bytes -= self._turns.popleft().bytes

    def newest(self, seconds: float) -> tuple[int, Encoding]:
        """(first sample, rows) of the newest turn with rows, not older than so many seconds. Raises: EdgeError where there is none."""
        return self.turns(seconds)[-1]

    def turns(self, seconds: float) -> list[tuple[int, Encoding]]:
        """(first sample, rows) of every turn with rows that is not older than so many seconds, the oldest first.

        Raises: EdgeError where there is none.
        """
        found = []
        with self._lock:
            age = round(seconds * SAMPLE_RATE)
            for turn in self._turns:
                newest = turn is self._turns[-1]  # it is kept in any case
                if turn.stop >= self._now - (age if newest else min(age, self._kept)) and turn.parts:
                    rows: Samples = np.concatenate(turn.parts).astype(np.float32)
                    found.append((turn.start, Encoding(0, turn.stop - turn.start, rows, turn.hop, NOTHING, turn.hop)))
        if not found:
            raise EdgeError(f"nothing was heard in the last {seconds:g} s that is still kept; ask sooner, or raise memory_s")
        return found
