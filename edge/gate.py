"""The gate: from blocks of audio to turns, a state machine on integers.

Each chunk of 32 ms climbs as far as it must: its level is always measured; voice activity is asked only about audible chunks and while
a turn is open. Two audible chunks in a row open the gate, or one that is `click_db` above the floor (a knock), or speech. What the
gate says depends on the samples alone, never on how they were cut into blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.level import CHUNK, Level
from edge.speech import SpeechSpans
from edge.types import SAMPLE_RATE, AudioBlock, Cause, Meter, OpenedBy, Samples, Speech, Turn, Vitals

VITALS_CHUNKS = 3
"""One Vitals for so many chunks: 96 ms, about ten a second."""

_RECENT = 64
"""Chunks kept for catching up: before an audible chunk voice activity hears the 2 s that led to it, on top of the state it had.

With the standard options that kept every edge of speech behind 8 s of silence within one chunk of a Silero that heard it all; 1 s, or a
fresh state, did not.
"""


class VoiceActivity(Protocol):
    """What tells speech from other sound (edge.vad.Silero)."""

    def reset(self) -> None: ...

    def probabilities(self, chunks: Samples) -> Samples: ...


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How the gate listens. Speech options mean what they mean in Silero's get_speech_timestamps, and have its defaults.

    neg_threshold: speech ends below it; None for threshold - 0.15. min_silence_ms: silence that ends a span of speech.
    hang_over_s: a turn closes after so much without speech or sound: longer than the second between the ticks of a clock.
    tail_s: what of that silence still belongs to the turn. margin_db, click_db, minimum_dbfs, window_s: see edge.level.Level.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_ms: int = 250
    min_silence_ms: int = 100
    speech_pad_ms: int = 30
    max_turn_s: float = 30.0
    hop_s: float = 0.5
    pre_roll_s: float = 0.5
    hang_over_s: float = 1.2
    tail_s: float = 0.3
    margin_db: float = 6.0
    click_db: float = 10.0
    minimum_dbfs: float = -60.0
    window_s: float = 12.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or not 0 < self.leave <= self.threshold:
            raise ValueError(
                f"threshold must lie in (0, 1] and neg_threshold in (0, threshold], not {self.threshold} and {self.neg_threshold}"
            )
        if min(self.min_speech_ms, self.min_silence_ms, self.speech_pad_ms, self.pre_roll_s, self.tail_s) < 0:
            raise ValueError("min_speech_ms, min_silence_ms, speech_pad_ms, pre_roll_s and tail_s must not be negative")
        if self.hop_s < CHUNK / SAMPLE_RATE or self.max_turn_s < 2 * self.hop_s + self.pre_roll_s:
            raise ValueError("hop_s must be at least 0.032, and max_turn_s at least two hops and the pre-roll")
        if self.hang_over_s < self.tail_s or self.click_db < self.margin_db:
            raise ValueError("hang_over_s must be at least tail_s, and click_db at least margin_db")

    @property
    def leave(self) -> float:
        """Probability below which speech ends."""
        return max(self.threshold - 0.15, 0.01) if self.neg_threshold is None else self.neg_threshold


class Gate:
    """Turns, spans of speech and vitals of one stream; one thread (listen).

    vad: voice activity, owned by this gate from now on. look_s: between two hops the open turn is also shown that often (cause "look"), for
    whoever tells sounds and does not want to wait for the next hop; 0 for never. meters: what "level" and "vad" have cost; duty = samples /
    samples of the stream.
    """

    def __init__(self, vad: VoiceActivity, options: GateOptions | None = None, look_s: float = 0.0) -> None:
        self.options = o = options or GateOptions()
        self.meters = {"level": Meter(), "vad": Meter()}
        self._vad = vad
        vad.reset()
        self._spans = SpeechSpans(o.threshold, o.leave, o.min_speech_ms, o.min_silence_ms, o.speech_pad_ms)
        self._level = Level(o.margin_db, o.click_db, o.minimum_dbfs, o.window_s)
        self._recent = np.zeros((_RECENT, CHUNK), dtype=np.float32)
        self._chunks = 0  # complete chunks since the last break
        self._heard = 0  # how many of them voice activity has heard or skipped
        self._fill = 0  # samples of the next chunk that are here
        self._base = self._at = 0  # where the line of chunks began; one past the last sample processed
        self._barrier = 0  # no turn begins before this: the last turn's stop, the last gap
        self._run = self._vitals = self._id = 0
        self._open = self._spoken = self._started = self._finished = False
        self._opened_by: OpenedBy | None = None
        self._start = self._active = self._next_hop = self._shown = 0
        self._pre_roll, self._tail = _samples(o.pre_roll_s), _samples(o.tail_s)
        self._look, self._next_look, self._seen = _samples(look_s), 0, 0
        self._hop, self._longest, self._hang_over = _samples(o.hop_s), _samples(o.max_turn_s), _samples(o.hang_over_s)

    def push(self, block: AudioBlock) -> Iterator[Turn | Speech | Vitals]:
        """Takes in a block at once (also when nobody iterates) and gives what it led to, in order of time.

        A gap ends the open turn (cause "gap") and the span of speech, and voice activity starts afresh behind it.
        Raises: ValueError when the block does not begin where the last one and its gap end, or after finish().
        """
        if self._finished:
            raise ValueError("this gate has finished; make a new one for a new stream")
        clock, vad_s = time.thread_time(), self.meters["vad"].cpu_s
        out: list[Turn | Speech | Vitals] = []
        expected = self._at + self._fill
        if not self._started:
            self._base = self._at = self._barrier = block.start
            self._started = True
        elif block.start != expected + block.gap:
            raise ValueError(f"a block at sample {block.start} with a gap of {block.gap} cannot follow sample {expected}")
        elif block.gap:
            self._break("gap", out)
            self._base = self._at = self._barrier = block.start
        samples, taken = block.samples, 0
        while taken < len(samples):
            n = min(CHUNK - self._fill, len(samples) - taken)
            self._recent[self._chunks % _RECENT, self._fill : self._fill + n] = samples[taken : taken + n]
            self._fill += n
            taken += n
            if self._fill == CHUNK:
                self._step(out)
        self._account(clock, vad_s)
        return iter(out)

    def interrupt(self) -> Iterator[Turn | Speech | Vitals]:
        """The audio breaks off here, with or without a gap behind it: what is open ends at once (cause "gap")."""
        out: list[Turn | Speech | Vitals] = []
        self._break("gap", out)
        return iter(out)

    def finish(self) -> Iterator[Turn | Speech | Vitals]:
        """The stream has ended: the open turn becomes final with cause "end"."""
        out: list[Turn | Speech | Vitals] = []
        if not self._finished:
            clock, vad_s = time.thread_time(), self.meters["vad"].cpu_s
            self._break("end", out)
            self._finished = True
            self._account(clock, vad_s)
        return iter(out)

    def _account(self, clock: float, vad_s: float) -> None:
        self.meters["level"].cpu_s += time.thread_time() - clock - (self.meters["vad"].cpu_s - vad_s)

    def _break(self, cause: Cause, out: list[Turn | Speech | Vitals]) -> None:
        """Nothing follows the samples that are here: judge the last, incomplete chunk and close what is open."""
        if self._fill:
            self._recent[self._chunks % _RECENT, self._fill :] = 0.0
            self._step(out)
        if span := self._spans.cut(self._at):
            out.append(span)
            self._spoken = True
        if self._open:
            self._close(self._view_stop(), cause, out)
        self._vad.reset()
        self._level.interrupt()
        self._base = self._barrier = self._at
        self._chunks = self._heard = self._run = 0

    def _step(self, out: list[Turn | Speech | Vitals]) -> None:
        """Judges the chunk that has just become complete (or the padded rest before a break)."""
        begin = self._at
        level = self._level
        level.measure(self._recent[self._chunks % _RECENT])
        self._chunks += 1
        self._at += self._fill
        meter = self.meters["level"]
        meter.calls += 1
        meter.samples += self._fill
        self._fill = 0
        self._run = self._run + 1 if level.audible else 0
        if self._open or self._run or self._spans.start is not None:  # a span that nobody listens to would last until the next sound
            speech = self._listen(out)
            if self._run > 1 or level.click or speech is not None:
                self._active = self._at
                if not self._open:
                    onset = begin - max(self._run - 1, 0) * CHUNK
                    self._begin(onset if speech is None else min(onset, speech))
            if self._open:
                self._advance(out)
        self._vitals += 1
        if self._vitals == VITALS_CHUNKS:
            self._vitals = 0
            gate: OpenedBy | None = ("speech" if self._spoken else "sound") if self._open else None
            out.append(Vitals(self._at, level.level_dbfs, level.floor_dbfs, gate))

    def _listen(self, out: list[Turn | Speech | Vitals]) -> int | None:
        """Voice activity for the newest chunk and those skipped before it; returns where the speech among them began, or None."""
        clock = time.thread_time()
        if self._chunks - self._heard > _RECENT:
            self._heard = self._chunks - _RECENT
        first, n = self._heard, self._chunks - self._heard
        rows = self._recent[np.arange(first, first + n) % _RECENT]
        begun: int | None = None
        for i, probability in enumerate(self._vad.probabilities(rows.reshape(-1)).tolist()):
            if span := self._spans.update(self._base + (first + i) * CHUNK, probability):
                out.append(span)
                self._spoken = True
                begun = span.start if begun is None else begun
        self._spoken = self._spoken or self._spans.long_enough
        self._heard = self._chunks
        meter = self.meters["vad"]
        meter.calls += 1
        meter.samples += n * CHUNK
        meter.cpu_s += time.thread_time() - clock
        return self._spans.start if begun is None else begun

    def _begin(self, onset: int) -> None:
        self._id += 1
        self._open = True
        self._opened_by = None
        self._start = self._shown = self._seen = max(onset - self._pre_roll, self._barrier)
        self._next_hop, self._next_look = self._at + self._hop, self._at + self._look

    def _advance(self, out: list[Turn | Speech | Vitals]) -> None:
        """Cuts, closes or shows the open turn, as its time has come."""
        stop = self._view_stop()
        if stop >= self._start + self._longest:
            self._close(self._start + self._longest, "longest", out)
            if self._active == self._at > self._barrier:  # a turn that would begin exactly here begins with its first chunk
                self._begin(self._at)
                self._start = self._shown = self._seen = self._barrier
        elif self._at - self._active >= self._hang_over:
            self._close(stop, "silence", out)
        elif self._at >= self._next_hop:
            self._next_hop += self._hop
            if stop > self._shown:
                out.append(self._view(stop, "hop"))
        elif self._look and self._at >= self._next_look:
            self._next_look = self._at + self._look
            if stop > self._seen:
                self._seen = stop
                out.append(self._turn(stop, "look"))

    def _view_stop(self) -> int:
        """How far the open turn reaches: all that was processed, but no further than a tail behind its last sound."""
        return min(self._at, self._active + self._tail)

    def _view(self, stop: int, cause: Cause) -> Turn:
        # What opened the gate is known once the first view leaves: speech is heard a few chunks after its level.
        if self._opened_by is None:
            self._opened_by = "speech" if self._spoken else "sound"
        self._shown = self._seen = stop
        return self._turn(stop, cause)

    def _turn(self, stop: int, cause: Cause) -> Turn:
        opened_by = self._opened_by or ("speech" if self._spoken else "sound")
        return Turn(self._id, self._start, stop, cause not in ("hop", "look"), cause, opened_by, self._spoken)

    def _close(self, stop: int, cause: Cause, out: list[Turn | Speech | Vitals]) -> None:
        out.append(self._view(stop, cause))
        self._barrier = stop
        self._open = False
        self._spoken = self._spans.long_enough


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
