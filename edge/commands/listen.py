"""`auricle listen`: one stream, live, until it ends or someone stops it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from edge.commands import DONE, INTERRUPTED, options
from edge.commands.output import Output
from edge.types import Device, Gap, Source

if TYPE_CHECKING:
    from edge._native import Ring
    from edge.config import Config


def run(arguments: argparse.Namespace) -> int:
    """Writes records until the source ends (0), or until SIGINT or SIGTERM, after which what is open is still finished (130)."""
    config = options.config(arguments)
    form = config.format or "live"
    with ExitStack() as stack:
        # A wrong file name is told at once; a microphone is opened only when somebody can listen to it.
        source = _file(arguments.input) if arguments.input else None
        if source is not None:
            stack.callback(source.close)
        line = stack.enter_context(options.line(config))
        if source is None:
            source = _microphone(config)
            stack.callback(source.close)
        stoppable = Stoppable(source)
        output = stack.enter_context(Output(form, arguments.output))
        with _stopped_by_signals(stoppable), closing(line.run(stoppable)) as records:
            for record in records:
                output.write(record)
                if form not in ("live", "jsonl") and isinstance(record, (Device, Gap)):
                    _tell(record)
    return INTERRUPTED if stoppable.stopped else DONE


def _file(path: str) -> Source:
    from edge.capture import AudioFile

    return AudioFile(path, realtime=True)


def _microphone(config: Config) -> Source:
    from edge.capture import Microphone

    return Microphone(config.device)


def _tell(record: Device | Gap) -> None:
    """Formats that have no place for losses must not hide them."""
    from edge.sinks.record import as_dict

    shown = as_dict(record)
    if isinstance(record, Gap):
        text = f"{shown['end'] - shown['start']:.3f} s were lost at {shown['start']:.3f} s ({record.reason})"
    else:
        text = f"{shown['name']}: {record.state}" + (f", {shown['detail']}" if record.detail else "")
    print(f"auricle: {text}", file=sys.stderr)


class Stoppable:
    """A source that ends as soon as stop() was called, so that the line finishes what is open instead of breaking off.

    stop() may be called from a signal handler; it only sets a flag, which fill() sees within its 100 ms.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.ring: Ring = source.ring
        self.live = source.live
        self.name = source.name
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    @property
    def anchor_ns(self) -> int:
        return self._source.anchor_ns

    def fill(self, until: int) -> int:
        return self.ring.head if self.stopped else self._source.fill(until)

    @property
    def ended(self) -> bool:
        return self.stopped or self._source.ended

    def events(self) -> list[Gap | Device]:
        return self._source.events()

    def close(self) -> None:
        self._source.close()


@contextmanager
def _stopped_by_signals(source: Stoppable) -> Iterator[None]:
    """The first SIGINT or SIGTERM stops the source; the second one breaks off."""

    def stop(number: int, frame: FrameType | None) -> None:
        if source.stopped:
            raise KeyboardInterrupt
        source.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
