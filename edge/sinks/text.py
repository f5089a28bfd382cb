"""Plain lines: each caption once, when it is final, behind the time at which it starts; a sound of priority at once, behind a mark."""

from __future__ import annotations

from typing import TextIO

from edge.sinks.record import clock, milliseconds, printable
from edge.types import Caption, Record, Session, Sound, Vitals


class Text:
    """Writes `HH:MM:SS.mmm text` for each final caption that says something, `HH:MM:SS.mmm ! label` as soon as a sound of priority begins.

    headed: a line names each stream first.
    """

    def __init__(self, stream: TextIO, headed: bool = False) -> None:
        self._stream = stream
        self._headed = headed

    def write(self, record: Record | Vitals) -> None:
        if isinstance(record, Session) and self._headed:
            self._line(f"# {printable(record.source)}")
        elif isinstance(record, Sound) and record.priority and record.stop is None:
            self._line(f"{clock(milliseconds(record.start))} ! {printable(record.label)}")
        elif isinstance(record, Caption) and record.final:
            text = " ".join(printable(record.text).split())
            if text:
                self._line(f"{clock(milliseconds(record.start))} {text}")

    def _line(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
