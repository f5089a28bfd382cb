"""Laws of auricle as a service: systemd is told when it is up, and hears the beat only while samples are processed."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.commands.serve import _publish
from edge.serve.broadcast import Broadcast
from edge.serve.client import lines
from edge.serve.notify import Notify
from edge.serve.web import Vital
from edge.types import Device, Gap, Vitals

UNIT = Path("packaging/auricle.service")
SCENE = "edge/data/demo_scene.flac"
EXPOSURE = 2.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(60.0)
        yield ear


def environment(systemd: socket.socket, watchdog_s: float) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}


def test_serve_is_ready_beats_while_it_hears_and_says_that_it_stops(systemd: socket.socket, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge.cli", "serve", "--input", SCENE, "--socket", str(tmp_path / "auricle.sock")]
    process = subprocess.Popen(command, env={**os.environ, **environment(systemd, 1.0)}, stderr=subprocess.DEVNULL)
    try:
        heard = [systemd.recv(4096).decode()]
        assert heard[0].startswith("READY=1\nSTATUS=serving on ")
        begin = time.monotonic()
        heard += [systemd.recv(4096).decode() for _ in range(8)]
        assert set(heard[1:]) == {"WATCHDOG=1"}
        assert time.monotonic() - begin > 7 * 0.25 * 0.9, "at most four in the time that systemd waits for"
        process.terminate()
        while (said := systemd.recv(4096).decode()) != "STOPPING=1":
            assert said == "WATCHDOG=1"
    finally:
        process.kill()
        process.wait()


def test_a_line_that_hangs_misses_the_beat(systemd: socket.socket) -> None:
    go_on = threading.Event()

    def records(source: Any) -> Iterator[Vitals]:
        yield Vitals(512, -60.0, -60.0, None)
        go_on.wait(30.0)
        yield Vitals(1024, -60.0, -60.0, None)

    notify = Notify({**environment(systemd, 0.2), "WATCHDOG_PID": str(os.getpid())})
    line: Any = SimpleNamespace(run=records)
    source: Any = None
    thread = threading.Thread(target=_publish, args=(line, source, Broadcast(), None, Vital(), notify))
    thread.start()
    assert systemd.recv(100) == b"WATCHDOG=1"
    systemd.settimeout(1.0)  # five times as long as systemd would wait
    with pytest.raises(TimeoutError):
        systemd.recv(100)
    go_on.set()
    assert systemd.recv(100) == b"WATCHDOG=1"
    thread.join()
    notify.close()


def test_serve_without_a_microphone_waits_for_it_and_says_so(systemd: socket.socket, tmp_path: Path) -> None:
    """It answers, tells the loss and beats, for a device that may be plugged in any moment."""
    place = tmp_path / "auricle.sock"
    command = [sys.executable, "-m", "edge.cli", "serve", "--device", "no such microphone", "--socket", str(place)]
    process = subprocess.Popen(command, env={**os.environ, **environment(systemd, 4.0)}, stderr=subprocess.PIPE, text=True)
    try:
        assert systemd.recv(4096).startswith(b"READY=1")
        beats = [systemd.recv(4096) for _ in range(3)]
        assert beats == [b"WATCHDOG=1"] * 3, "the loss, and its first gaps"
        records = lines(place, {"op": "subscribe"}, timeout_s=20.0)
        assert next(records)["type"] == "snapshot"
        assert next(record for record in records if record["type"] == "gap")["reason"] == "device"
        assert process.poll() is None
        process.terminate()
        assert process.wait(10) == 130
        assert process.stderr is not None
        assert re.search(r"auricle: no such microphone: lost, .*microphone", process.stderr.read())
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("full", [True, False])
def test_where_nobody_can_read_what_is_said_the_stream_goes_on(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log on a full disk, or a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    records = Gap(0, 512, "device"), Device(512, "lost", "default", "gone"), Gap(512, 1024, "device")
    line: Any = SimpleNamespace(run=lambda source: (record for record in records))
    history: Any = SimpleNamespace(notices=["nothing is kept for now"], keep=lambda record: record)
    nowhere: Any = None
    told, stderr = Broadcast(), io.TextIOWrapper(io.FileIO("/dev/full" if full else writing, "w"), write_through=True)
    with pytest.raises(OSError, match=r"No space|Broken pipe"):
        print("so it is", file=stderr)
    monkeypatch.setattr(sys, "stderr", stderr)
    _publish(line, nowhere, told, history, Vital(), Notify({}))
    monkeypatch.undo()
    with suppress(OSError):
        stderr.close()
    assert told.newest == 3


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1000"}, {"WATCHDOG_USEC": "soon"}])
def test_without_systemd_nothing_happens(environ: dict[str, str]) -> None:
    notify = Notify(environ)
    notify.ready("up")
    notify.progressed()
    notify.stopping()
    notify.close()


def test_another_processs_watchdog_is_left_alone(systemd: socket.socket) -> None:
    notify = Notify({**environment(systemd, 1.0), "WATCHDOG_PID": str(os.getpid() + 1)})
    notify.progressed()
    notify.ready("up")
    assert systemd.recv(100).startswith(b"READY=1")
    notify.close()


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    copy = tmp_path / UNIT.name  # the program is not in /opt here, and `verify` looks for it
    copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE))
    return copy


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)


def test_systemd_understands_the_unit(unit: Path) -> None:
    found = analyzed("verify", "--man=no", str(unit))
    assert (found.returncode, found.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("Restart=always", "Restart=alwys"))
    assert "alwys" in analyzed("verify", "--man=no", str(unit)).stderr, "a test that cannot fail would be none"


def test_the_service_is_confined(unit: Path) -> None:
    found = analyzed("security", "--offline=true", str(unit)).stdout
    exposure = re.search(r"exposure level for auricle\.service: ([0-9.]+)", found)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE


def test_what_the_unit_starts_is_a_command_of_ours() -> None:
    words = next(line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")).split()[1:]
    from edge.cli import parser

    parser().parse_args(words)


def test_the_installer_empties_no_folder_that_holds_other_things(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").touch()
    done = subprocess.run(
        ["packaging/install.sh"], env={**os.environ, "PREFIX": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, (tmp_path / "bin/tool").exists()) == (1, True)
    assert "holds other things" in done.stderr
