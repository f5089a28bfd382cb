"""The few things that travel along the line: frozen, with positions as samples at 16 kHz and half-open intervals.

Seconds and wall time appear only in `edge.sinks`; everything before counts samples of one clock, the stream's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge._native import Ring

SAMPLE_RATE = 16_000
"""Samples per second of everything behind the door (mono float32 in [-1, 1])."""

Samples = NDArray[np.float32]
Tell = Callable[[Sequence[int]], None]
"""Gets the tokens of a text so far, whenever it has grown."""
Cause = Literal["silence", "longest", "gap", "end", "hop", "look"]
OpenedBy = Literal["speech", "sound"]
DeviceState = Literal["open", "lost", "changed", "stalled", "dead", "busy"]


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A stretch of audio without a hole in it.

    start: index of samples[0]. samples: float32[n], n >= 1, read-only by convention.
    gap: samples lost immediately before `start` (0 for none); the time line already counts them.
    """

    start: int
    samples: Samples
    gap: int = 0

    @property
    def stop(self) -> int:
        return self.start + len(self.samples)


@dataclass(frozen=True, slots=True)
class Turn:
    """A view of one opening of the gate; each hop gives a longer view, the last one is final.

    [start, stop): samples, pre-roll included. cause: why this view was cut: while open "hop", "look" for sounds alone; else why it closed.
    opened_by: what opened the gate. speech: True once voice activity was found inside.
    """

    id: int
    start: int
    stop: int
    final: bool
    cause: Cause
    opened_by: OpenedBy
    speech: bool = False


@dataclass(frozen=True, slots=True)
class Speech:
    """A span of voice activity, closed. [start, stop) in samples."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the encoder made of new audio.

    [start, stop): samples covered. vectors: float32[T, D], one row for each `hop` samples (language model prefix).
    scores: float32[S, L] in 0..1, one row for each `score_hop` samples, one column per label.
    """

    start: int
    stop: int
    vectors: Samples
    hop: int
    scores: Samples
    score_hop: int


@dataclass(frozen=True, slots=True)
class Sound:
    """A labelled sound with onset and, once it has ended, offset (samples). score in 0..1, the strongest so far.

    priority: one that must not be overlooked.
    """

    id: int
    label: str
    start: int
    stop: int | None
    score: float
    priority: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a final caption and the samples [start, stop) in which it was said."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Caption:
    """One revision of the text for one turn.

    revision counts from 1; exactly one is final, the last. committed: leading characters that no later revision
    changes; never shrinks. latency: seconds from the newest sample's being available to this object's being made. guard: why the text is
    shorter than what the model said: "loop", "compression" or "no_speech"; "" where it is not. priority: of a sound that must not be
    overlooked, or of words with a name that was asked for. language: code of the language of the words, "" where it is not known. words:
    of a final text, where their times were asked for.
    """

    id: int
    revision: int
    start: int
    stop: int
    text: str
    committed: int
    final: bool
    latency: float = 0.0
    guard: str = ""
    priority: bool = False
    language: str = ""
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the language model says to a question about a clip. [start, stop): samples of the clip that it heard.

    thought: what it thought before, "" where it did not.
    """

    text: str
    start: int
    stop: int
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples [start, stop) that were lost, each in exactly one gap. reason: "overrun", "device", "deficit" …"""

    start: int
    stop: int
    reason: str


@dataclass(frozen=True, slots=True)
class Device:
    """A change in the state of the capture device at sample `at`. detail: one sentence for a person."""

    at: int
    state: DeviceState
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """Opens every stream of records. source: "file:NAME" or "device:NAME". started_ns: Unix time of sample 0."""

    source: str
    bundle: str
    bundle_version: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class Status:
    """How a live stream fares at sample `at`.

    lag_s: seconds that what was last dealt with lay behind its being available. waiting: events between the threads. shed: views of open
    turns that were not captioned so far because the line was behind. duty: per step, the share of the stream that it has worked on.
    unix_ns: Unix time of the sample in nanoseconds, by the wall clock as it stands now. moved_s: seconds by which it was put forward, or
    the stream fell behind it, since the last status.
    """

    at: int
    lag_s: float
    waiting: int
    shed: int
    duty: Mapping[str, float]
    unix_ns: int
    moved_s: float = 0.0


Record = Session | Speech | Sound | Caption | Gap | Device | Status
"""What leaves the line. Sinks turn it into lines, subtitles or a live view."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the live view shows beside the records: a reading of the lower stairs at sample `at`.

    level_dbfs: RMS of the newest chunk; floor_dbfs: the adaptive noise floor; gate: what it is open for, or None.
    """

    at: int
    level_dbfs: float
    floor_dbfs: float
    gate: OpenedBy | None


class Source(Protocol):
    """Audio at the door, converted to 16 kHz mono and written into `ring`.

    One thread calls fill() and events(): the listen thread (offline, the only one).
    """

    ring: Ring
    live: bool
    name: str

    @property
    def anchor_ns(self) -> int:
        """Unix time in nanoseconds of sample 0."""

    def fill(self, until: int) -> int:
        """Returns ring.head once it is >= until, or earlier when the stream ended or something happened.

        Offline it decodes, resamples and writes. Live it sleeps by the clock, and returns after 100 ms though nothing came, so
        that losses and a wish to end are noticed. The stream has ended when `ended` is True and ring.head stays below `until`.
        """

    @property
    def ended(self) -> bool:
        """True once no sample will ever follow ring.head."""

    def events(self) -> list[Gap | Device]:
        """What happened since the last call, in order of sample position; a gap's samples are zeros in the ring."""

    def close(self) -> None: ...


class TensorModel(Protocol):
    """A model from named arrays to named arrays (onnxruntime, LiteRT)."""

    inputs: Mapping[str, tuple[str, tuple[int | None, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int | None, ...]]]

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]: ...


class TextModel(Protocol):
    """A language model with one sequence: rows of audio as a prefix, text behind them (llama.cpp)."""

    @property
    def width(self) -> int:
        """Length of one embedding row."""

    def reset(self) -> None:
        """Forgets the prefix and the text."""

    def extend(self, rows: Samples) -> None:
        """Appends float32[T, width] to the prefix; only these rows are evaluated. Drops the text behind it."""

    def decode(self, prompt: Sequence[int], draft: Sequence[int], forced: int, limit: int, tell: Tell | None = None) -> list[int]:
        """Greedy tokens behind prefix and prompt, end token excluded, at most `limit`.

        draft: tokens expected (the last revision's): checked in one batch, the agreed part is kept. The first `forced`
        of them are kept whatever the model thinks (they are committed). tell: gets the tokens so far behind each.
        """

    def score(self, prompt: Sequence[int], text: Sequence[int]) -> float:
        """Natural-log probability of the whole text, end token included, behind prefix and prompt."""

    def tokenize(self, text: str) -> list[int]: ...

    def detokenize(self, tokens: Sequence[int]) -> str: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Meter:
    """What one stair of the line has cost: calls, samples it looked at, seconds of its thread's CPU."""

    calls: int = 0
    samples: int = 0
    cpu_s: float = 0.0
