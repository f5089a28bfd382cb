"""Laws of `auricle doctor`: each thing that is wrong is named with its remedy, nothing else is, and what is given away holds no secrets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sound_server import MICROPHONE, NULL_SINK_MICROPHONE, PulseServer, pulse_server

import edge
from edge.config import Config
from edge.doctor import Finding, Machine, examine, serving, sound, system
from edge.doctor.report import anonymous, write
from edge.serve.broadcast import Broadcast
from edge.serve.history import History
from edge.serve.local_socket import LocalSocket

STARTER = Path(edge.__file__).parent / "bundles/starter"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of our own: no sound server, no socket, no history."""
    for name in [name for name in os.environ if name.startswith("AURICLE_") or name.startswith("PULSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def doctor(*arguments: str, **environ: str) -> tuple[int, dict[str, list[Finding]], str]:
    """Exit code, findings by what they are about, and what was said on stderr."""
    command = [sys.executable, "-m", "edge.cli", "doctor", "--json", "--no-microphone", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, timeout=120)
    found: dict[str, list[Finding]] = {}
    for entry in json.loads(done.stdout):
        found.setdefault(entry["about"], []).append(Finding(**entry))
    return done.returncode, found, done.stderr


def wrong(found: dict[str, list[Finding]]) -> set[str]:
    """What is wrong beside the machine's own lack of microphones."""
    return {f.about for many in found.values() for f in many if f.state == "wrong"} - {"microphone", "sound cards"}


def test_a_sound_machine_has_nothing_wrong(home: Path) -> None:
    _, found, _ = doctor("--web", "127.0.0.1:0", "--history", "text")
    assert wrong(found) == set()
    assert {"auricle", "libraries", "bundle", "memory", "socket", "web", "history", "clock", "power", "sound server"} <= set(found)
    assert "starter" in found["bundle"][0].said


def damaged(folder: Path) -> Path:
    copy = folder / "damaged"
    shutil.copytree(STARTER, copy)
    model = next(copy.glob("encoder.*"))
    model.write_bytes(model.read_bytes()[:-100])
    return copy


def taken_port() -> tuple[socket.socket, str]:
    held = socket.create_server(("127.0.0.1", 0))
    return held, f"127.0.0.1:{held.getsockname()[1]}"


def newer_history(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE record (id)")
        database.execute("PRAGMA user_version=999")


# What is seeded -> (about, words of the finding, words of the remedy).
SEEDED = {
    "an unknown variable": ({"AURICLE_THREDS": "2"}, (), "options", "AURICLE_THREDS", "AURICLE_THREADS"),
    "a word in the file that is none": ({}, ("--config", "typo.toml"), "options", "bundel", "bundle"),
    "no such bundle": ({}, ("--bundle", "nowhere"), "bundle", "nowhere", ""),
    "a damaged bundle": ({}, ("--bundle", "damaged"), "bundle", "encoder", ""),
    "more threads than cores": ({}, ("--threads", "64"), "threads", "64 threads", "set threads to"),
    "too little memory": ({}, ("--memory-mb", "10"), "bundle", "10 MB", "memory_mb"),
    "a provider that is not there": ({}, ("--providers", "cuda,cpu"), "providers", "cuda", "providers"),
    "the server of nobody": ({"PULSE_SERVER": "unix:/tmp/no-such-server"}, (), "sound server", "nobody answers", "pipewire-pulse"),
    "a port that is taken": ({}, ("--web", "TAKEN"), "web", "in use", "ss -ltnp"),
    "others without a token": ({}, ("--web", "0.0.0.0:0"), "web", "no token", ""),
    "a short token": ({"AURICLE_TOKEN": "abc"}, ("--web", "127.0.0.1:0"), "web", "3 characters", "openssl"),
    "no place for the history": ({}, ("--history", "text", "--history-mb", "999999"), "history", "MB are free", "history_mb"),
    "a file where the socket goes": ({}, ("--socket", "file"), "socket", "another kind", "name another place"),
    "a path too long for a socket": ({}, ("--socket", "x" * 120), "socket", "107 bytes", "shorter"),
}


@pytest.mark.parametrize("name", SEEDED)
def test_each_seeded_fault_is_named_with_its_remedy_and_nothing_else_is(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environ, arguments, about, said, remedy = SEEDED[name]
    (home / "typo.toml").write_text("bundel = 'starter'\n")
    (home / "file").write_text("")
    held, port = taken_port()
    swapped = {"typo.toml": str(home / "typo.toml"), "file": str(home / "file"), "TAKEN": port, "x" * 120: str(home / ("x" * 120))}
    if "damaged" in arguments:
        swapped["damaged"] = str(damaged(home))
    code, found, _ = doctor(*(swapped.get(a, a) for a in arguments), **environ)
    held.close()
    assert code == 1
    assert wrong(found) == {about}
    finding = next(f for f in found[about] if f.state == "wrong")
    assert said in finding.said + finding.remedy, finding
    assert remedy in finding.remedy + finding.said, finding
    assert finding.remedy


def test_a_history_of_a_newer_auricle_is_noted_and_left_alone(home: Path) -> None:
    path = home / "newer.db"
    newer_history(path)
    before = path.read_bytes()
    _, found, _ = doctor("--history", "text", "--history-path", str(path))
    assert wrong(found) == set()
    assert found["history"][0].state == "note"
    assert "999" in found["history"][0].said
    assert path.read_bytes() == before


def test_a_running_server_is_found_and_a_left_over_socket_is_no_fault(home: Path) -> None:
    path = home / "auricle.sock"
    with LocalSocket(path, Broadcast(), lambda question, last: {}):
        assert "is running" in doctor()[1]["socket"][0].said
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path))
    _, found, _ = doctor()
    assert (found["socket"][0].state, "left behind" in found["socket"][0].said) == ("good", True)


def test_a_running_server_s_own_ports_are_not_wrong_and_anothers_are(home: Path) -> None:
    held, port = taken_port()
    with closing(held):
        for option, name in (("--web", "web"), ("--wyoming", "wyoming")):
            _, found, _ = doctor(option, port)
            assert (found[name][0].state, "ss -ltnp" in found[name][0].remedy) == ("wrong", True)
            with LocalSocket(home / "auricle.sock", Broadcast(), lambda question, last: {}):
                _, found, _ = doctor(option, port)
            assert (found[name][0].state, "is running" in found[name][0].said) == ("good", True)


def test_what_another_user_has_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, to whom nothing is shut."""
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(home / "auricle.sock"))
        monkeypatch.setattr(serving, "_reached", lambda path: PermissionError(13, "Permission denied"))
        (told,) = serving.stream(Machine(Config()))
    assert (told.state, "is shut to this user" in told.said, bool(told.remedy)) == ("wrong", True, True)
    kept = home / "history.db"
    kept.touch()
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != kept and writable(path, mode))
    (told,) = serving.history(Machine(Config(history="text", history_path=str(kept))))
    assert (told.state, str(kept) in told.said) == ("wrong", True)


@pytest.mark.parametrize(("option", "package", "extra"), [("web", "uvicorn", "web"), ("wyoming", "wyoming", "wyoming")])
def test_an_extra_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, option: str, package: str, extra: str) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == package else find_spec(name))
    check = {"web": serving.pages, "wyoming": serving.voices}[option]
    (told,) = check(Machine(Config(**{option: "127.0.0.1:0"})))
    assert (told.state, told.remedy) == ("wrong", f"pip install 'auricle[{extra}]'")


def tree(root: Path, governor: str = "schedutil", celsius: float = 40.0) -> Path:
    cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
    zone = root / "sys/class/thermal/thermal_zone0"
    for folder in (cpu, zone, root / "dev/snd"):
        folder.mkdir(parents=True)
    (cpu / "scaling_governor").write_text(governor + "\n")
    (zone / "temp").write_text(f"{celsius * 1000:.0f}\n")
    (zone / "type").write_text("soc-thermal\n")
    return root


def test_heat_and_a_sleepy_governor_are_noted(tmp_path: Path) -> None:
    calm = list(system.processor(Machine(Config(), tree(tmp_path / "calm"))))
    assert [f.state for f in calm] == ["good"]
    hot = list(system.processor(Machine(Config(), tree(tmp_path / "hot", "powersave", 91.0))))
    assert [f.state for f in hot] == ["good", "note", "note"]
    assert "powersave" in hot[1].said
    assert "soc-thermal is at 91" in hot[2].said


def test_sound_cards_that_are_shut_are_named_with_their_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path)
    (card := root / "dev/snd/pcmC1D0c").write_text("")
    machine = Machine(Config(), root)
    assert next(sound.permissions(machine)).state == "good"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != card)  # root may open everything
    (finding,) = sound.permissions(machine)
    assert finding.state == "wrong"
    assert "pcmC1D0c" in finding.said
    assert f"usermod -aG {card.group()}" in finding.remedy


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    with pulse_server(tmp_path, monkeypatch, NULL_SINK_MICROPHONE.format(rate=48_000, channels=1)) as running:
        yield running


def test_a_microphone_is_heard_and_a_muted_one_is_told_from_a_quiet_room(server: PulseServer) -> None:
    machine = Machine(Config(device=MICROPHONE), listen_s=0.5)
    states = {f.about: f for f in sound.microphone(machine)}
    assert states["microphone"].state == "good"
    assert states["hearing"].state == "wrong"
    assert "digital silence" in states["hearing"].said
    assert "alsamixer" in states["hearing"].remedy
    noise = np.random.default_rng(1).normal(0, 0.01, 48_000 * 20).astype(np.float32)
    player = subprocess.Popen(
        ["pacat", "--raw", "--rate=48000", "--channels=1", "--format=float32le", "--device=mic"], stdin=subprocess.PIPE, env=os.environ
    )
    assert player.stdin is not None
    feeding = threading.Thread(target=_feed, args=(player, noise.tobytes()), daemon=True)
    feeding.start()
    try:
        heard = {f.about: f for f in sound.microphone(Machine(Config(device=MICROPHONE), listen_s=1.0))}
    finally:
        player.kill()
        player.wait()
        feeding.join()
    assert heard["hearing"].state == "good", heard["hearing"]
    assert next(sound.sound_server(machine)).said == f"answers at {server.socket}"


def _feed(player: subprocess.Popen[bytes], data: bytes) -> None:
    assert player.stdin is not None
    try:
        player.stdin.write(data)
        player.stdin.close()
    except BrokenPipeError:
        pass


def test_a_check_that_fails_by_itself_is_a_finding_and_the_next_is_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(machine: Machine) -> Iterator[Finding]:
        raise PermissionError(13, "Permission denied", "/sys/firmware")
        yield

    monkeypatch.setattr(system, "CHECKS", (broken, system.clock))
    found = list(examine(Machine(Config(), listen_s=0.0)))
    assert found[0].about == "broken"
    assert found[0].state == "wrong"
    assert found[1].about == "clock"


def test_what_is_given_away_holds_no_sound_text_or_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, spoken, name = "s3cret-token-of-the-house", "my pin is four two", "Gwendolyn"
    (home / "token").write_text(secret)
    monkeypatch.setenv("AURICLE_TOKEN", secret)
    history = History(home / "history.db", "all")
    for number in range(3):
        history.keep({"type": "caption", "id": number, "final": True, "text": spoken})
    history.close()
    config = Config(names=name, token_file=str(home / "token"), history="all", history_path=str(home / "history.db"))
    broadcast = Broadcast()
    broadcast.publish({"type": "caption", "id": 1, "final": False, "text": spoken})
    broadcast.publish({"type": "status", "lag": 0.2, "waiting": 0, "shed": 0, "text": spoken})
    path = home / "report.tar.gz"
    with LocalSocket(home / "auricle.sock", broadcast, lambda question, last: {}):
        monkeypatch.setenv("USER", "hildegard")
        monkeypatch.setenv("HOME", "/house/hildegard")
        said = f"hildegard may not open /house/hildegard/x for {name.lower()} of gwendolyn-s-house, Hildegardis may"
        write(path, config, [Finding("bundle", "good", said)])
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        archive.extractall(home / "read", filter="data")
    parts = {file.name: file.read_bytes() for file in (home / "read").rglob("*.json")}
    whole = b"".join(parts.values())
    for private in (secret, spoken, name):
        assert private.encode() not in whole
    told = json.loads(parts["findings.json"])[0]["said"]
    assert told == "USER may not open ~/x for NAME of NAME-s-house, Hildegardis may"
    assert json.loads(parts["history.json"])["caption"]["records"] == 3
    assert json.loads(parts["running.json"])["lag"] == 0.2
    assert json.loads(parts["options.json"])["names"] == "set"
    assert json.loads(parts["versions.json"])["numpy"] == np.__version__


def test_names_are_taken_out_of_texts_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("USER", "edge")
    content = {"edge": "edge at / or /run/x", "ok": True, "n": 1, "many": ["the edge", 2.5, None]}
    assert anonymous(content, Config(names="1, True")) == {**content, "edge": "USER at / or /run/x", "many": ["the USER", 2.5, None]}
    monkeypatch.setenv("HOME", "/house/al")
    monkeypatch.delenv("USER")
    told = anonymous(["/house/al", "/house/al/x", "/house/alice", "al"], Config())
    assert told == ["~", "~/x", "/house/alice", "USER"]
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # of a user without an entry in passwd
    assert anonymous("~/x", Config()) == "~/x"


def test_without_its_native_module_it_still_says_what_to_do() -> None:
    program = "import sys; sys.modules['edge._native'] = None; from edge.cli import main; sys.exit(main(['doctor', '--no-microphone']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith("WRONG  native module: it cannot be loaded")
    assert "-> install auricle again" in done.stdout
    assert done.stderr == ""
