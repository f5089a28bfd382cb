"""Laws of Microphone, on real sound servers: every sample once or in one gap, no other source ever heard, back for ever."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sound_server import MICROPHONE, NULL_SINK_MICROPHONE, PulseServer, jack_server, pulse_server, wait_until

from edge import dead_signal
from edge.capture import CaptureDevice, Microphone
from edge.dead_signal import DeadSignal
from edge.device_stream import DeviceStream, _written_by_portaudio
from edge.devices import devices, find, portaudio
from edge.errors import DeviceError
from edge.ring import blocks
from edge.types import AudioBlock, Device, Gap

UNIT = 2.0**-20  # sample n of the counter signal is (n + 1) units: float32 holds each exactly up to a minute


def counter(samples: int) -> np.ndarray:
    return (np.arange(1, samples + 1) * UNIT).astype(np.float32)


def decoded(samples: np.ndarray) -> np.ndarray:
    return np.round(samples.astype(np.float64) / UNIT).astype(np.int64)


class Listening:
    """A listen thread that keeps everything blocks() yields, with the monotonic time of each record."""

    def __init__(self, microphone: Microphone, size: int = 512) -> None:
        self.microphone = microphone
        self.records: list[AudioBlock | Gap | Device] = []
        self.times: list[float] = []
        self.hold = threading.Event()
        self.hold.set()
        self._thread = threading.Thread(target=self._run, args=(size,), daemon=True)
        self._thread.start()

    def _run(self, size: int) -> None:
        for record in blocks(self.microphone, size):
            self.records.append(record)
            self.times.append(time.monotonic())
            self.hold.wait()

    def states(self) -> list[str]:
        return [record.state for record in list(self.records) if isinstance(record, Device)]

    def gaps(self) -> list[Gap]:
        return [record for record in list(self.records) if isinstance(record, Gap)]

    def heard(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.float32), *[r.samples for r in list(self.records) if isinstance(r, AudioBlock)]])

    def wait_for(self, state: str, since: int = 0) -> int:
        """Index of the first record of that state at or behind `since`."""
        try:
            wait_until(lambda: state in self._states_since(since), 40)
        except TimeoutError as error:
            raise TimeoutError(f"no {state!r} in {self.states()}") from error
        return since + self._states_since(since).index(state)

    def _states_since(self, since: int) -> list[str]:
        return [r.state if isinstance(r, Device) else "" for r in list(self.records)[since:]]

    def close(self) -> None:
        self.microphone.close()
        self.hold.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def assert_one_time_line(self) -> None:
        """Blocks and gaps follow one another without hole or overlap, and a block knows what was lost before it."""
        at = lost = 0
        for record in self.records:
            if isinstance(record, Device):
                assert record.at == at
                continue
            assert record.start == at
            at = record.stop
            if isinstance(record, Gap):
                lost += record.stop - record.start
            else:
                assert record.gap == lost
                lost = 0


Listen = Callable[..., Listening]


@pytest.fixture
def listen() -> Iterator[Listen]:
    opened: list[Listening] = []

    def start(size: int = 512, **arguments: object) -> Listening:
        opened.append(Listening(Microphone(MICROPHONE, **arguments), size))  # type: ignore[arg-type]
        return opened[-1]

    yield start
    for listening in opened:
        listening.close()
        listening.assert_one_time_line()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    with pulse_server(tmp_path, monkeypatch, NULL_SINK_MICROPHONE.format(rate=16_000, channels=1)) as running:
        yield running


@pytest.fixture
def bare_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """Without a microphone: plug_in() and the module indices it returns bring one and take it away."""
    with pulse_server(tmp_path, monkeypatch) as running:
        yield running


def plug_in(server: PulseServer, rate: int = 16_000, channels: int = 1) -> str:
    sink = server.load("module-null-sink", "sink_name=mic", f"rate={rate}", f"channels={channels}", "format=float32le", "norewinds=1")
    server.load("module-remap-source", "source_name=test_mic", "master=mic.monitor")
    return sink


@pytest.mark.parametrize("size", [17, 512, 4096])
def test_every_sample_of_a_real_sound_server_arrives_once(server: PulseServer, listen: Listen, size: int) -> None:
    listening = listen(size)
    assert listening.microphone.negotiated.rate == 16_000
    server.play(counter(32_000)).wait()
    wait_until(lambda: decoded(listening.heard()).max(initial=0) == 32_000)
    listening.close()
    values = decoded(listening.heard())
    assert np.array_equal(values[values > 0], np.arange(1, 32_001))
    assert listening.gaps() == []


def test_a_stalled_reader_is_lapped_and_told_the_exact_loss(server: PulseServer, listen: Listen) -> None:
    listening = listen(raw_seconds=2.0)
    playing = server.play(counter(112_000))
    wait_until(lambda: decoded(listening.heard()).max(initial=0) > 8_000)
    listening.hold.clear()
    assert listening.gaps() == []
    raw = listening.microphone._stream.raw
    held_at = raw.head
    wait_until(lambda: raw.head > held_at + 60_000)
    listening.hold.set()
    playing.wait()
    wait_until(lambda: decoded(listening.heard()).max(initial=0) == 112_000)
    listening.close()
    assert {gap.reason for gap in listening.gaps()} == {"overrun"}
    assert sum(gap.stop - gap.start for gap in listening.gaps()) > 16_000
    line = np.zeros(listening.microphone.ring.head, np.int64)  # the time line, with holes where gaps are
    for block in listening.records:
        if isinstance(block, AudioBlock):
            line[block.start : block.stop] = decoded(block.samples)
    at = np.flatnonzero(line)
    assert len(np.unique(line[at] - at)) == 1  # every sample stands where it would stand if nothing had been lost


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (8_000, 4)])
def test_a_device_is_opened_at_its_own_rate_and_heard_at_16_khz(bare_server: PulseServer, listen: Listen, rate: int, channels: int) -> None:
    plug_in(bare_server, rate, channels)
    listening = listen()
    assert (listening.microphone.negotiated.rate, listening.microphone.negotiated.channels) == (rate, channels)
    t = np.arange(rate * 2) / rate
    tone = (0.5 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    bare_server.play(np.repeat(tone[:, None], channels, axis=1), rate).wait()
    wait_until(lambda: (np.abs(listening.heard()) > 0.1).sum() > 24_000)
    listening.close()
    heard = listening.heard()
    inside = np.flatnonzero(np.abs(heard) > 0.1)
    spectrum = np.abs(np.fft.rfft(heard[inside[0] + 1000 :][:16_000] * np.hanning(16_000)))
    assert spectrum.argmax() == 1000
    assert 0.49 < np.abs(heard).max() < 0.51


def test_unplugging_without_another_source_is_told_and_the_device_taken_back(bare_server: PulseServer, listen: Listen) -> None:
    plugged = plug_in(bare_server)
    listening = listen()
    listening.wait_for("open")
    unplugged_s = time.monotonic()
    bare_server.unload(plugged)
    lost = listening.wait_for("lost")
    assert listening.times[lost] - unplugged_s < 2  # the law says 1 s, benchmarks/capture_loss.py measures it
    plug_in(bare_server, 44_100, 2)
    opened = listening.wait_for("open", lost)
    outage_s = listening.times[opened] - listening.times[lost]
    wait_until(lambda: any(isinstance(record, AudioBlock) for record in list(listening.records)[opened:]))
    assert (listening.microphone.negotiated.rate, listening.microphone.negotiated.channels) == (44_100, 2)
    lost_s = sum(gap.stop - gap.start for gap in listening.gaps()) / 16_000
    assert lost_s == pytest.approx(outage_s, abs=1.0)
    assert {gap.reason for gap in listening.gaps()} == {"device"}


@pytest.mark.parametrize("answer_s", [0.0, 0.4])
def test_no_frame_of_another_source_is_heard(
    bare_server: PulseServer, listen: Listen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer_s: float
) -> None:
    slow = tmp_path / "bin" / "pactl"  # the real one, on a machine too busy to answer at once
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *list*) sleep {answer_s};; esac\nexec {shutil.which("pactl")} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=os.pathsep)
    bare_server.load("module-null-sink", "sink_name=speaker", "rate=16000", "channels=1", "format=float32le")
    bare_server.load("module-null-sink", "sink_name=mic", "rate=16000", "channels=1", "format=float32le", "norewinds=1")
    plugged = bare_server.load("module-remap-source", "source_name=test_mic", "master=mic.monitor")
    listening = listen()
    wait_until(lambda: len(listening.heard()) > 8_000)
    loud = bare_server.play(np.full(16_000 * 60, 0.5, np.float32), sink="speaker")
    try:
        bare_server.pactl("set-default-source", "speaker.monitor")
        unplugged_s = time.monotonic()
        bare_server.unload(plugged)
        # A server may also leave a stream that it moves without frames: then nothing needs refusing, and it is lost.
        wait_until(lambda: {"changed", "lost"} & set(listening.states()), 40)
        gone = next(at for at, record in enumerate(listening.records) if isinstance(record, Device) and record.state in ("changed", "lost"))
        record = listening.records[gone]
        if not answer_s:
            assert listening.times[gone] - unplugged_s < 2
            assert "speaker.monitor" in record.detail
        time.sleep(2)  # the reopening tries in vain: what is offered is the speaker
        assert listening.states()[-1] == record.state
        bare_server.load("module-remap-source", "source_name=test_mic", "master=mic.monitor")
        opened = listening.wait_for("open", gone)
        wait_until(lambda: any(isinstance(record, AudioBlock) for record in list(listening.records)[opened:]))
    finally:
        loud.kill()
    assert np.abs(listening.heard()).max() == 0


def test_the_sound_server_may_die_and_come_back(server: PulseServer, listen: Listen) -> None:
    listening = listen()
    listening.wait_for("open")
    server.stop()
    lost = listening.wait_for("lost")
    server.start()
    opened = listening.wait_for("open", lost)
    server.play(counter(8_000)).wait()
    wait_until(lambda: decoded(listening.heard()).max(initial=0) == 8_000)
    assert any(isinstance(record, Gap) for record in listening.records[lost:opened])


def test_frames_that_stop_without_an_error_are_told_and_the_stream_reopened(server: PulseServer, listen: Listen) -> None:
    listening = listen()
    listening.wait_for("open")
    server.pactl("suspend-source", "test_mic", "1")
    stalled = listening.wait_for("stalled")
    lost = listening.wait_for("lost", stalled)
    server.pactl("suspend-source", "test_mic", "0")
    listening.wait_for("open", lost)


def test_a_time_line_through_loss_and_return_keeps_the_clock(bare_server: PulseServer, listen: Listen) -> None:
    plugged = plug_in(bare_server)
    listening = listen()
    for _ in range(2):
        since = len(listening.records)  # it may be told before unloading has returned
        bare_server.unload(plugged)
        lost = listening.wait_for("lost", since)
        plugged = plug_in(bare_server)
        listening.wait_for("open", lost)
    wait_until(lambda: isinstance(listening.records[-1], AudioBlock))
    now_s = (time.time_ns() - listening.microphone.anchor_ns) / 1e9
    assert listening.microphone.ring.head / 16_000 == pytest.approx(now_s, abs=0.5)


def test_without_a_sound_server_it_starts_degraded_and_opens_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
    with pulse_server(tmp_path, monkeypatch, NULL_SINK_MICROPHONE.format(rate=16_000, channels=1)) as server:
        server.stop()
        with pytest.raises(DeviceError, match="start the sound server"):
            Microphone(MICROPHONE)
        listening = listen(wait=True)
        lost = listening.wait_for("lost")
        first = listening.records[0]
        assert isinstance(first, Device)
        assert first.at == 0
        server.start()
        listening.wait_for("open", lost)
        server.play(counter(8_000)).wait()
        wait_until(lambda: decoded(listening.heard()).max(initial=0) == 8_000)


def test_whatever_goes_wrong_while_it_is_looked_for_it_is_looked_for_again(
    bare_server: PulseServer, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged = plug_in(bare_server)
    listening = listen()
    tries = []

    def out_of_order() -> list[CaptureDevice]:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError(24, "Too many open files")
        return devices()

    monkeypatch.setattr("edge.microphone.devices", out_of_order)
    bare_server.unload(plugged)
    lost = listening.wait_for("lost")
    plug_in(bare_server)
    listening.wait_for("open", lost)
    assert len(tries) >= 3


def test_portaudio_that_does_not_start_is_told_and_started_the_next_time(server: PulseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices()
    sounddevice = portaudio()
    start, failures = sounddevice._initialize, [2]

    def initialize() -> None:
        if failures[0]:
            failures[0] -= 1
            raise sounddevice.PortAudioError("Error initializing PortAudio: Unanticipated host error [-9999]")
        start()

    monkeypatch.setattr(sounddevice, "_initialize", initialize)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"PortAudio does not start .*Unanticipated host error"):
            devices()
    assert devices()


def test_of_two_of_a_kind_the_one_that_was_opened_is_opened_again() -> None:
    microphone = Microphone.__new__(Microphone)
    one, two, again = (device(f"USB Mic: Audio (hw:{card},0)", index=card) for card in (1, 2, 3))
    webcam = device("Webcam (hw:0,0)", is_default=True)
    microphone._known, microphone._wanted, microphone._others = None, None, set()
    microphone._know(two, [one, two, webcam])
    assert microphone._find([one, two, again]) == two
    assert microphone._find([one, again]) == again, "it has another number now"
    with pytest.raises(DeviceError, match="another of its kind is not it"):
        microphone._find([one, webcam])
    microphone._known, microphone._wanted, microphone._others = None, None, set()
    microphone._know(two, [two])
    assert microphone._find([webcam, again]) == again
    with pytest.raises(DeviceError, match="there is no microphone"):
        microphone._find([webcam])


def test_whoever_waits_for_a_microphone_that_is_away_is_asked_again_at_once(bare_server: PulseServer) -> None:
    """So that a signal to end is seen: between two gaps of an outage half a minute may pass."""
    microphone = Microphone(MICROPHONE, wait=True)
    microphone._next_piece_s = time.monotonic() + 30.0
    microphone.events()
    begin = time.monotonic()
    microphone.fill(microphone.ring.head + 512)
    assert time.monotonic() - begin < 5.0
    microphone.close()


def test_a_try_that_hangs_is_not_told_as_an_outage_that_is_dealt_with(
    bare_server: PulseServer, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a watchdog, which is fed by what is told, starts the program anew."""
    plugged = plug_in(bare_server)
    listening = listen()
    monkeypatch.setattr("edge.microphone._HUNG_S", 1.5)
    go_on = threading.Event()
    monkeypatch.setattr("edge.microphone.devices", lambda: go_on.wait(30.0) and devices())
    bare_server.unload(plugged)
    lost = listening.wait_for("lost")
    wait_until(lambda: len(listening.gaps()) >= 1)
    time.sleep(3.0)
    held = len(listening.gaps())
    time.sleep(3.0)
    assert len(listening.gaps()) == held
    plug_in(bare_server)
    go_on.set()
    listening.wait_for("open", lost)


