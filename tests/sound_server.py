"""Real sound servers for tests: PulseAudio with a virtual microphone, and JACK with its dummy driver; no hardware needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

HAS_PULSEAUDIO = shutil.which("pulseaudio") is not None and shutil.which("pactl") is not None
HAS_JACK = shutil.which("jackd") is not None
MICROPHONE = "test_mic"  # the ALSA device, as PortAudio lists it, and the PulseAudio source behind it

_PULSE_START = """\
.fail
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
"""
# A microphone whose samples arrive bit for bit: what is played into the sink `mic` is what the source `test_mic` hears.
NULL_SINK_MICROPHONE = """\
load-module module-null-sink sink_name=mic rate={rate} format=float32le channels={channels} norewinds=1
load-module module-remap-source source_name=test_mic master=mic.monitor
"""
_ASOUNDRC = """\
pcm.test_mic {{ type pulse device "test_mic" hint {{ show on description "Test microphone" }} }}
"""


def wait_until(condition: Callable[[], object], seconds: float = 20.0, what: str = "") -> None:
    """Polls; for tests on a busy machine, where only the upper bound is generous."""
    give_up_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_s:
            raise TimeoutError(what or f"condition not met within {seconds} s")
        time.sleep(0.01)


class PulseServer:
    """One PulseAudio daemon with its own run-time folder. environment: what a client needs to reach it."""

    def __init__(self, folder: Path, script: str = "") -> None:
        self.folder = folder
        self.socket = folder / "native"
        (folder / "start.pa").write_text(_PULSE_START.format(socket=self.socket) + script)
        (folder / "asoundrc").write_text(_ASOUNDRC.format())
        self.environment = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_STATE_PATH": str(folder),
            "PULSE_SERVER": f"unix:{self.socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{folder / 'asoundrc'}",
            "JACK_NO_START_SERVER": "1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder / "pulseaudio.log").open("ab")
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit=no", "--use-pid-file=no"]
        self.process = subprocess.Popen(
            [*command, "--realtime=no", "--high-priority=no", "-F", str(self.folder / "start.pa")],
            env={**os.environ, **self.environment},
            stdout=log,
            stderr=log,
        )
        log.close()
        wait_until(lambda: self._answers(), what=f"PulseAudio did not start: {(self.folder / 'pulseaudio.log').read_text()}")

    def stop(self) -> None:
        """Kills the daemon, as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def pactl(self, *arguments: str) -> str:
        return subprocess.run(
            ["pactl", *arguments], env={**os.environ, **self.environment}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def load(self, module: str, *arguments: str) -> str:
        """Returns the module's index, for unload()."""
        return self.pactl("load-module", module, *arguments)

    def unload(self, index: str) -> None:
        self.pactl("unload-module", index)

    def play(self, samples: np.ndarray, rate: int = 16_000, sink: str = "mic") -> subprocess.Popen[bytes]:
        """Starts playing float32[n] or [n, channels] into a sink; the process ends when it has been heard."""
        path = self.folder / f"play-{time.monotonic_ns()}.f32"
        np.ascontiguousarray(samples, np.float32).tofile(path)
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        arguments = ["--raw", "--format=float32le", f"--rate={rate}", f"--channels={channels}", f"--device={sink}", str(path)]
        return subprocess.Popen(["paplay", *arguments], env={**os.environ, **self.environment})

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "pulseaudio.log").read_text()
        with contextlib.suppress(subprocess.CalledProcessError):
            self.pactl("info")
            return True
        return False


@contextlib.contextmanager
def pulse_server(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = "") -> Iterator[PulseServer]:
    """A running daemon that this process's PortAudio reaches."""
    if not HAS_PULSEAUDIO:
        pytest.skip("pulseaudio is not installed (apt-get install pulseaudio pulseaudio-utils libasound2-plugins)")
    server = PulseServer(folder, script)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def jack_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rate: int = 48_000, channels: int = 4, period: int = 480
) -> Iterator[subprocess.Popen[bytes]]:
    """A running jackd with the dummy driver; yields its process."""
    if not HAS_JACK:
        pytest.skip("jackd is not installed (apt-get install jackd2)")
    # Few names and a gentle end: JACK's registry in shared memory has eight places, and a killed server keeps its own until
    # another of the same name comes.
    name = f"auricle-test-{os.getpid() % 4}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    monkeypatch.setenv("PULSE_SERVER", f"unix:{folder / 'none'}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    log = (folder / "jackd.log").open("ab")
    process = subprocess.Popen(
        ["jackd", "-n", name, "-r", "-d", "dummy", "-r", str(rate), "-p", str(period), "-C", str(channels)], stdout=log, stderr=log
    )
    log.close()
    try:
        wait_until(lambda: subprocess.run(["jack_lsp"], capture_output=True).returncode == 0, what="jackd did not start")
        yield process
    finally:
        process.terminate()
        process.wait()
