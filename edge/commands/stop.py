"""How SIGINT and SIGTERM end a command whose work is under way: not by an exception, but by a source that ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from edge.types import Device, Gap, Source

if TYPE_CHECKING:
    from edge._native import Ring


class Stop:
    """Whether someone has asked for the end."""

    def __init__(self) -> None:
        self.asked = False


class Stoppable:
    """A source that ends as soon as the end is asked for, so that the line finishes what is open instead of breaking off.

    A signal only sets a flag, which fill() of a live source sees within its 100 ms.
    """

    def __init__(self, source: Source, stop: Stop) -> None:
        self._source, self._stop = source, stop
        self.ring: Ring = source.ring
        self.live = source.live
        self.name = source.name

    @property
    def anchor_ns(self) -> int:
        return self._source.anchor_ns

    def fill(self, until: int) -> int:
        return self.ring.head if self._stop.asked else self._source.fill(until)

    @property
    def ended(self) -> bool:
        return self._stop.asked or self._source.ended

    def events(self) -> list[Gap | Device]:
        return self._source.events()

    def close(self) -> None:
        self._source.close()


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks for the end; the second one breaks off."""
    asked = Stop()

    def stop(number: int, frame: FrameType | None) -> None:
        if asked.asked:
            raise KeyboardInterrupt
        asked.asked = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
