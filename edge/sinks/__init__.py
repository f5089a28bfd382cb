"""Where records leave: JSON lines, text, subtitles, a live terminal. Sample positions become seconds here and only here.

A caption is data that a microphone wrote: control characters, markup and length are taken care of by each sink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from edge.types import Record, Vitals

FORMATS = ("live", "jsonl", "text", "srt", "vtt")
EXTENSIONS = {"live": "txt", "jsonl": "jsonl", "text": "txt", "srt": "srt", "vtt": "vtt"}


class Sink(Protocol):
    """Takes the records of one or several streams in order, each stream opened by its Session. One thread at a time.

    write() has handed the record to the operating system when it returns; it raises OSError when that fails. close() ends the document
    and leaves the stream open: it belongs to the caller.
    """

    def write(self, record: Record | Vitals) -> None: ...

    def close(self) -> None: ...


def open_sink(form: str, stream: TextIO, several: bool = False) -> Sink:
    """The sink for one of FORMATS on a text stream (UTF-8). several: more than one file follows, so that each is introduced by its name.

    `live` on anything but a terminal gives the lines of `text`. Raises: ValueError for an unknown format.
    """
    if form == "jsonl":
        from edge.sinks.jsonl import JsonLines

        return JsonLines(stream)
    if form in ("srt", "vtt"):
        from edge.sinks.subtitles import Subtitles

        return Subtitles(stream, form, several)
    if form == "live":
        from edge.sinks.live import Live, is_terminal

        if is_terminal(stream):
            return Live(stream)
    if form in ("live", "text"):
        from edge.sinks.text import Text

        return Text(stream, several)
    raise ValueError(f"format {form!r} is not one of {', '.join(FORMATS)}")
