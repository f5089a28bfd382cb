"""Subtitles, SRT and WebVTT: each final caption as one cue, or as several when it is too long for two lines.

Where the times of words are known, a cue stands from its first word to the next one's; else a caption's time is divided by characters.

Sources: WebVTT, W3C Candidate Recommendation 2019, section 4 (cue text escapes); SRT has no specification, so what players take for
markup is replaced by look-alikes. Line length: 42 characters, two lines, as the BBC and Netflix timed-text guides ask.
"""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from typing import TextIO

from edge.sinks.record import clock, milliseconds, printable
from edge.types import Caption, Record, Session, Vitals

LINE_CHARACTERS = 42
LINES = 2

_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SRT = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")"})


class Subtitles:
    """Writes cues whose times never step back within a stream and last at least 1 ms.

    form: "srt" or "vtt". headed: several streams follow in one document: cue numbers go on, times start anew, WebVTT names each
    in a NOTE.
    """

    def __init__(self, stream: TextIO, form: str, headed: bool = False) -> None:
        self._stream, self._vtt, self._headed = stream, form == "vtt", headed
        self._count = 0
        self._free_ms = 0
        if self._vtt:
            self._put("WEBVTT\n\n")

    def write(self, record: Record | Vitals) -> None:
        if isinstance(record, Session):
            self._free_ms = 0
            if self._vtt and self._headed:
                self._put(f"NOTE {' '.join(printable(record.source).split()).translate(_VTT)}\n\n")
        elif isinstance(record, Caption) and record.final:
            self._caption(record)

    def _caption(self, caption: Caption) -> None:
        lines = textwrap.wrap(" ".join(printable(caption.text).split()), LINE_CHARACTERS, break_on_hyphens=False)
        cues = [lines[i : i + LINES] for i in range(0, len(lines), LINES)]
        # Pre-roll may reach back into the turn before; its cue keeps its time.
        start = max(milliseconds(caption.start), self._free_ms)
        by_words = _heard(caption, cues, start) if caption.words and cues else []
        bounds = by_words or _divided(cues, start, max(milliseconds(caption.stop) - start, len(cues)))
        for cue, begin, end in zip(cues, bounds, bounds[1:], strict=False):
            self._cue(begin, end, cue)
            self._free_ms = end

    def _cue(self, begin_ms: int, end_ms: int, lines: list[str]) -> None:
        self._count += 1
        mark = "." if self._vtt else ","
        text = "\n".join(lines).translate(_VTT if self._vtt else _SRT)
        self._put(f"{self._count}\n{clock(begin_ms, mark)} --> {clock(end_ms, mark)}\n{text}\n\n")

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


def _divided(cues: list[list[str]], start: int, span: int) -> list[int]:
    """Where each cue begins and the last one ends, in milliseconds: a caption's time by the length of its parts."""
    total, shown, bounds = sum(len(line) for cue in cues for line in cue), 0, [start]
    for at, cue in enumerate(cues, 1):
        shown += sum(map(len, cue))
        bounds.append(start + (span - len(cues)) * shown // total + at)
    return bounds


def _heard(caption: Caption, cues: list[list[str]], start: int) -> list[int]:
    """The same by the times of words; empty where a cue has none. Sounds in brackets go with the word before them."""
    squeezed = ["".join("".join(cue).split()) for cue in cues]
    whole, places, at = "".join(squeezed), list[int](), 0
    for word in caption.words:
        at = whole.find(printable(word.text), at)
        if at < 0:
            return []
        places.append(at)
        at += 1
    bounds, offset = [start], len(squeezed[0])
    for cue in squeezed[1:]:
        first = bisect_left(places, offset)
        offset += len(cue)
        if first == len(places) or places[first] >= offset:
            return []
        bounds.append(max(bounds[-1] + 1, milliseconds(caption.words[first].start)))
    return [*bounds, max(bounds[-1] + 1, milliseconds(caption.stop))]
