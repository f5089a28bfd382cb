"""How far a file has come, on a terminal's standard error; nothing anywhere else."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from edge.types import SAMPLE_RATE

if TYPE_CHECKING:
    from edge._native import Ring

REDRAW_S = 0.1
CELLS = 24


class Progress:
    """A bar that a thread of its own redraws from the ring's head, because records may be minutes apart. A context manager."""

    def __init__(self, title: str, shown: bool) -> None:
        self._title = "".join(c if c.isprintable() else "?" for c in title)
        self._shown = shown
        self._drawn = False
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, ring: Ring, duration: int) -> None:
        """Starts drawing. duration: samples that the ring's head will reach."""
        if self._shown:
            self._thread = threading.Thread(target=self._draw, args=(ring, max(1, duration)), name="auricle-progress", daemon=True)
            self._thread.start()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the bar away while something else is written to what may be the same terminal."""
        with self._lock:
            self._erase()
            yield

    def _draw(self, ring: Ring, duration: int) -> None:
        started = time.monotonic()
        while not self._done.wait(REDRAW_S):
            share = min(1.0, ring.head / duration)
            speed = ring.head / SAMPLE_RATE / (time.monotonic() - started)
            bar = "#" * round(share * CELLS) + "." * (CELLS - round(share * CELLS))
            line = f"{self._title[:32]} [{bar}] {share:4.0%} {speed:.0f}x real time"
            with self._lock:
                if not self._done.is_set():
                    sys.stderr.write("\r\x1b[K" + line[: max(20, shutil.get_terminal_size().columns - 1)])
                    sys.stderr.flush()
                    self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self._erase()
