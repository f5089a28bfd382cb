"""Spans of speech from probabilities, as Silero's VADIterator and get_speech_timestamps (silero-vad 6.2.3) find them."""

from __future__ import annotations

from edge.level import CHUNK
from edge.types import SAMPLE_RATE, Speech


class SpeechSpans:
    """Hysteresis over the probabilities of one stream, chunk by chunk; one thread.

    enter, leave: probability at which a span begins, and below which it ends. min_speech_ms: shorter spans are dropped.
    min_silence_ms: shorter pauses do not end a span. pad_ms: added at both ends; two spans never overlap, none ends beyond what was heard.
    start: sample where the open span began (without padding), or None. long_enough: it has outlived min_speech_ms.
    """

    def __init__(self, enter: float, leave: float, min_speech_ms: int, min_silence_ms: int, pad_ms: int) -> None:
        self._enter, self._leave = enter, leave
        self._min_speech = min_speech_ms * SAMPLE_RATE // 1000
        self._min_silence = min_silence_ms * SAMPLE_RATE // 1000
        self._pad = pad_ms * SAMPLE_RATE // 1000
        self._quiet: int | None = None
        self._stop = 0
        self.start: int | None = None
        self.long_enough = False

    def update(self, at: int, probability: float) -> Speech | None:
        """Takes in the chunk that begins at sample `at`; returns the span that it ends, if any."""
        if probability >= self._enter:
            self._quiet = None
            if self.start is None:
                self.start = at
        if self.start is None:
            return None
        if probability < self._leave:
            if self._quiet is None:
                self._quiet = at
            if at - self._quiet >= self._min_silence:
                return self._close(self._quiet, min(self._quiet + self._pad, at + CHUNK))
        self.long_enough = (at + CHUNK if self._quiet is None else self._quiet) - self.start > self._min_speech
        return None

    def cut(self, at: int) -> Speech | None:
        """Ends the span that is open at sample `at`, where the audio breaks off."""
        return None if self.start is None else self._close(at, at)

    def _close(self, end: int, stop: int) -> Speech | None:
        assert self.start is not None
        start, self.start, self._quiet, self.long_enough = self.start, None, None, False
        begin = max(start - self._pad, self._stop, 0)
        if end - start <= self._min_speech or begin >= stop:  # the padding of the span before may have covered it
            return None
        self._stop = stop
        return Speech(begin, stop)