def test_nan_and_clipping_from_a_device_are_cleaned_and_counted(server: PulseServer, listen: Listen) -> None:
    listening = listen()
    wild = np.full(8_000, 0.25, np.float32)
    wild[[100, 5_000]] = np.nan
    wild[200] = 7.0
    server.play(wild).wait()
    wait_until(lambda: (listening.heard() == 0.25).sum() > 7_900)
    listening.close()
    assert listening.microphone.cleaned >= 1
    assert np.isfinite(listening.heard()).all()
    assert np.abs(listening.heard()).max() <= 1


def test_a_silent_device_is_dead_not_a_quiet_room(server: PulseServer, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_signal, "PATIENCE_S", 1.0)
    listening = listen()
    dead = listening.wait_for("dead")
    record = listening.records[dead]
    assert isinstance(record, Device)
    assert "zeros" in record.detail
    server.play(np.random.default_rng(1).uniform(-0.1, 0.1, 16_000).astype(np.float32))
    listening.wait_for("open", dead)
    assert listening.gaps() == []


JACK_LISTENER = """
from edge.capture import Microphone, devices
from edge.ring import blocks
from edge.types import AudioBlock, Device
jack = next(device for device in devices() if "JACK" in device.host_api)
microphone = Microphone(f"{jack.name}, {jack.host_api}")
heard = 0
for record in blocks(microphone):
    if isinstance(record, Device):
        print(record.state, microphone.negotiated.rate, microphone.negotiated.channels, flush=True)
        if record.state == "lost":
            break
    elif isinstance(record, AudioBlock):
        heard += len(record.samples)
        if heard - len(record.samples) < 16_000 <= heard:
            print("heard", flush=True)
microphone.close()
print("closed", flush=True)
"""


