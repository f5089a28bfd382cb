"""The live view: finals scroll up as lines, under them the open caption changes in place, under that one line of vitals.

Of what stands there only the words that changed are written anew, so that committed text never flickers, not even over a slow line. Only
ECMA-48 sequences that every terminal since the VT100 knows; nothing that a caption says reaches the terminal as a sequence.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from edge.sinks.cells import fit, wrap
from edge.sinks.record import clock, milliseconds, printable
from edge.types import Caption, Device, Gap, Record, Session, Sound, Status, Vitals

REDRAW_S = 0.1
METER_CELLS = 16
METER_DBFS = (-72.0, 0.0)
OPEN_LINES = 6
BEHIND_S = 1.0
"""A lag that is worth a word."""

_HIDE, _SHOW, _ERASE, _REST, _DIM, _BOLD, _PLAIN = "\x1b[?25l", "\x1b[?25h", "\x1b[J", "\x1b[K", "\x1b[2m", "\x1b[1m", "\x1b[0m"
_ONE_CELL = "\u02ff"
"""Up to here every terminal gives a character one cell; behind a text with others no place is certain."""


class Row(NamedTuple):
    """A line that changes in place: from `sure` on it is dim. marked: its first character is bold."""

    text: str
    sure: int
    marked: bool = False

    def written(self, begin: int = 0) -> str:
        """What draws it from that character on."""
        mark = 1 if self.marked and begin == 0 else 0
        at = max(begin + mark, self.sure)
        bold, dim = (_BOLD + self.text[:1] + _PLAIN) * mark, _DIM + self.text[at:] + _PLAIN if at < len(self.text) else ""
        return bold + self.text[begin + mark : at] + dim

    def after(self, before: Row) -> str:
        """What makes this line of the one that stands there, from the beginning of the first word that differs."""
        pairs = zip(self.text, before.text, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.text), len(before.text)))
        if self.sure != before.sure:
            same = min(same, self.sure, before.sure)
        if same == len(self.text) == len(before.text):
            return ""
        begin = same if self.text[same : same + 1] == " " else self.text.rfind(" ", 0, same) + 1
        if any(character > _ONE_CELL for character in self.text[:begin] + before.text):
            return "\r" + self.written() + _REST
        forward = f"\x1b[{begin}C" if begin else ""
        return "\r" + forward + self.written(begin) + ("" if self.text.startswith(before.text) else _REST)


def is_terminal(stream: TextIO) -> bool:
    """True if the view can be redrawn on `stream`."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


