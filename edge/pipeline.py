"""The straight line: blocks -> gate -> encoder -> sounds and captions, pulled by whoever wants records.

Offline it is one thread. Live, what precedes the encoder runs in a listen thread and `ahead` joins the two by one bounded
queue in which a newer view of an open turn replaces an older one; the functions, and so the captions, are the same.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from edge import captioner as captioning
from edge import encoder as encoding
from edge.bundle import Bundle
from edge.captioner import Captioner
from edge.config import Config
from edge.encoder import Encoder
from edge.gate import Gate
from edge.ring import blocks
from edge.sounds import SoundOptions, SoundTracker
from edge.types import AudioBlock, Caption, Device, Gap, Meter, Record, Session, Sound, Source, Speech, TextModel, Turn, Vitals
from edge.vad import Silero

OFFLINE_BLOCK = 4096
"""Samples in a block where nobody waits for them; larger blocks cost less per sample, and change nothing else."""
QUEUE_LENGTH = 512
"""Events that may wait between the threads. Views of one turn take one place, so this is minutes of audio."""

Event = Turn | Speech | Gap | Device | Vitals


@dataclass(frozen=True, slots=True)
class Heard:
    """An event with the monotonic second at which the audio that it rests on was there."""

    event: Event
    available_s: float


def listen(source: Source, gate: Gate, block_size: int) -> Iterator[Heard]:
    """The lower stairs: everything that the gate makes of the source, gaps and device changes in their places."""
    for item in blocks(source, block_size):
        now = time.monotonic()
        if isinstance(item, AudioBlock):
            events: Iterator[Event] = gate.push(item)
        else:
            # Whatever was open cannot go on across a hole; its final comes before the record of the hole.
            events = iter([*gate.interrupt(), item])
        for event in events:
            yield Heard(event, now)
    now = time.monotonic()
    for event in gate.finish():
        yield Heard(event, now)


def ahead(events: Iterator[Heard], length: int = QUEUE_LENGTH) -> Iterator[Heard]:
    """Runs `events` in a thread of its own, at most `length` ahead of the consumer.

    A view of an open turn that still waits is replaced by the next view of it, and vitals by newer vitals; finals, speech, gaps and
    device changes are never dropped: when nothing can be replaced the listen thread waits, and the ring counts what is lost.
    """
    waiting: deque[Heard] = deque()
    changed = threading.Condition()
    over = False
    failure: list[BaseException] = []

    def put(heard: Heard) -> bool:
        with changed:
            for index in range(len(waiting) - 1, -1, -1):
                if _replaces(heard.event, waiting[index].event):
                    del waiting[index]
                    break
            while len(waiting) >= length and not over:
                changed.wait()
            waiting.append(heard)
            changed.notify_all()
            return not over

    def work() -> None:
        nonlocal over
        try:
            for heard in events:
                if not put(heard):
                    break
        except BaseException as error:  # handed to the consumer, which is the one who can tell
            failure.append(error)
        with changed:
            over = True
            changed.notify_all()

    thread = threading.Thread(target=work, name="auricle-listen", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                while not waiting and not over:
                    changed.wait()
                if not waiting:
                    break
                heard = waiting.popleft()
                changed.notify_all()
            yield heard
        if failure:
            raise failure[0]
    finally:
        with changed:
            over = True
            changed.notify_all()
        thread.join(timeout=2.0)


def _replaces(new: Event, old: Event) -> bool:
    if isinstance(new, Vitals):
        return isinstance(old, Vitals)
    return isinstance(new, Turn) and isinstance(old, Turn) and new.id == old.id and not old.final


class Line:
    """Everything loaded for one bundle; `run` may be called for one source after another.

    options: as read by edge.config. Raises: EdgeError when a part of the bundle or a backend cannot be loaded.
    """

    def __init__(self, bundle: Bundle, options: Config | None = None) -> None:
        self.bundle, self.options = bundle, options or Config()
        self._silero = Silero()
        self._encoder_model = encoding.load_model(bundle, self.options.threads)
        self._text_model: TextModel | None = None
        if bundle.has("captioner"):
            self._text_model = captioning.load_model(bundle, self.options.threads, bundle.caption.integer("context", 16, 1 << 20))
        self._sound_options = _sound_options(bundle)
        self.meters: dict[str, Meter] = {}

    def run(self, source: Source) -> Generator[Record | Vitals, None, None]:
        """Records of one source, its Session first, in the order of the audio that they rest on. Closes the source."""
        self._silero.reset()
        gate = Gate(self._silero, self.options.gate)
        told = _Telling(self, source)
        self.meters = {**gate.meters, **told.meters}
        with closing(source):
            yield Session(source.name, self.bundle.name, self.bundle.version, source.anchor_ns)
            size = self.options.block_size or (512 if source.live else OFFLINE_BLOCK)
            events = listen(source, gate, size)
            for heard in ahead(events) if source.live else events:
                yield from told.take(heard)

    def close(self) -> None:
        """Frees the models."""
        if self._text_model is not None:
            self._text_model.close()
            self._text_model = None


class _Telling:
    """The upper stairs of one stream: turns become sounds and captions. Main thread."""

    def __init__(self, line: Line, source: Source) -> None:
        self._ring = source.ring
        self._encoder = Encoder(line.bundle, model=line._encoder_model)
        self._tracker = SoundTracker(line.bundle.labels, line._sound_options)
        self._captioner = (
            Captioner(line.bundle, remind_s=line.options.remind_s, model=line._text_model) if line._text_model is not None else None
        )
        self._turn_id = 0
        self._sounds: dict[int, Sound] = {}
        self.meters = {"encoder": self._encoder.meter}
        if self._captioner is not None:
            self.meters["captioner"] = self._captioner.meter

    def take(self, heard: Heard) -> Iterator[Record | Vitals]:
        """What one event of the lower stairs leads to."""
        if not isinstance(heard.event, Turn):
            yield heard.event
            return
        turn = heard.event
        if turn.id != self._turn_id:
            self._turn_id = turn.id
            self._sounds = {sound.id: sound for sound in self._tracker.active}
        start = self._encoder.begin(turn)
        samples = np.empty(max(0, turn.stop - start), np.float32)
        lost = self._ring.read(start, samples) if len(samples) else 0
        if lost:
            yield Gap(start, start + lost, "overrun")
        encoded = self._encoder.extend(samples)
        found = self._tracker.extend(encoded) if len(encoded.scores) else []
        if turn.final and turn.cause != "longest":
            found += self._tracker.close()
        for sound in found:
            self._sounds[sound.id] = sound
            yield sound
        if self._captioner is not None:
            caption = self._captioner.revise(turn, encoded, list(self._sounds.values()))
            if caption is not None:
                yield self._timed(caption, heard.available_s)

    @staticmethod
    def _timed(caption: Caption, available_s: float) -> Caption:
        return replace(caption, latency=max(0.0, time.monotonic() - available_s))


def _sound_options(bundle: Bundle) -> dict[str, SoundOptions]:
    """Thresholds of the manifest: {"default": {...}, "labels": {label: {...}}}, every key optional."""
    default = SoundOptions()
    table = bundle.sounds

    def read(entry: object, base: SoundOptions) -> SoundOptions:
        return SoundOptions(
            on=entry.number("on", 0.01, 1.0, base.on),  # type: ignore[attr-defined]
            off=entry.number("off", 0.001, 1.0, base.off),  # type: ignore[attr-defined]
            bridge_s=entry.number("bridge_s", 0.0, 60.0, base.bridge_s),  # type: ignore[attr-defined]
            smooth_rows=entry.integer("smooth_rows", 1, 1000, base.smooth_rows),  # type: ignore[attr-defined]
        )

    default = read(table.table("default", {}), default)
    labels = table.table("labels", {})
    return {"": default, **{label: read(labels.table(label), default) for label in labels}}