def test_jack_is_captured_at_the_rate_it_insists_on_and_its_death_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of its own: PortAudio aborts the process when it is terminated after JACK has died.
    with (
        jack_server(tmp_path, monkeypatch, rate=48_000, channels=4) as jack,
        subprocess.Popen([sys.executable, "-c", JACK_LISTENER], stdout=subprocess.PIPE, text=True) as listener,
    ):
        assert listener.stdout is not None
        assert listener.stdout.readline() == "open 48000 4\n"
        assert listener.stdout.readline() == "heard\n"
        jack.terminate()
        assert listener.stdout.read().split()[0::3] == ["lost", "closed"]
        assert listener.wait(20) == 0


def test_an_unknown_device_is_refused_with_the_near_ones(server: PulseServer) -> None:
    with pytest.raises(DeviceError, match="'test_mic'"):
        Microphone("test_mike")


def test_closing_leaves_no_thread_and_no_process(server: PulseServer) -> None:
    before = set(threading.enumerate())
    microphone = Microphone(MICROPHONE)
    assert set(threading.enumerate()) > before
    microphone.close()
    microphone.close()
    assert set(threading.enumerate()) == before
    assert microphone.ended
    wait_until(lambda: "source-output" not in server.pactl("list", "short", "source-outputs") and not _output_of_python(server))


