"""One open PortAudio stream: frames go from the device's thread into a raw ring without Python; here is how it is seen to fail."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from edge._native import PortAudioTap, Ring
from edge.devices import PORTAUDIO, CaptureDevice, portaudio, quiet_stderr, stream_counted
from edge.errors import DeviceError
from edge.pulse import SourceWatch, recordings, settled_recording, source
from edge.types import DeviceState

SILENCE_S = 0.5  # a callback silent for longer is told as a stall
GIVE_UP_S = 2.0  # and after this the stream is opened anew
TRUST_S = 0.1  # frames wait this long for the sound server to tell that they come from elsewhere
_DOUBT_S = 5.0  # no frame is used meanwhile; a busy machine takes its time to say where a recording went
_SETTLED_S = 0.9  # the deficit's smallest value over this span: callbacks come late, never early
_DEFICIT_S = 0.1  # a settled deficit above this was lost; clocks that differ by 300 ppm stay far below
_FLAGGED_DEFICIT_S = 0.005  # the same once PortAudio has raised its overflow flag
_DRIFT = 300e-6  # device clock against monotonic clock, worst crystals

_written_by_portaudio: set[PortAudioTap] = set()
"""Taps of streams that are not closed: whoever loses a stream without closing it must not free what the device's thread writes into."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What was agreed with the device. latency_s: PortAudio's estimate. source: the sound server's source behind it, or ""."""

    name: str
    host_api: str
    rate: int
    channels: int
    latency_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a stream must be given up, as a device state and a sentence."""

    state: DeviceState
    detail: str


class DeviceStream:
    """Frames of one device in `raw` (index = frame * channels), and what is known about their loss.

    Opened, observed and closed by one thread at a time; the device's thread only writes into `raw`, in C.
    raw_seconds: how long the reader may stall before frames are lost. Raises: DeviceError when it cannot be opened.
    """

    def __init__(self, device: CaptureDevice, rate: int, channels: int, raw_seconds: float = 10.0) -> None:
        self.rate = rate
        self.channels = channels
        self.raw = Ring(int(rate * channels * raw_seconds))
        self._tap = self.raw.portaudio(channels)  # the callback's user data
        self._closing = contextlib.ExitStack()
        self.watch: SourceWatch | None = None
        self.source_format: tuple[int, int] | None = None  # (rate, channels) of the sound server's source, where known
        source_name = ""
        pulse = "(hw:" not in device.name and device.host_api != "JACK Audio Connection Kit"
        before = recordings() if pulse else None
        self._stream = self._open(device)
        try:
            settled = None if before is None else settled_recording(before)
            if settled is not None:
                behind = source(settled[1])
                source_name = behind.name if behind else ""
                self.source_format = (behind.rate, behind.channels) if behind else None
                self.watch = SourceWatch(*settled)
        except BaseException:
            self.close()
            raise
        self.negotiated = Negotiated(device.name, device.host_api, rate, channels, self._stream.latency, source_name)
        self._began_s = self._polled_s = time.monotonic()
        self._attentive_since_s = self._began_s
        self._first: tuple[float, int] | None = None  # (callback time, frames) of the first observation
        self._seen: deque[tuple[float, int]] = deque()  # (time of polling, frames), for trust
        self._deficits: deque[tuple[float, float]] = deque()  # (callback time, frames missing)
        self._baseline = 0.0
        self._overflows = 0  # flags dealt with
        self._flagged_s: float | None = None  # callback time at which a newer flag was seen
        self.newest: tuple[float, int] = (0.0, 0)  # (callback time, frames until then)

    def _open(self, device: CaptureDevice) -> Any:
        sounddevice = portaudio()
        with PORTAUDIO, quiet_stderr():
            # RawInputStream wraps its callback in Python. Its base, meant for extensions, also takes a C function pointer.
            pointer = sounddevice._ffi.cast("PaStreamCallback *", self._tap.callback_address)
            user_data = sounddevice._ffi.cast("void *", self._tap.user_data_address)
            _written_by_portaudio.add(self._tap)
            self._closing.callback(_written_by_portaudio.discard, self._tap)  # the last thing: behind the stream's end
            try:
                stream = sounddevice._StreamBase(
                    kind="input",
                    device=device.index,
                    samplerate=self.rate,
                    channels=self.channels,
                    dtype="float32",
                    latency="high",
                    callback=pointer,
                    userdata=user_data,
                )
                self._closing.enter_context(stream_counted())
                self._closing.callback(stream.close, ignore_errors=True)
                # Stopped first: closing a running ALSA stream cancels its thread wherever it is, even inside the sound server's client.
                self._closing.callback(stream.stop, ignore_errors=True)
                stream.start()
            except sounddevice.PortAudioError as error:
                self._closing.close()
                raise DeviceError(
                    f"microphone {device.name!r} cannot be opened at {self.rate} Hz with {self.channels} channels"
                    f" ({' '.join(str(error.args[0]).split())}); see that it is plugged in, that no other program holds it,"
                    " and that you may use it (group `audio`)"
                ) from error
            except BaseException:  # such as Ctrl-C while the sound server keeps us waiting
                self._closing.close()
                raise
        return stream

    def observe(self) -> int:
        """Looks once; returns how many frames since the opening may be used. Call at least every 100 ms."""
        now_s = time.monotonic()
        if now_s - self._polled_s > SILENCE_S / 2:
            self._attentive_since_s = now_s  # we were the ones who stalled: judge nothing by it
            self._deficits.clear()
        self._polled_s = now_s
        callback_s, frames = self._snapshot()
        if frames and callback_s > self.newest[0]:
            self.newest = callback_s, frames
            self._weigh(callback_s, frames)
        self._seen.append((now_s, frames))
        trust_s = 0.0 if self.watch is None else TRUST_S
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - trust_s:
            self._seen.popleft()
        if self.watch is not None and (self.watch.doubt or self.watch.moved_to):
            return 0
        return self._seen[0][1] if self._seen[0][0] <= now_s - trust_s else 0

    def trouble(self) -> Trouble | None:
        """What the last observation says against this stream: flag, silence, or another source."""
        if self.watch is not None and self.watch.moved_to:
            return Trouble("changed", f"the sound server moved the recording to {self.watch.moved_to!r}, whose sound is refused")
        if self.watch is not None and self.watch.doubt and self._polled_s - self.watch.doubt_since_s > _DOUBT_S:
            return Trouble("lost", "the sound server does not say any more which source is recorded")
        if not self._active() or (self.watch is not None and self.watch.gone):
            return Trouble("lost", "the device or its sound server went away")
        if self.silent_s() > GIVE_UP_S:
            return Trouble("stalled", f"no frame came for {GIVE_UP_S:g} s")
        return None

    def silent_s(self) -> float:
        """Seconds without a callback while somebody was looking."""
        return self._polled_s - max(self.newest[0], self._began_s, self._attentive_since_s)

    def lost_frames(self) -> tuple[int, str]:
        """(frames, reason) that never came although the stream goes on, once each; (0, "") for none.

        Measured as the settled deficit of (monotonic time * rate - frames), so known up to a second late and to about a callback.
        """
        if len(self._deficits) < 5 or self._deficits[-1][0] - self._deficits[0][0] < 0.6 * _SETTLED_S:
            return 0, ""
        settled = min(deficit for _, deficit in self._deficits)
        flagged = self._flagged_s is not None
        excess = settled - self._baseline
        lost = excess > (_FLAGGED_DEFICIT_S if flagged else _DEFICIT_S) * self.rate
        if lost:
            self._baseline = settled
        if self._flagged_s is not None and (lost or self._deficits[0][0] > self._flagged_s):
            self._flagged_s = None
            self._overflows = self._tap.overflows
        return (round(excess), "overrun" if flagged else "deficit") if lost else (0, "")

    def captured_s(self, frame: int) -> float:
        """Monotonic time at which that frame was recorded, as far as the newest callback tells."""
        return self.newest[0] - (self.newest[1] - frame) / self.rate

    def close(self) -> None:
        """Ends the stream; may block when the sound server hangs, so live callers use a thread."""
        if self.watch is not None:
            self.watch.close()
        with PORTAUDIO, quiet_stderr():
            self._closing.close()

    def _active(self) -> bool:
        try:
            return bool(self._stream.active)
        except Exception:  # PortAudioError once the host API is gone
            return False

    def _snapshot(self) -> tuple[float, int]:
        while True:  # the callback may come between the two readings
            frames = self._tap.frames
            callback_s = self._tap.last_callback_s
            if self._tap.frames == frames:
                return callback_s, frames

    def _weigh(self, callback_s: float, frames: int) -> None:
        if self._first is None:
            self._first = callback_s, frames
        deficit = (callback_s - self._first[0]) * self.rate - (frames - self._first[1])
        if self._flagged_s is None and self._tap.overflows > self._overflows:
            self._flagged_s = callback_s
        previous_s = self._deficits[-1][0] if self._deficits else callback_s
        self._deficits.append((callback_s, deficit))
        while self._deficits[0][0] < callback_s - _SETTLED_S:
            self._deficits.popleft()
        settled = min(deficit for _, deficit in self._deficits)
        if settled < self._baseline:
            self._baseline = settled
        else:
            self._baseline += min(settled - self._baseline, _DRIFT * self.rate * (callback_s - previous_s))
