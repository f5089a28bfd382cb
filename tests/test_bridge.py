"""Laws of the bridge to MQTT, against a real mosquitto: every message arrives through outages and kills, and a home finds the device."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from edge import cli
from edge.bridge.follow import follow
from edge.bridge.mqtt import SETTLE_S, Broker, MqttBridge, discovery
from edge.bridge.outbox import Outbox
from edge.bundle import Bundle
from edge.errors import OutputError
from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket

MOSQUITTO = "/usr/sbin/mosquitto"
NASTY = "<script>\" ' \\ \u2028 {{ 1 + 1 }} \x07 😀"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A real broker with persistence in `folder`; start() and kill() as often as wanted."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            "persistence true",
            f"persistence_location {folder}/",
            *(more or (f"listener {self.port} 127.0.0.1", "allow_anonymous true")),
        ]
        (folder / "mosquitto.conf").write_text("\n".join(line.replace("PORT", str(self.port)) for line in lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        words = [MOSQUITTO, "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
                return self
            time.sleep(0.02)
        raise AssertionError("mosquitto did not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        for name in self.folder.glob("*.db*"):
            name.unlink()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    # mosquitto gives up root for a user of its own, who must be able to write there.
    found = Mosquitto(tmp_path / "broker", "user root", "listener PORT 127.0.0.1", "allow_anonymous true").start()
    yield found
    found.kill()


class Listener:
    """A client of the broker that comes back by itself, as a home's does."""

    def __init__(self, port: int, topic: str = "#") -> None:
        self.got: list[tuple[str, str, bool]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(0.1, 0.5)
        self.client.on_connect = lambda client, *rest: client.subscribe(topic, qos=1)
        self.client.on_message = lambda client, data, message: self.got.append(
            (message.topic, message.payload.decode(), bool(message.retain))
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def of(self, ending: str) -> list[Any]:
        return [json.loads(text) for topic, text, _ in self.got if topic.endswith(ending)]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def until(check: Any, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def caption(number: int, text: str = "") -> dict[str, Any]:
    return {"type": "caption", "id": number, "revision": 1, "final": True, "start": 1.0, "end": 2.0, "text": text or f"caption {number}"}


def sound(id: int, state: str = "start", label: str = "Bark", **more: Any) -> dict[str, Any]:
    return {"type": "sound", "id": id, "state": state, "label": label, "start": 1.0, "score": 0.9, **more}


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Broadcast]:
    told = Broadcast()
    with LocalSocket(tmp_path / "auricle.sock", told, lambda question, last_s: {}):
        yield told


def bridged(broker: Broker, tmp_path: Path, said: list[str] | None = None) -> tuple[MqttBridge, threading.Thread]:
    outbox = Outbox(tmp_path / "outbox.db")
    bridge = MqttBridge(broker, "kitchen", outbox, ["Bark", "Knock"], (said if said is not None else []).append)
    thread = threading.Thread(target=bridge.run, args=(tmp_path / "auricle.sock",), daemon=True)
    thread.start()
    return bridge, thread


def ending(bridge: MqttBridge, tmp_path: Path, failed: list[str]) -> threading.Thread:
    """Runs a bridge that will fail, and why."""

    def run() -> None:
        try:
            bridge.run(tmp_path / "auricle.sock")
        except OutputError as error:
            failed.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def kitchen(broker: Mosquitto, stream: Broadcast, tmp_path: Path) -> Iterator[Listener]:
    home = Listener(broker.port)
    bridge, thread = bridged(Broker("127.0.0.1", broker.port), tmp_path)
    until(lambda: ("auricle/kitchen/availability", "online", False) in home.got and stream.readers == 1)
    yield home
    bridge.stop()
    thread.join(5)
    home.close()


def test_finals_sounds_and_events_arrive_once_each_and_the_state_is_the_newest(kitchen: Listener, stream: Broadcast) -> None:
    stream.publish({"type": "session", "schema": 1})
    stream.publish({**caption(1), "final": False})
    stream.publish(caption(1, NASTY))
    stream.publish(sound(4, label="Smoke detector, smoke alarm", priority=True))
    until(lambda: kitchen.of("/event"))  # told last of the three
    (told,) = kitchen.of("/record/caption")
    assert told["text"] == NASTY
    assert told["uid"] == f"{stream.epoch}-3"
    (event,) = kitchen.of("/event")
    assert event["event_type"] == "Smoke detector, smoke alarm"
    until(lambda: kitchen.of("/state")[-1]["alarm"])
    assert kitchen.of("/state")[-1]["caption"] == NASTY
    stream.publish(sound(4, "end", "Smoke detector, smoke alarm"))
    until(lambda: not kitchen.of("/state")[-1]["alarm"])
    assert kitchen.of("/state")[-1]["sounds"] == []


def test_who_comes_late_finds_state_availability_and_the_device(kitchen: Listener, stream: Broadcast, broker: Mosquitto) -> None:
    stream.publish(caption(1, "A dog barks."))
    until(lambda: kitchen.of("/record/caption"))
    late = Listener(broker.port)
    until(lambda: len(late.got) >= 3)
    retained = {topic: text for topic, text, kept in late.got if kept}
    assert set(retained) == {"auricle/kitchen/state", "auricle/kitchen/availability", "homeassistant/device/auricle-kitchen/config"}
    assert json.loads(retained["auricle/kitchen/state"])["caption"] == "A dog barks."
    described = json.loads(retained["homeassistant/device/auricle-kitchen/config"])
    assert described == json.loads(json.dumps(discovery("auricle", "kitchen", ["Bark", "Knock"])))
    late.close()


def test_a_home_can_use_what_is_described() -> None:
    """What Home Assistant demands of a device payload: identifiers, an origin, a platform and a unique id for each, topics that we tell."""
    labels = list(Bundle.open("starter").labels)
    found = discovery("auricle", "kitchen", labels)
    assert found["device"]["identifiers"]
    assert found["origin"]["name"]
    parts = found["components"]
    assert {part["platform"] for part in parts.values()} == {"event", "sensor", "binary_sensor"}
    ids = [part["unique_id"] for part in parts.values()]
    assert len(set(ids)) == len(ids)
    assert parts["sound"]["event_types"] == labels
    assert {part["state_topic"] for part in parts.values()} == {"auricle/kitchen/event", "auricle/kitchen/state"}


def test_a_bridge_that_dies_is_offline_by_its_last_will(broker: Mosquitto, stream: Broadcast, tmp_path: Path) -> None:
    home = Listener(broker.port)
    words = ["bridge", "mqtt", "--broker", f"127.0.0.1:{broker.port}", "--name", "kitchen", "--outbox", str(tmp_path / "o.db")]
    words += ["--socket", str(tmp_path / "auricle.sock")]
    process = subprocess.Popen([sys.executable, "-m", "edge.cli", *words], stderr=subprocess.PIPE, text=True)
    until(lambda: ("auricle/kitchen/availability", "online", False) in home.got)
    process.kill()
    process.wait()
    until(lambda: ("auricle/kitchen/availability", "offline", False) in home.got)
    process = subprocess.Popen([sys.executable, "-m", "edge.cli", *words], stderr=subprocess.PIPE, text=True)
    until(lambda: home.got[-1][0] != "auricle/kitchen/availability" or home.got[-1][1] == "online")
    until(lambda: [text for topic, text, _ in home.got if topic.endswith("availability")][-1] == "online")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130
    until(lambda: [text for topic, text, _ in home.got if topic.endswith("availability")][-1] == "offline")
    home.close()


def test_an_outage_of_a_broker_that_forgets_everything_loses_nothing(broker: Mosquitto, stream: Broadcast, tmp_path: Path) -> None:
    home, said = Listener(broker.port), list[str]()
    bridge, thread = bridged(Broker("127.0.0.1", broker.port), tmp_path, said)
    until(lambda: ("auricle/kitchen/availability", "online", False) in home.got and stream.readers == 1)
    for number in range(600):
        stream.publish(caption(number))
        if number == 150:
            broker.kill()
        if number == 450:
            broker.start()
        time.sleep(0.005)
    until(lambda: len({c["uid"] for c in home.of("/record/caption")}) == 600, 30)
    first: dict[str, int] = {}
    for told in home.of("/record/caption"):
        first.setdefault(told["uid"], told["id"])
    assert list(first.values()) == sorted(first.values()), "in order, repetitions aside"
    again = len(home.of("/record/caption")) - 600
    assert again <= 20, "at most what was in flight is repeated, under the same uid"
    assert any("trying again" in sentence for sentence in said)
    bridge.stop()
    thread.join(5)
    home.close()


def test_a_kill_of_the_bridge_loses_nothing_and_the_stream_is_taken_up_where_it_was_left(
    broker: Mosquitto, stream: Broadcast, tmp_path: Path
) -> None:
    home = Listener(broker.port)
    words = ["bridge", "mqtt", "--broker", f"127.0.0.1:{broker.port}", "--name", "kitchen", "--outbox", str(tmp_path / "o.db")]
    words += ["--socket", str(tmp_path / "auricle.sock")]
    sent = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-m", "edge.cli", *words], stderr=subprocess.DEVNULL)
        if sent == 0:
            until(lambda: ("auricle/kitchen/availability", "online", False) in home.got and stream.readers == 1)
        for _ in range(60):
            stream.publish(caption(sent))
            sent += 1
            time.sleep(0.005)
        process.kill()
        process.wait()
    process = subprocess.Popen([sys.executable, "-m", "edge.cli", *words], stderr=subprocess.DEVNULL)
    until(lambda: len({c["uid"] for c in home.of("/record/caption")}) == sent, 30)
    assert {c["id"] for c in home.of("/record/caption")} == set(range(sent))
    process.kill()
    process.wait()
    home.close()


def certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    paths = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", *words.split(), "-keyout", str(paths[1]), "-out", str(paths[0])], check=True, capture_output=True)
    return paths


def test_a_broker_that_wants_tls_and_a_password_gets_them_or_refuses(
    tmp_path: Path, stream: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.bridge.mqtt.ANSWER_S", 2.0)
    cert, key = certificates(tmp_path / "tls")
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "kitchen", "secret words"], check=True, capture_output=True
    )
    more = ["user root", "listener PORT 127.0.0.1", f"certfile {cert}", f"keyfile {key}", f"password_file {tmp_path / 'passwords'}"]
    broker = Mosquitto(tmp_path / "broker", *more, "allow_anonymous false").start()
    tries = [
        (Broker("localhost", broker.port, "kitchen", "secret words", True, str(cert)), "connected to localhost"),
        (Broker("localhost", broker.port, "kitchen", "wrong", True, str(cert)), "it refuses us"),
        (Broker("localhost", broker.port, "kitchen", "secret words", True), "certificate verify failed"),
        (Broker("localhost", broker.port, "kitchen", "secret words"), "trying again"),
        (Broker("localhost", free_port(), "kitchen", "secret words"), "Connection refused"),
    ]
    for number, (where, says) in enumerate(tries):
        said: list[str] = []
        (tmp_path / str(number)).mkdir()
        os.symlink(tmp_path / "auricle.sock", tmp_path / str(number) / "auricle.sock")
        bridge, thread = bridged(where, tmp_path / str(number), said)
        until(lambda said=said, says=says: any(says in sentence for sentence in said), 20)
        assert not any("secret" in sentence for sentence in said)
        bridge.stop()
        thread.join(12)
    broker.kill()


def test_an_outbox_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o.db", most=50)
    for number in range(80):
        outbox.take("e", number, [("t", str(number))])
    assert [m.payload for m in outbox.waiting(0, 100)] == [str(n) for n in range(30, 80)]
    assert outbox.dropped == 30
    outbox.delivered(outbox.waiting(0, 1)[0].id)
    outbox.close()
    again = Outbox(tmp_path / "o.db", most=50)
    assert again.place == ("e", 79)
    assert len(again.waiting(0, 100)) == 49


def test_an_outbox_that_takes_nothing_more_ends_the_bridge_with_a_sentence(broker: Mosquitto, stream: Broadcast, tmp_path: Path) -> None:
    """And not with a bridge that looks alive and passes nothing on."""
    outbox, failed = Outbox(tmp_path / "outbox.db"), list[str]()
    bridge = MqttBridge(Broker("127.0.0.1", broker.port), "kitchen", outbox, [], lambda sentence: None)
    thread = ending(bridge, tmp_path, failed)
    until(lambda: stream.readers == 1)
    (pages,) = outbox._database.execute("PRAGMA page_count").fetchone()
    outbox._database.execute(f"PRAGMA max_page_count={pages}")  # SQLite's own "database or disk is full"
    for number in range(50):
        stream.publish(caption(number, "x" * 2_000))
    thread.join(15)
    assert not thread.is_alive()
    assert "a message cannot be kept (database or disk is full)" in failed[0]


def test_a_bridge_whose_outbox_fails_is_offline(broker: Mosquitto, stream: Broadcast, tmp_path: Path) -> None:
    outbox, failed, home = Outbox(tmp_path / "outbox.db"), list[str](), Listener(broker.port, "auricle/kitchen/availability")
    bridge = MqttBridge(Broker("127.0.0.1", broker.port), "kitchen", outbox, [], lambda sentence: None)
    thread = ending(bridge, tmp_path, failed)
    until(lambda: home.got and home.got[-1][1] == "online")
    time.sleep(SETTLE_S)  # from then on it looks for what waits
    outbox.close()
    thread.join(15)
    assert "messages cannot be read" in failed[0]
    until(lambda: home.got[-1][1] == "offline")
    home.close()


def test_a_bridge_whose_taking_breaks_off_ends_with_a_sentence(broker: Mosquitto, stream: Broadcast, tmp_path: Path) -> None:
    """Whatever broke it: alone, the other thread would say "online" for ever."""
    outbox = Outbox(tmp_path / "outbox.db")

    def tell(sentence: str) -> None:
        if "ended" in sentence:
            raise OSError(28, "No space left on device")

    bridge, failed = MqttBridge(Broker("127.0.0.1", broker.port), "kitchen", outbox, [], tell), list[str]()
    thread = ending(bridge, tmp_path, failed)
    until(lambda: stream.readers == 1)
    stream.close()  # the server ends, which is told
    thread.join(15)
    assert not thread.is_alive()
    assert "taking the stream broke off" in failed[0]
    assert "No space left" in failed[0]


def test_a_home_learns_that_nobody_listens_and_no_alarm_outlives_its_listener(broker: Mosquitto, tmp_path: Path) -> None:
    home, place = Listener(broker.port), tmp_path / "auricle.sock"
    bridge, thread = bridged(Broker("127.0.0.1", broker.port), tmp_path)

    def newest(topic: str) -> str:
        return next((text for name, text, _ in reversed(home.got) if name == f"auricle/kitchen/{topic}"), "")

    until(lambda: newest("availability") == "offline" and newest("state"))  # the broker is there, and no server
    told = Broadcast()
    with LocalSocket(place, told, lambda question, last_s: {}):
        told.publish(sound(4, label="Smoke detector, smoke alarm", priority=True))
        until(lambda: newest("availability") == "online" and json.loads(newest("state"))["alarm"])
        told.close()
    until(lambda: newest("availability") == "offline" and not json.loads(newest("state"))["alarm"])
    again = Broadcast()
    with LocalSocket(place, again, lambda question, last_s: {}):
        again.publish(sound(1, label="Bark"))
        until(lambda: newest("availability") == "online" and json.loads(newest("state"))["sounds"] == ["Bark"])
        bridge.stop()
        thread.join(5)
    until(lambda: newest("availability") == "offline")
    home.close()


def test_a_reader_that_was_too_slow_takes_the_stream_up_where_it_was_left(stream: Broadcast, tmp_path: Path) -> None:
    stop, said, got = threading.Event(), list[str](), list[dict[str, Any]]()
    place: tuple[str, int] | None = None
    records = follow(tmp_path / "auricle.sock", lambda: place, stop, said.append)
    epoch, snapshot = next(records)
    assert snapshot["type"] == "snapshot"
    place = epoch, snapshot["seq"]
    give_up = threading.Timer(20.0, lambda: (stop.set(), stream.close()))
    give_up.start()
    for number in range(6_000):  # more than waits for one reader and for its socket
        stream.publish(caption(number, "x" * 500))
    for epoch, record in records:
        if record["type"] != "snapshot":
            place = epoch, record["seq"]
            got.append(record)
        if len(got) == 6_000:
            break
    records.close()
    give_up.cancel()
    assert [record["id"] for record in got] == list(range(6_000))
    assert said == []
    place = epoch, 1
    for number in range(10_000):  # more than the server keeps
        stream.publish(caption(number))
    records = follow(tmp_path / "auricle.sock", lambda: place, stop, said.append)
    assert not next(records)[1]["resumed"]
    records.close()
    assert said == ["15999 records were missed: the bridge is slower than the stream"]


def test_records_that_lead_to_no_message_wear_no_disk(stream: Broadcast, broker: Mosquitto, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    bridge = MqttBridge(Broker("127.0.0.1", broker.port), "kitchen", outbox, [], lambda sentence: None)
    thread = threading.Thread(target=bridge.run, args=(tmp_path / "auricle.sock",), daemon=True)
    thread.start()
    until(lambda: outbox.place == (stream.epoch, 0))  # so that what comes while it is away is not lost, also where nothing came before
    stream.publish(caption(0))
    until(lambda: outbox.place == (stream.epoch, 1) and not outbox.waiting(0, 1))
    for _ in range(400):
        stream.publish({"type": "status", "at": 1.0, "lag": 0.0, "waiting": 0, "shed": 0})
    until(lambda: bridge._place == (stream.epoch, 401))
    assert outbox.place == (stream.epoch, 1)
    stream.publish(caption(1))
    until(lambda: outbox.place == (stream.epoch, 402))
    for _ in range(600):
        stream.publish({"type": "status", "at": 1.0, "lag": 0.0, "waiting": 0, "shed": 0})
    until(lambda: outbox.place == (stream.epoch, 902))  # so that a bridge that is killed is not sent hours anew
    bridge.stop()
    thread.join(5)


def test_a_damaged_outbox_is_moved_aside_and_said_and_nothing_of_it_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    path.write_bytes(b"no database at all" * 500)
    outbox = Outbox(path)
    outbox.take("e", 1, [("t", "new")])
    assert [m.payload for m in outbox.waiting(0, 9)] == ["new"]
    (aside,) = tmp_path.glob("o.db.damaged-*")
    assert aside.read_bytes() == b"no database at all" * 500
    assert f"it was moved to {aside.name}, and a new one begun" in outbox.notice
    outbox.close()
    with pytest.raises(OutputError, match="messages cannot be read"):
        outbox.waiting(0, 9)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--broker", "a:b"], "--broker is 'a:b'"),
        (["--broker", "x", "--name", "no spaces"], "--name is 'no spaces'"),
        (["--broker", "x", "--prefix", "a/#"], "--prefix is 'a/#'"),
        (["--broker", "x", "--password-file", "/nowhere"], "--password-file /nowhere: it cannot be read"),
        ([], "required: --broker"),
    ],
)
def test_wrong_use_is_one_sentence(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bridge", "mqtt", *words]) == 2
    assert says in capsys.readouterr().err
