"""When a live stream began by the wall clock, as that clock stands now.

Positions are counted in samples: they know nothing of a clock that is set (a board without a battery is told the time by the network,
minutes after it began to listen), of a machine that slept, or of a sound card that runs 100 ppm slow, which is nine seconds a day.
"""

from __future__ import annotations

from edge.types import SAMPLE_RATE

NS = 1_000_000_000
WINDOW = 10 * SAMPLE_RATE
"""Samples over which the least late one is sought: they come late, never early."""
LIMIT_NS, AGREE_NS = NS // 2, NS // 4
"""What differs by more is told once two windows agree so closely: the first may lie on both sides of a step, or in a moment of stress."""
USUAL_NS = -NS // 4, 3 * NS // 2
"""By so much sound is late when all is well; the first window says how much of it."""


class WallClock:
    """begin_ns: Unix time of sample 0 in nanoseconds, at first as the source says, then as the clock has been set since."""

    def __init__(self, begin_ns: int) -> None:
        self.begin_ns = begin_ns
        self._until: int | None = None
        self._least: int | None = None
        self._before: int | None = None
        self._usual: int | None = None
        self._moved = 0

    def see(self, at: int, unix_ns: int) -> None:
        """Sample `at` was there at that time."""
        begin = unix_ns - at * NS // SAMPLE_RATE
        self._until = at + WINDOW if self._until is None else self._until  # a stream may begin with an outage
        if at >= self._until and self._least is not None:
            self._close(self._least)
            self._until, self._least = at + WINDOW, None
        self._least = begin if self._least is None else min(self._least, begin)

    def _close(self, least: int) -> None:
        if self._usual is None:
            late = least - self.begin_ns
            self._usual = late if USUAL_NS[0] <= late <= USUAL_NS[1] else 0
        moved = least - self._usual - self.begin_ns
        if abs(moved) > LIMIT_NS and self._before is not None and abs(least - self._before) < AGREE_NS:
            self.begin_ns += moved
            self._moved += moved
        self._before = least

    def moved_s(self) -> float:
        """Seconds by which the beginning was moved since the last call: above 0 where the clock was put forward."""
        moved, self._moved = self._moved, 0
        return moved / NS
