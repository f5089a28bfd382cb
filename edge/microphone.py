"""A microphone as a source: its own rate and channels, one unbroken time line, and reopened for ever when it goes away."""

from __future__ import annotations

import threading
import time

import numpy as np

from edge._native import Ring
from edge.dead_signal import DeadSignal
from edge.device_stream import SILENCE_S, DeviceStream, Negotiated
from edge.devices import CaptureDevice, alike, devices, find
from edge.door import Door
from edge.errors import DeviceError
from edge.types import SAMPLE_RATE, Device, DeviceState, Gap

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.25, 5.0  # between two attempts to reopen
_HEALTHY_S = 10.0  # a stream that lived this long starts the delays anew
_LONGEST_PIECE_S = 30.0  # an outage is told in gaps of 1, 2, 4 … 30 s, so that readers learn of it while it lasts
_HUNG_S = 60.0  # a try to reopen that lasts so long hangs: from then on nothing is told, and a watchdog may start us anew
_LONGEST_SLEEP_S = 0.05
_LONGEST_FILL_S = 0.1  # fill() returns after this long though nothing came, so that who waits is asked whether it still wants to


class Microphone:
    """A live `Source`. The device's thread writes frames in C; fill(), in the listen thread, converts them to 16 kHz mono.

    device: a name as `auricle devices` lists it, or None for the default. It is known again by its name (and, with a sound
    server, by the name of the source behind it), never by its number; frames of another source are refused.
    Loss shows within a second as a Device record: "lost" (the stream ended), "stalled" (no frames), "changed" (moved to another
    source), "busy", "dead" (zeros, a stuck level or a repeated buffer for 30 s); then "open" again, at whatever rate.
    Lost samples lie in exactly one Gap each, zeros in the ring: "overrun" (this reader stalled for longer than raw_seconds:
    exact; or PortAudio's flag), "deficit" (fewer frames than the clock says: told up to a second late) or "device" (the clock).
    wait: start without a device and keep trying. Raises: DeviceError when it cannot be opened and wait is False.
    """

    live = True

    def __init__(self, device: str | None = None, ring_seconds: float = 90.0, wait: bool = False, raw_seconds: float = 10.0) -> None:
        self.ring = Ring(max(int(ring_seconds * SAMPLE_RATE), SAMPLE_RATE))
        self.negotiated: Negotiated | None = None
        self.cleaned = 0
        self._wanted = device
        self._known: CaptureDevice | None = None  # as it was listed when it was opened first
        self._others: set[str] = set()  # others of its kind that were listed then: they are not it
        self._source = ""  # the sound server's source at the first opening; no other is accepted afterwards
        self._raw_seconds = raw_seconds
        self._events: list[Gap | Device] = []
        self._state: DeviceState | None = None
        self._closed = threading.Event()
        self._polling = threading.Lock()  # close() from another thread must not free a stream that is being looked at
        self._stream: DeviceStream | None = None
        self._fresh: DeviceStream | None = None  # opened by the reopening thread, not yet adopted
        self._reopening: threading.Thread | None = None
        self._delay_s = _FIRST_DELAY_S
        self._tried_s = time.monotonic()  # when an outage or a try to reopen began last
        self._good = (time.monotonic(), 0)  # the time line's last sure point: (monotonic seconds, sample)
        self._next_piece_s = self._piece_s = 1.0
        try:
            stream = self._open()
        except DeviceError as error:
            if not wait:
                raise
            self.device = device or "default"
            self._tell("busy" if "-9985" in str(error) else "lost", str(error))
            self._begin_outage(None)
        else:
            self._adopt(stream)
            try:
                self._await_first_frame(stream)
            except BaseException:
                self.close()
                raise
        self.name = f"device:{self.device}"
        self._anchor_ns = time.time_ns() - int((time.monotonic() - self._good[0]) * 1e9)

    @property
    def anchor_ns(self) -> int:
        """Unix time in nanoseconds of sample 0: the first frame, or the start when there was no device."""
        return self._anchor_ns

    @property
    def ended(self) -> bool:
        return self._closed.is_set()

    def fill(self, until: int) -> int:
        """Converts what has come, sleeping by the clock, until ring.head >= until, an event waits or 0.1 s are over; see `Source`."""
        give_up_s = time.monotonic() + _LONGEST_FILL_S
        while self.ring.head < until and not self._events and not self.ended and time.monotonic() < give_up_s:
            with self._polling:
                self._poll(until)
            missing_s = (until - self.ring.head) / SAMPLE_RATE
            if missing_s > 0 and not self._events:
                self._closed.wait(min(max(missing_s, 0.005), _LONGEST_SLEEP_S))
        return self.ring.head

    def events(self) -> list[Gap | Device]:
        """Gaps and changes of the device since the last call, in order of position."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Ends the stream; may be called twice and from any thread."""
        self._closed.set()
        with self._polling:
            reopening, self._reopening = self._reopening, None
            streams = [stream for stream in (self._stream, self._fresh) if stream is not None]
            self._stream = self._fresh = None
        for stream in streams:
            stream.close()
        if reopening is not None:
            reopening.join(2.0)

    def _await_first_frame(self, stream: DeviceStream) -> None:
        # So that sample 0 has a time before anybody asks for it; a device that gives nothing shows up as a stall in fill().
        give_up_s = time.monotonic() + SILENCE_S
        while not self._started and time.monotonic() < give_up_s:
            stream.observe()
            if not self._start(stream):
                time.sleep(0.005)

    def _poll(self, until: int) -> None:
        if self._fresh is not None:
            fresh, self._fresh = self._fresh, None
            self._adopt(fresh)
        stream = self._stream
        if stream is None or self.ended:
            self._continue_outage()
            return
        usable = stream.observe()
        if self._started or self._start(stream):
            self._take(stream, usable, until)
        else:
            self._continue_outage()
        trouble = stream.trouble()
        if trouble is not None:
            self._lose(stream, trouble.state if self._state != "stalled" else "lost", trouble.detail)
        elif stream.silent_s() > SILENCE_S:
            self._tell("stalled", f"no frame came for {SILENCE_S:g} s")
        elif self._started:
            if self._state == "stalled":
                self._tell("open", "frames come again")
            lost, reason = stream.lost_frames()
            if lost:
                self._dropped += lost
                self._break(reason)

    def _adopt(self, stream: DeviceStream) -> None:
        negotiated = stream.negotiated
        if self.negotiated is None:
            self.device = negotiated.name
            self._source = negotiated.source
        self.negotiated = negotiated
        self._stream = stream
        self._door = Door(stream.rate, stream.channels)
        self._dead = DeadSignal(stream.rate)
        self._started = False
        self._origin = 0  # sample of the stream's frame 0
        self._consumed = 0  # frames taken out of the raw ring, lapped ones included
        self._dropped = 0  # frames that never came
        self._adopted_s = time.monotonic()

    def _start(self, stream: DeviceStream) -> bool:
        """Puts the stream's first frame at its place on the time line. False while none has come."""
        if not stream.newest[1]:
            return False
        captured_s = stream.captured_s(0)
        if self._state is None:
            self._good = captured_s, 0
        self._skip_to(self._sample_at(captured_s), "device")
        self._origin = self.ring.head
        self._started = True
        agreed = stream.negotiated
        self._tell("open", f"{agreed.rate} Hz, {agreed.channels} channels, {agreed.latency_s * 1000:.0f} ms through {agreed.host_api}")
        return True

    def _take(self, stream: DeviceStream, usable: int, until: int) -> None:
        channels = stream.channels
        while self._consumed < usable and self.ring.head < until:
            count = min(usable - self._consumed, stream.rate // 10)
            frames = np.empty(count * channels, np.float32)
            if stream.raw.read(self._consumed * channels, frames):
                # Lapped: jump a sixteenth ahead of the oldest, or the writer laps us again while we read.
                self._consumed = -(-stream.raw.oldest // channels) + stream.raw.capacity // channels // 16
                self._break("overrun")
                continue
            self._consumed += count
            cause = self._dead.feed(frames[::channels])
            cleaned = self._door.cleaned
            self.ring.write(self._door.feed(frames.reshape(count, channels)))
            self.cleaned += self._door.cleaned - cleaned
            if cause:
                self._tell("dead", f"{cause}: a muted or broken microphone, not a quiet room")
            elif self._state == "dead":
                self._tell("open", "the signal lives again")

    def _break(self, reason: str) -> None:
        """Ends the run before a hole; the gap reaches to the next frame's place."""
        target = self._origin + self._door.position(self._consumed + self._dropped)
        self.ring.write(self._door.flush()[: max(target - self.ring.head, 0)])
        self._skip_to(target, reason)

    def _lose(self, stream: DeviceStream, state: DeviceState, detail: str) -> None:
        """Gives the stream up, to be closed and reopened by a thread of its own."""
        if self._started:
            self.ring.write(self._door.flush())
            self._good = stream.captured_s(self._consumed), self.ring.head
        if time.monotonic() - self._adopted_s > _HEALTHY_S:
            self._delay_s = _FIRST_DELAY_S
        self._tell(state, detail)
        self._stream = None
        self._begin_outage(stream)

    def _begin_outage(self, old: DeviceStream | None) -> None:
        now_s = time.monotonic()
        if old is None or self._started:
            self._piece_s = 1.0
            self._next_piece_s = now_s + self._piece_s
            self._skip_to(self._sample_at(now_s), "device")
        self._started = False
        self._tried_s = now_s
        self._reopening = threading.Thread(target=self._reopen, args=(old,), name="auricle-reopen", daemon=True)
        self._reopening.start()

    def _continue_outage(self) -> None:
        now_s = time.monotonic()
        if self._state is not None and now_s >= self._next_piece_s and now_s - self._tried_s < _HUNG_S:
            self._piece_s = min(2 * self._piece_s, _LONGEST_PIECE_S)
            self._next_piece_s = now_s + self._piece_s
            self._skip_to(self._sample_at(now_s), "device")

    def _reopen(self, old: DeviceStream | None) -> None:
        """The reopening thread: a hanging sound server must not hang the listen thread."""
        if old is not None:
            old.close()
        while not self._closed.wait(self._delay_s):
            self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)
            self._tried_s = time.monotonic()
            try:
                fresh = self._open()
            except Exception:  # whatever it is may pass; without this thread we would be deaf for ever
                continue
            with self._polling:  # close() has not looked for it yet, or we see that it has
                if not (late := self._closed.is_set()):
                    self._fresh = fresh
            if late:
                fresh.close()
            return

    def _open(self) -> DeviceStream:
        """Finds the device by name and opens it at its own rate and channels. Raises: DeviceError."""
        listed = devices()
        device = self._find(listed)
        rate, channels = device.rate, device.real_channels
        for _ in range(3):
            stream = DeviceStream(device, rate, channels, self._raw_seconds)
            behind = stream.negotiated.source
            if self._source and behind != self._source:
                stream.close()
                raise DeviceError(f"the sound server offers {behind!r} in place of {self._source!r}; plug the microphone in again")
            if stream.source_format in (None, (rate, channels)):
                self._know(device, listed)
                return stream
            # PortAudio's default is a guess when a sound server stands between: open as the source really runs, unconverted.
            rate, channels = stream.source_format
            stream.close()
        raise DeviceError(f"microphone {device.name!r} changes its rate while it is opened; try again")

    def _find(self, listed: list[CaptureDevice]) -> CaptureDevice:
        """The one that was opened first, or one of its kind under a number that was not there then. Raises: DeviceError."""
        if (known := self._known) is None:
            return find(self._wanted, listed)
        kin = [one for one in alike(known, listed) if one.name not in self._others]
        if not kin and self._others:
            raise DeviceError(f"microphone {known.name!r} is gone, another of its kind is not it; plug it in again")
        return next((one for one in kin if one.name == known.name), kin[0]) if kin else find(self._wanted, listed)

    def _know(self, device: CaptureDevice, listed: list[CaptureDevice]) -> None:
        if self._known is None:
            self._known = device
            self._others = {one.name for one in alike(device, listed)} - {device.name}
            self._wanted = self._wanted or f"{device.stable_name}, {device.host_api}"

    def _sample_at(self, moment_s: float) -> int:
        good_s, good_sample = self._good
        return good_sample + round((moment_s - good_s) * SAMPLE_RATE)

    def _skip_to(self, target: int, reason: str) -> None:
        head = self.ring.head
        if target > head:
            self.ring.skip(target - head)
            self._events.append(Gap(head, target, reason))

    def _tell(self, state: DeviceState, detail: str) -> None:
        if state != self._state:
            self._state = state
            self._events.append(Device(self.ring.head, state, self.device, detail))
