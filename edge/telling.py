"""The upper stairs of one stream: what the gate lets through becomes sounds and captions. Main thread only.

Where the language model falls behind, it is the open captions that are shed first: behind each it leaves the thread to encoder and sounds
for as long as it has taken itself. Finals and sounds are told of everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from edge import encoder as encoding
from edge.ahead import Backlog, Event, Heard
from edge.captioner import Captioner
from edge.config import Config
from edge.encoder import AudioEncoder
from edge.memory import Memory
from edge.pace import Pace
from edge.priority import Priority
from edge.sounds import SoundTracker
from edge.time_line import TimeLine
from edge.transcriber import Transcriber
from edge.types import SAMPLE_RATE, Caption, Device, Encoding, Gap, Meter, Record, Sound, Source, Status, Turn, Vitals
from edge.wall_clock import WallClock

PATIENCE_S = 3.0
"""Longer than the gate can look back for the beginning of a turn, apart from its pre-roll: speech is recognised up to 2 s late."""
SLACK_S = 0.05
"""A partial that takes no longer than this is nothing to rest from."""

AnyCaptioner = Captioner | Transcriber | TimeLine


class Telling:
    """source: its ring holds the audio. stairs: encoder and captioner, one and the same where the bundle transcribes. heard: keeps rows."""

    def __init__(
        self, source: Source, stairs: tuple[AudioEncoder, AnyCaptioner | None], tracker: SoundTracker, options: Config, heard: Memory
    ) -> None:
        gate = options.gate
        self._ring, self._live, self._memory = source.ring, source.live, heard
        self._priority = Priority(options.priority, options.names or "")
        self._pace = Pace(options.reading_cps, options.revised_words)
        self._encoder, self._captioner = stairs
        self._tracker = tracker
        self._last: Turn | None = None
        self._sounds: dict[int, Sound] = {}
        self._patience = round((gate.pre_roll_s + gate.speech_pad_ms / 1000 + PATIENCE_S) * SAMPLE_RATE)
        self._rest_until = 0.0
        self.shed = 0
        """Views of open turns that were not captioned because the language model was behind."""
        self.meters = {"encoder": self._encoder.meter}
        if self._captioner is not None and self._captioner is not self._encoder:
            self.meters["captioner"] = self._captioner.meter

    def take(self, heard: Heard) -> Iterator[Record | Vitals]:
        """What one event of the lower stairs leads to."""
        event = heard.event
        if isinstance(event, Turn):
            if self._last is None or (event.id != self._last.id and not encoding.continues(self._last, event)):
                yield from self.settle() if self._left_open() else self._lapsed(event.start)
            yield from self._tell(event, heard.available_s)
            return
        if isinstance(event, Vitals):
            self._memory.passed(event.at)
        late = self._last is not None and isinstance(event, Vitals) and event.gate is None and event.at >= self._last.stop + self._patience
        if late or isinstance(event, Gap | Device):
            yield from self.settle()
        elif isinstance(event, Vitals) and event.gate is None and self._tracker.sounding and not self._left_open():
            yield from self._lapsed(event.at)
        yield event

    def _left_open(self) -> bool:
        """Whether the newest turn was cut for its length, so that one which continues it may follow."""
        return self._last is not None and self._last.final and self._last.cause == "longest"

    def _lapsed(self, at: int) -> list[Sound]:
        """Ends of sounds whose pause has become too long, while the gate is closed."""
        return [self._marked(sound) for sound in self._tracker.pause(at)]

    def settle(self) -> list[Sound]:
        """Ends of the sounds that a turn left open for the one that would continue it, once there is none."""
        open_still = self._tracker.close() if self._last is not None and self._last.final else []
        return [self._marked(sound) for sound in open_still]

    def _marked(self, sound: Sound) -> Sound:
        return replace(sound, priority=self._priority.of_label(sound.label))

    def _tell(self, turn: Turn, available_s: float) -> Iterator[Record]:
        if self._last is None or turn.id != self._last.id:
            self._sounds = {sound.id: self._marked(sound) for sound in self._tracker.active}
        self._last = turn
        start = self._encoder.begin(turn)
        samples = np.empty(max(0, turn.stop - start), np.float32)
        lost = self._ring.read(start, samples) if len(samples) else 0
        if lost:
            yield Gap(start, start + lost, "overrun")
        encoded = self._encoder.extend(samples)
        self._memory.take(turn, encoded)
        if isinstance(self._captioner, TimeLine):
            self._captioner.listen(turn, samples)
        found = self._tracker.extend(encoded) if len(encoded.scores) else []
        if turn.final and turn.cause != "longest":
            # The bridge of a sound may be longer than the silence that closes the gate: an alarm pauses, and is still one alarm.
            found += self._tracker.pause(turn.stop) if turn.cause == "silence" else self._tracker.close()
        for sound in found:
            marked = self._marked(sound)
            self._sounds[sound.id] = marked
            yield marked
        if self._captioner is not None and turn.cause == "look":
            self._captioner.wait(turn, encoded)
        elif self._captioner is not None:
            yield from self._caption(self._captioner, turn, encoded, available_s)

    def _caption(self, captioner: AnyCaptioner, turn: Turn, encoded: Encoding, available_s: float) -> Iterator[Caption]:
        begin = time.monotonic()
        if self._live and not turn.final and begin < self._rest_until:
            captioner.wait(turn, encoded)
            self.shed += 1
            return
        caption = captioner.revise(turn, encoded, list(self._sounds.values()))
        now = time.monotonic()
        if now - begin > SLACK_S:
            self._rest_until = now + (now - begin)
        if caption is not None:
            alarming = any(sound.priority for sound in self._sounds.values()) or self._priority.of_text(caption.text)
            shown = self._pace.admit(replace(caption, latency=max(0.0, now - available_s), priority=alarming))
            if shown is not None:
                yield shown


class Condition:
    """When a live stream says how it fares: every `every_s` seconds of it, at once when its lag has changed by a hop or the clock was set.

    begin_ns: Unix time of sample 0. meters: one for each step, of which the status tells the duty.
    """

    def __init__(
        self, telling: Telling, backlog: Backlog, meters: Mapping[str, Meter], every_s: float, hop_s: float, begin_ns: int
    ) -> None:
        self._telling, self._backlog, self._meters = telling, backlog, meters
        self._every, self._hop_s = round(every_s * SAMPLE_RATE), hop_s
        self._told_at = 0
        self._told_lag = 0.0
        self._clock = WallClock(begin_ns)

    def after(self, heard: Heard) -> Status | None:
        """The status behind an event that has been dealt with, if one is due."""
        at = _position(heard.event)
        if at is None:
            return None
        lag_s = time.monotonic() - heard.available_s
        self._clock.see(at, time.time_ns() - int(lag_s * 1e9))
        lag_s, moved_s = max(0.0, lag_s), self._clock.moved_s()
        if at - self._told_at < self._every and abs(lag_s - self._told_lag) < self._hop_s and not moved_s:
            return None
        self._told_at, self._told_lag = at, lag_s
        duty = {step: round(meter.samples / at, 4) for step, meter in self._meters.items()} if at else {}
        unix_ns = self._clock.begin_ns + at * 1_000_000_000 // SAMPLE_RATE
        return Status(at, lag_s, len(self._backlog.waiting), self._backlog.replaced + self._telling.shed, duty, unix_ns, moved_s)


def _position(event: Event) -> int | None:
    if isinstance(event, Turn):
        return event.stop
    return event.at if isinstance(event, Vitals) else None