def test_a_stream_that_nobody_closed_does_not_write_into_what_is_freed(server: PulseServer) -> None:
    forgotten = weakref.ref(Microphone(MICROPHONE))
    gc.collect()
    assert forgotten() is None
    assert len(_written_by_portaudio) == 1
    tap = next(iter(_written_by_portaudio))
    written = tap.frames
    wait_until(lambda: tap.frames > written)
    microphone = Microphone(MICROPHONE)
    assert len(_written_by_portaudio) == 2
    microphone.close()
    assert _written_by_portaudio == {tap}, "of a stream that is closed nothing is kept"
    portaudio()._terminate()  # closes what was forgotten
    portaudio()._initialize()
    _written_by_portaudio.clear()


@pytest.mark.parametrize("where", ["start", "observe"])
def test_ctrl_c_while_a_microphone_is_opened_leaves_no_stream(server: PulseServer, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((portaudio()._StreamBase, "start") if where == "start" else (DeviceStream, "observe")), interrupted)
    with pytest.raises(KeyboardInterrupt):
        Microphone(MICROPHONE)
    assert not _written_by_portaudio
    wait_until(lambda: not _output_of_python(server))


@pytest.mark.parametrize("late", [False, True])
def test_closing_while_it_is_reopened_leaves_no_stream(bare_server: PulseServer, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Whether the new stream was opened just before close(), and not adopted yet, or is just after it."""
    plugged = plug_in(bare_server)
    microphone = Microphone(MICROPHONE)
    bare_server.unload(plugged)
    wait_until(lambda: (microphone.events(), microphone.fill(microphone.ring.head + 512), microphone._stream is None)[-1])
    go_on, open_anew, reopening = threading.Event(), microphone._open, microphone._reopening

    def slowly() -> DeviceStream:
        fresh = open_anew()
        assert not late or go_on.wait(30.0)
        return fresh

    monkeypatch.setattr(microphone, "_open", slowly)
    plug_in(bare_server)
    wait_until(lambda: len(_written_by_portaudio) == 1 if late else microphone._fresh is not None)
    microphone.close()
    go_on.set()
    assert reopening is not None
    reopening.join(30.0)
    assert not _written_by_portaudio


def _output_of_python(server: PulseServer) -> bool:
    return "ALSA plug-in [python" in server.pactl("list", "source-outputs")


def device(name: str, host_api: str = "ALSA", is_default: bool = False, index: int = 0) -> CaptureDevice:
    return CaptureDevice(name, host_api, 48_000, 2, is_default, index)


CARDS = [device("USB Audio: - (hw:1,0)", index=3), device("HDA Intel PCH: ALC257 (hw:0,0)"), device("default", is_default=True)]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("USB Audio: - (hw:1,0)", "USB Audio: - (hw:1,0)"),
        ("USB Audio: -", "USB Audio: - (hw:1,0)"),
        ("usb audio", "USB Audio: - (hw:1,0)"),
        ("default, ALSA", "default"),
        ("alc257", "HDA Intel PCH: ALC257 (hw:0,0)"),
        (None, "default"),
    ],
)
def test_a_device_is_found_by_name(name: str | None, found: str) -> None:
    assert find(name, CARDS).name == found


def test_a_device_is_the_same_under_another_card_number() -> None:
    was = find("usb", CARDS)
    assert find(f"{was.stable_name}, {was.host_api}", [device("USB Audio: - (hw:4,0)", index=9)]).index == 9


def test_an_ambiguous_name_is_refused_with_the_candidates() -> None:
    twins = [device("USB Audio: - (hw:1,0)"), device("USB Audio: - (hw:2,0)", index=1)]
    with pytest.raises(DeviceError, match=r"hw:1,0.*hw:2,0"):
        find("USB Audio: -", twins)
    assert find("USB Audio: - (hw:2,0)", twins).index == 1


def test_no_device_at_all_is_told_with_a_remedy() -> None:
    with pytest.raises(DeviceError, match="plug one in"):
        find(None, [])


def test_an_absent_portaudio_library_is_told_with_its_package() -> None:
    program = (
        "import ctypes.util\nctypes.util.find_library = lambda name: None\n"
        "from edge.capture import devices\nfrom edge.errors import DeviceError\n"
        "try:\n    devices()\nexcept DeviceError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "apt-get install libportaudio2" in answer.stdout


def test_importing_capture_loads_no_audio_library() -> None:
    program = "import sys, edge.capture; print([name for name in ('sounddevice', 'soundfile', 'soxr') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("chunk", [7, 480, 5000])
@pytest.mark.parametrize("kind", ["zeros", "stuck", "repeated"])
def test_a_dead_signal_is_found_after_its_patience_and_not_before(kind: str, chunk: int) -> None:
    buffer = np.random.default_rng(2).uniform(-0.1, 0.1, 480).astype(np.float32)
    signal = {"zeros": np.zeros(80_000), "stuck": np.full(80_000, 0.125), "repeated": np.tile(buffer, 170)}[kind].astype(np.float32)
    watch = DeadSignal(16_000, patience_s=3.0)
    found = next(at for at in range(0, len(signal), chunk) if watch.feed(signal[at : at + chunk]))
    assert 3.0 <= (found + chunk) / 16_000 <= 4.6 + chunk / 16_000


def test_a_quiet_room_and_a_tone_are_not_dead() -> None:
    rng = np.random.default_rng(3)
    quiet = (np.round(rng.normal(0, 1.5, 160_000)) / 32_768).astype(np.float32)  # a 16-bit microphone's last bits
    tone = np.tile(np.sin(np.arange(16) * 2 * np.pi / 16), 10_000).astype(np.float32)
    for signal in (quiet, tone):
        watch = DeadSignal(16_000, patience_s=2.0)
        assert not any(watch.feed(signal[at : at + 512]) for at in range(0, len(signal), 512))