class Live:
    """Draws on a terminal. monotonic: the clock that limits how often vitals are redrawn. close() shows the cursor again."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._monotonic = stream, monotonic
        self._caption: Caption | None = None
        self._sounds: dict[int, str] = {}
        self._vitals: Vitals | None = None
        self._now_ms = 0
        self._lag_s = 0.0
        self._rows: list[Row] = []
        self._drawn_width = 0
        self._drawn_at = -math.inf
        self._stream.write(_HIDE)
        self._blocks = tuple("█░●○" if "utf" in (getattr(stream, "encoding", "") or "").lower() else "#-*.")

    def write(self, record: Record | Vitals) -> None:
        if isinstance(record, Vitals):
            self._vitals = record
            self._now_ms = milliseconds(record.at)
            if self._monotonic() - self._drawn_at >= REDRAW_S:
                self._draw()
            return
        lines = self._take(record)
        self._draw(lines)

    def _take(self, record: Record) -> list[str]:
        """Keeps what the record changes; returns the lines that it leaves for good."""
        if isinstance(record, Session):
            self._caption, self._sounds, self._vitals = None, {}, None
            return [_DIM + fit(f"{printable(record.source)} · {record.bundle} {record.bundle_version}", self._width()) + _PLAIN]
        if isinstance(record, Caption):
            self._caption = None if record.final else record
            return self._final(record) if record.final and record.text.strip() else []
        if isinstance(record, Sound):
            if record.stop is None:
                self._sounds[record.id] = ("! " if record.priority else "") + printable(record.label)
                return [self._alert(record)] if record.priority else []
            else:
                self._sounds.pop(record.id, None)
        elif isinstance(record, Status):
            self._lag_s = record.lag_s
        elif isinstance(record, Gap):
            lost = milliseconds(record.stop) - milliseconds(record.start)
            return [self._note(record.start, f"{lost / 1000:.3f} s lost ({record.reason})")]
        elif isinstance(record, Device):
            return [self._note(record.at, f"{record.name}: {record.state}" + (f", {record.detail}" if record.detail else ""))]
        return []

    def _final(self, caption: Caption) -> list[str]:
        stamp = clock(milliseconds(caption.start))[:-2]
        text = " ".join(printable(caption.text).split())
        lines = wrap(text, max(10, self._width() - len(stamp) - 2))
        return [f"{_DIM}{stamp if i == 0 else ' ' * len(stamp)}{_PLAIN}  {text[a:b]}" for i, (a, b) in enumerate(lines)]

    def _alert(self, sound: Sound) -> str:
        return _BOLD + fit(f"{clock(milliseconds(sound.start))[:-2]}  ! {printable(sound.label)}", self._width()) + _PLAIN

    def _note(self, at: int, text: str) -> str:
        return _DIM + fit(f"{clock(milliseconds(at))[:-2]}  -- {printable(text)}", self._width()) + _PLAIN

    def _draw(self, permanent: list[str] | None = None) -> None:
        # In one write, so that a redraw is never seen half done.
        rows, width = [*self._open(), Row(self._status(), self._width())], self._width()
        if permanent or len(rows) != len(self._rows) or width != self._drawn_width:
            drawn = self._back() + "".join(line + "\n" for line in permanent or []) + "\n".join(row.written() for row in rows)
        else:
            drawn = self._changes(rows)
        if drawn:
            self._stream.write(drawn)
            self._stream.flush()
        self._rows, self._drawn_width, self._drawn_at = rows, width, self._monotonic()

    def _changes(self, rows: list[Row]) -> str:
        """From the last line up to each that changed, and back down."""
        drawn, last = "", len(rows) - 1
        for index, (row, before) in enumerate(zip(rows, self._rows, strict=True)):
            if change := row.after(before):
                up, down = (f"\x1b[{last - index}{way}" if index < last else "" for way in "AB")
                drawn += up + change + down
        return drawn

    def _back(self) -> str:
        return "\r" + (f"\x1b[{len(self._rows) - 1}A" if len(self._rows) > 1 else "") + _ERASE

    def _open(self) -> list[Row]:
        """The open caption: what is committed plain, the rest dim; of a long one the newest lines."""
        if self._caption is None or not self._caption.text.strip():
            return []
        text, committed = printable(self._caption.text), self._caption.committed
        lines = []
        for a, b in wrap(text, max(10, self._width() - 2)):
            lines.append(Row("> " + text[a:b], 2 + min(max(committed, a), b) - a, marked=True))
        return lines[-OPEN_LINES:]

    def _status(self) -> str:
        vitals = self._vitals
        full, empty, on, off = self._blocks
        level = vitals.level_dbfs if vitals else METER_DBFS[0]
        low, high = METER_DBFS
        filled = min(METER_CELLS, max(0, round((level - low) / (high - low) * METER_CELLS)))
        gate = (vitals.gate if vitals else None) or "quiet"
        badges = "".join(f" [{label}]" for label in self._sounds.values())
        meter = full * filled + empty * (METER_CELLS - filled)
        behind = f" {self._lag_s:.0f} s behind" if self._lag_s >= BEHIND_S else ""
        line = f"{clock(self._now_ms)[:-4]} {meter} {level:4.0f} dBFS {off if gate == 'quiet' else on} {gate:<6}{behind}{badges}"
        return fit(line, self._width())

    def _width(self) -> int:
        # One column stays free: a full line would wrap, and the way back up would be miscounted.
        return max(20, shutil.get_terminal_size().columns - 1)

    def close(self) -> None:
        self._stream.write((self._back() if self._rows else "") + _PLAIN + _SHOW)
        self._stream.flush()
        self._rows = []
