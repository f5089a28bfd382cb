"""Laws of many devices at one real mosquitto with the access list of docs/fleet.md: each is itself, none speaks for another."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from test_bridge import Listener, Mosquitto, caption, until

from edge.bridge.mqtt import Broker, MqttBridge
from edge.bridge.outbox import Outbox
from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket

ACCESS = Path("packaging/mosquitto.acl")


def password_of(name: str) -> str:
    return f"{name}-s3cret"


def fleet_broker(folder: Path, names: Sequence[str]) -> Mosquitto:
    """A broker that knows these devices and an engine, each by its password."""
    folder.mkdir(parents=True)
    passwords, access = folder / "passwords", folder / "access"
    passwords.write_text("".join(f"{name}:{password_of(name)}\n" for name in [*names, "engine"]))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
    access.write_text(Path(__file__).resolve().parent.parent.joinpath(ACCESS).read_text())
    for file in (passwords, access):
        file.chmod(0o600)
    more = ("user root", "listener PORT 127.0.0.1", "allow_anonymous false", f"password_file {passwords}", f"acl_file {access}")
    return Mosquitto(folder, *more)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = fleet_broker(tmp_path / "broker", ["hall", "attic"]).start()
    yield found
    found.kill()


class Device:
    """A stream and its bridge."""

    def __init__(self, folder: Path, port: int, name: str, user: str, password: str) -> None:
        self.said: list[str] = []
        self.stream = Broadcast()
        place = folder / f"{name}-{user}.sock"
        self._open = ExitStack()
        self._open.enter_context(LocalSocket(place, self.stream, lambda question, last_s: {}))
        self._outbox = Outbox(folder / f"{name}-{user}.db")
        self._bridge = MqttBridge(Broker("127.0.0.1", port, user, password), name, self._outbox, ["Bark"], self.said.append)
        self._thread = threading.Thread(target=self._bridge.run, args=(place,))
        self._thread.start()
        until(lambda: self.stream.readers == 1)

    def waiting(self) -> int:
        return len(self._outbox.waiting(0, 100))

    def close(self) -> None:
        self._bridge.stop()
        self._thread.join(10)
        self._open.close()


def engine(port: int, user: str = "engine") -> Listener:
    class Known(Listener):
        def __init__(self) -> None:
            self.got = []
            self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
            self.client.username_pw_set(user, password_of(user))
            self.client.on_connect = lambda client, *rest: client.subscribe("auricle/#", qos=1)
            self.client.on_message = lambda client, data, m: self.got.append((m.topic, m.payload.decode(), bool(m.retain)))
            self.client.connect("127.0.0.1", port)
            self.client.loop_start()

    return Known()


def test_an_engine_hears_every_device_and_a_device_only_itself(broker: Mosquitto, tmp_path: Path) -> None:
    whole, attic_only = engine(broker.port), engine(broker.port, "attic")
    devices = [Device(tmp_path, broker.port, name, name, password_of(name)) for name in ("hall", "attic")]
    for number, device in enumerate(devices):
        device.stream.publish(caption(number, f"in {number}"))
    until(lambda: len(whole.of("record/caption")) == 2)
    until(lambda: len(attic_only.of("record/caption")) == 1)
    topics = {topic for topic, _, _ in whole.got if topic.endswith("record/caption")}
    assert topics == {"auricle/hall/record/caption", "auricle/attic/record/caption"}
    assert {topic.split("/")[1] for topic, _, _ in attic_only.got} == {"attic"}
    for closing in (*devices, whole, attic_only):
        closing.close()


def test_no_device_speaks_for_another(broker: Mosquitto, tmp_path: Path) -> None:
    whole = engine(broker.port)
    liar: Any = Device(tmp_path, broker.port, "hall", "attic", password_of("attic"))  # the attic's password, the hall's name
    honest = Device(tmp_path, broker.port, "attic", "attic", password_of("attic"))
    liar.stream.publish(caption(1, "the hall is on fire"))
    honest.stream.publish(caption(2, "quiet"))
    until(lambda: len(whole.of("record/caption")) == 1)
    assert {topic.split("/")[1] for topic, _, _ in whole.got} == {"attic"}
    until(lambda: any("lets attic publish nothing below auricle/hall" in said for said in liar.said))
    assert liar.waiting() == 1, "what is refused waits for a better access list"
    for closing in (liar, honest, whole):
        closing.close()


class Old(threading.Thread):
    """Stands before a broker and knows MQTT 3.1.1 only, as it says when one comes with another."""

    def __init__(self, behind: int) -> None:
        super().__init__(daemon=True)
        self._behind, self._door = behind, socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.versions: list[int] = []
        self.start()

    def run(self) -> None:
        while True:
            client, _ = self._door.accept()
            hello = client.recv(4096)
            self.versions.append(hello[hello.index(b"MQTT") + 4])
            if self.versions[-1] > 4:
                client.sendall(b"\x20\x02\x00\x01")  # CONNACK: unacceptable protocol version
                client.close()
                continue
            broker = socket.create_connection(("127.0.0.1", self._behind))
            broker.sendall(hello)
            for source, target in ((client, broker), (broker, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_a_broker_of_the_old_version_is_spoken_to_in_it(broker: Mosquitto, tmp_path: Path) -> None:
    whole, old = engine(broker.port), Old(broker.port)
    device = Device(tmp_path, old.port, "hall", "hall", password_of("hall"))
    device.stream.publish(caption(1))
    until(lambda: len(whole.of("record/caption")) == 1, 30)
    assert old.versions[:2] == [5, 4]
    for closing in (device, whole):
        closing.close()


def test_who_is_not_known_is_told_so(broker: Mosquitto, tmp_path: Path) -> None:
    stranger = Device(tmp_path, broker.port, "hall", "hall", "wrong")
    until(lambda: stranger.said)
    assert "refuses us" in stranger.said[0]
    stranger.close()
