"""A source for tests: an array as the stream, with losses and device changes, at the consumer's pace or as fast as it goes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from edge._native import Ring
from edge.types import Caption, Device, Gap, Record, Session, Status, Vitals

VITALS = 1536
"""Samples between two vitals of the gate."""


class Tape:
    """A `Source` over `samples`, with a real ring. What a Gap in `events` covers is lost: zeros in the ring.

    paced: a live source that runs ahead of what the consumer has acknowledged by no more than one Vitals, as real time would.
    burst: samples written at least at once, which laps readers of a small ring.
    """

    def __init__(
        self,
        samples: np.ndarray,
        events: Sequence[Gap | Device] = (),
        live: bool = False,
        paced: bool = False,
        capacity: int = 1 << 21,
        burst: int = 1,
    ) -> None:
        self.samples, self.live, self.paced, self.burst = samples, live or paced, paced, burst
        self.name, self.anchor_ns = "file:tape", 1_700_000_000_000_000_000
        self.ring = Ring(capacity)
        self.closed = 0
        self._coming = deque(events)
        self._happened: list[Gap | Device] = []
        self._allowed = VITALS
        self._changed = threading.Condition()

    @property
    def ended(self) -> bool:
        return bool(self.closed) or (self.ring.head >= len(self.samples) and not self._coming)

    def fill(self, until: int) -> int:
        until = max(until, self.ring.head + self.burst)
        while self.ring.head < until and not self.ended and not self._happened:
            head = self.ring.head
            stop = min(until, len(self.samples))
            if self._coming:
                stop = min(stop, _position(self._coming[0]))
            if self.paced:
                with self._changed:
                    stop = min(stop, self._allowed)
                    if head >= stop and not (self._coming and head == _position(self._coming[0])):
                        self._changed.wait(0.1)
                        return head
            for at in range(head, stop, self.ring.capacity):
                self.ring.write(self.samples[at : min(stop, at + self.ring.capacity)])
            if self._coming and self.ring.head == _position(self._coming[0]):
                event = self._coming.popleft()
                if isinstance(event, Gap):
                    self.ring.skip(event.stop - event.start)
                    self._allowed += event.stop - event.start
                self._happened.append(event)
        return self.ring.head

    def events(self) -> list[Gap | Device]:
        happened, self._happened = self._happened, []
        return happened

    def acknowledge(self, record: Record | Vitals) -> None:
        """What the consumer of a paced tape calls with everything that it gets."""
        if isinstance(record, Vitals):
            with self._changed:
                self._allowed = record.at + VITALS
                self._changed.notify_all()

    def close(self) -> None:
        self.closed += 1


def _position(event: Gap | Device) -> int:
    return event.start if isinstance(event, Gap) else event.at


def told(records: Iterable[Record | Vitals]) -> list[Record]:
    """Records without what may differ between two runs over the same audio: the session, how long a caption took, how the stream fared."""
    kept = [r for r in records if not isinstance(r, Vitals | Session | Status)]
    return [replace(r, latency=0.0) if isinstance(r, Caption) else r for r in kept]


def finals(records: Iterable[Record | Vitals]) -> list[Record]:
    """Of `told` only what does not depend on how many revisions there was time for: captions but for their last are left out."""
    return [replace(r, revision=0) if isinstance(r, Caption) else r for r in told(records) if not isinstance(r, Caption) or r.final]
