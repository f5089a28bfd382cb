"""Laws of the road to robots: messages, their bytes and their hashes as ROS has them, over a real Zenoh, and the node's plain half."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zenoh
from mcap_ros2.reader import read_ros2_messages
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from edge import Listener, cli
from edge.bridge import cdr, fields
from edge.bridge.zenoh import KINDS, TOPICS, ZenohBridge, attachment, key, publisher_token
from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket
from tests.test_bridge import free_port, until

ROOT = Path(__file__).resolve().parent.parent
MESSAGES = ROOT / "ros" / "auricle_msgs"
NODE = ROOT / "ros" / "auricle_ros" / "auricle_ros"
NASTY = "<script>\" ' \\ \u2028 {{ 1 + 1 }} \x07\x00 😀 " + chr(0xD800) + "w" * 100_000
SESSION = {"type": "session", "schema": 1, "source": "file:x", "started": "2026-11-26T19:00:00.250Z"}


@pytest.fixture(scope="module")
def ids() -> dict[str, str]:
    return fields.audioset_ids((ROOT / "edge" / "data" / "audioset.csv").read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module", params=[Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY], ids=["humble", "jazzy"])
def types(request: pytest.FixtureRequest) -> Any:
    return typestore(request.param)


def typestore(distribution: Any = Stores.ROS2_JAZZY) -> Any:
    store = get_typestore(distribution)
    for path in (MESSAGES / "msg").glob("*.msg"):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"auricle_msgs/msg/{path.stem}"))
    return store


def typed(store: Any, name: str, values: dict[str, Any]) -> Any:
    """The message as rosbags has it."""
    kind = name if "/" in name else f"auricle_msgs/msg/{name}"
    inner = {"header": "std_msgs/msg/Header", **dict.fromkeys(("stamp", "onset", "offset", "start", "end"), "builtin_interfaces/msg/Time")}
    return store.types[kind](**{k: typed(store, inner[k], v) if isinstance(v, dict) else v for k, v in values.items()})


@pytest.fixture(scope="module")
def heard() -> list[dict[str, Any]]:
    """What the real line says of the demo scene."""
    with Listener("starter") as listener:
        return list(listener.listen(str(ROOT / "edge" / "data" / "demo_scene.flac")))


HEADER = {"stamp": {"sec": 5, "nanosec": 6}, "frame_id": "mic"}


def told_of(records: list[dict[str, Any]], ids: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """(message, fields) of every record that has a message."""
    begin = fields.started_ns(records[0])
    make = {
        "SoundEvent": lambda record: fields.sound_event(record, "e", begin, ids),
        "Caption": lambda record: fields.caption(record, "e", begin),
        "Gap": lambda record: fields.gap(record, begin),
    }
    return [(KINDS[r["type"]], {"header": HEADER, **make[KINDS[r["type"]]](r)}) for r in records if r["type"] in KINDS]


def test_times_follow_the_wall_clock_as_the_newest_status_has_it(heard: list[dict[str, Any]], ids: dict[str, str]) -> None:
    """A board that began to listen in 1970, and was told the time a minute later."""
    bridge = ZenohBridge(["tcp/localhost:1"], ["tcp/localhost:0"], 0, "auricle", "mic", lambda sentence: None)
    session = {**heard[0], "started": "1970-01-01T00:00:10.000Z", "seq": 1}
    status = {
        "type": "status",
        "at": 60.0,
        "lag": 0.0,
        "waiting": 0,
        "shed": 0,
        "time": "2026-11-30T12:01:00.250Z",
        "moved": 1.8e9,
        "seq": 2,
    }
    begins = []
    for record in (session, {**sound(1), "seq": 2}, status, {**sound(2), "seq": 3}):
        bridge._take("e", record)
        begins.append(bridge._started)
    then = fields.unix_ns("2026-11-30T12:00:00.250Z")
    assert begins == [10 * 10**9, 10 * 10**9, then, then]
    snapshot = {"type": "snapshot", "seq": 9, "resumed": False, "session": session, "status": status}
    bridge._take("f", snapshot)
    assert bridge._started == then
    bridge._take("f", {**snapshot, "status": None})
    assert bridge._started == 10 * 10**9


def test_every_message_has_the_bytes_and_the_hash_that_ros_has(types: Any, heard: list[dict[str, Any]], ids: dict[str, str]) -> None:
    odd = [
        {"type": "gap", "start": 0.0, "end": 1e-3, "reason": ""},
        {**sound(1, state="end"), "end": 2.25, "azimuth": -1.5, "priority": True},
        caption(NASTY),
    ]
    found = told_of([*heard, *odd], ids)
    assert {name for name, _ in found} == set(TOPICS)
    assert len(found) > 10
    for name, values in found:
        payload = cdr.serialize(name, values)
        kind = f"auricle_msgs/msg/{name}"
        assert payload == bytes(types.serialize_cdr(typed(types, name, values), kind))
        assert bytes(types.serialize_cdr(types.deserialize_cdr(payload, kind), kind)) == payload
    assert {name: types.hash_rihs01(f"auricle_msgs/msg/{name}") for name in TOPICS} == cdr.HASHES


def caption(text: str) -> dict[str, Any]:
    head = {"type": "caption", "id": 1, "revision": 2, "final": True, "start": 1.0, "end": 2.0}
    return {**head, "text": text, "committed": 3, "latency": 0.1}


def sound(id: int, state: str = "start", label: str = "Knock") -> dict[str, Any]:
    return {"type": "sound", "id": id, "state": state, "label": label, "start": 1.5, "score": 0.9}


def test_a_sound_has_its_id_in_audioset_and_says_that_its_direction_is_not_known(ids: dict[str, str]) -> None:
    told = fields.sound_event(sound(7), "e", 0, ids)
    assert (told["audioset_id"], told["azimuth_valid"]) == ("/m/07r4wb8", False)
    assert fields.sound_event(sound(7, label="Squeak of auricle"), "e", 0, ids)["audioset_id"] == ""


def test_every_label_of_the_starter_has_an_id(ids: dict[str, str]) -> None:
    assert len(ids) == 527
    labels = json.loads((ROOT / "edge" / "bundles" / "starter" / "manifest.json").read_text(encoding="utf-8"))["labels"]
    assert [label for label in labels if label not in ids] == []


def test_the_ros_package_carries_the_files_of_the_runtime_byte_for_byte() -> None:
    assert (NODE / "fields.py").read_bytes() == (ROOT / "edge" / "bridge" / "fields.py").read_bytes()
    assert (NODE / "audioset.csv").read_bytes() == (ROOT / "edge" / "data" / "audioset.csv").read_bytes()


def test_ros_translates_every_interface(tmp_path: Path) -> None:
    found = sorted(str(path.relative_to(MESSAGES)) for ending in ("msg", "action") for path in MESSAGES.rglob(f"*.{ending}"))
    assert len(found) == 4
    rosidl = shutil.which("rosidl")
    assert rosidl is not None, "install rosidl-tools (scripts/setup.sh test does)"
    command = [rosidl, "translate", "--to", "idl", "-o", str(tmp_path), "auricle_msgs", *found]
    run = subprocess.run(command, cwd=MESSAGES, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert sorted(path.stem for path in tmp_path.rglob("*.idl")) == ["Ask", "Caption", "Gap", "SoundEvent"]
    named = (MESSAGES / "CMakeLists.txt").read_text(encoding="utf-8")
    assert all(f'"{name}"' in named for name in found)


def test_a_bag_is_read_back_by_two_readers(heard: list[dict[str, Any]], ids: dict[str, str], tmp_path: Path) -> None:
    store = typestore()
    told = told_of(heard, ids)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        names = {name for name, _ in told}
        topics = {name: bag.add_connection(f"/auricle/{TOPICS[name]}", f"auricle_msgs/msg/{name}", typestore=store) for name in names}
        for number, (name, values) in enumerate(told):
            bag.write(topics[name], number, cdr.serialize(name, values))
    with Reader(tmp_path / "bag") as bag:
        again = [store.deserialize_cdr(raw, connection.msgtype) for connection, _, raw in bag.messages()]
    (file,) = (tmp_path / "bag").glob("*.mcap")
    other = [one.ros_msg for one in read_ros2_messages(str(file))]
    for read in (again, other):
        assert len(read) == len(told)
        assert [one.text for one in read if hasattr(one, "text")] == [values["text"] for _, values in told if "text" in values]
        onsets = [(one.onset.sec, one.onset.nanosec) for one in read if hasattr(one, "onset")]
        assert onsets == [(v["onset"]["sec"], v["onset"]["nanosec"]) for _, v in told if "onset" in v]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Broadcast]:
    told = Broadcast()
    with LocalSocket(tmp_path / "auricle.sock", told, lambda question, last_s: {}):
        yield told


class Robot:
    """A Zenoh peer of its own that takes every key, as a robot's would."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        config = zenoh.Config()
        for name, value in (("mode", "peer"), ("listen/endpoints", [f"tcp/127.0.0.1:{self.port}"]), ("scouting/multicast/enabled", False)):
            config.insert_json5(name, json.dumps(value))
        self.session = zenoh.open(config)
        self.got: list[tuple[str, bytes, bytes]] = []
        self.subscriber = self.session.declare_subscriber("0/auricle/**", self.take)

    def take(self, sample: Any) -> None:
        self.got.append((str(sample.key_expr), sample.payload.to_bytes(), sample.attachment.to_bytes()))

    def tokens(self) -> list[str]:
        return [str(reply.ok.key_expr) for reply in self.session.liveliness().get("@ros2_lv/**") if reply.ok is not None]


@pytest.fixture
def robot() -> Iterator[Robot]:
    found = Robot()
    yield found
    found.session.close()


def test_a_zenoh_peer_decodes_what_the_bridge_publishes_and_finds_its_node(robot: Robot, stream: Broadcast, tmp_path: Path) -> None:
    said: list[str] = []
    stream.publish(SESSION)
    bridge = ZenohBridge([f"tcp/127.0.0.1:{robot.port}"], ["tcp/127.0.0.1:0"], 0, "auricle", "mic", said.append)
    thread = threading.Thread(target=bridge.run, args=(tmp_path / "auricle.sock",))
    thread.start()
    try:
        until(lambda: len(robot.tokens()) == 4 and stream.readers == 1)
        stream.publish(sound(4))
        stream.publish(caption(NASTY))
        stream.publish({"type": "gap", "start": 2.0, "end": 3.0, "reason": "overrun"})
        stream.publish({"type": "speech", "start": 2.0, "end": 3.0})
        until(lambda: len(robot.got) == 3)
        tokens = robot.tokens()
    finally:
        bridge.stop()
        thread.join(5)
    assert not thread.is_alive()
    store = typestore()
    read = {}
    for topic, payload, told in robot.got:
        _, prefix, name, kind, hash = topic.split("/")
        message = kind.split("::")[-1].rstrip("_")
        assert hash == store.hash_rihs01(f"auricle_msgs/msg/{message}")
        read[f"{prefix}/{name}"] = store.deserialize_cdr(payload, f"auricle_msgs/msg/{message}")
        number, at, length = struct.unpack_from("<qqB", told)
        assert (number, length, len(told)) == (1, 16, 33)
        assert abs(at - time.time_ns()) < 60e9
    assert read["auricle/sounds"].label == "Knock"
    assert read["auricle/captions"].text == fields.text(NASTY)
    assert len(read["auricle/captions"].text) > 100_000
    assert read["auricle/gaps"].end.sec - read["auricle/gaps"].start.sec == 1
    assert len({told[17:] for _, _, told in robot.got}) == 3, "each publisher has an id of its own"
    assert sorted(token.split("/")[5] for token in tokens) == ["MP", "MP", "MP", "NN"]
    until(lambda: robot.tokens() == [], 5)


def test_a_robot_that_comes_later_or_comes_back_is_found(stream: Broadcast, tmp_path: Path) -> None:
    stream.publish(SESSION)
    port = free_port()
    bridge = ZenohBridge([f"tcp/127.0.0.1:{port}"], ["tcp/127.0.0.1:0"], 0, "auricle", "mic", lambda said: None)
    thread = threading.Thread(target=bridge.run, args=(tmp_path / "auricle.sock",))
    thread.start()
    until(lambda: stream.readers == 1)
    for number in (1, 2):
        robot = Robot(port)
        until(lambda robot=robot: len(robot.tokens()) == 4)
        stream.publish(sound(number))
        until(lambda robot=robot: len(robot.got) == 1)
        robot.session.close()
    bridge.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_key_token_and_attachment_have_the_form_that_rmw_zenoh_takes_apart() -> None:
    assert key(3, "head/ears", "Gap") == f"3/head/ears/gaps/auricle_msgs::msg::dds_::Gap_/{cdr.HASHES['Gap']}"
    parts = publisher_token(3, "aa", "auricle", "head/ears", "Gap").split("/")
    assert parts[:10] == ["@ros2_lv", "3", "aa", "0", "3", "MP", "%", "%", "auricle", "%head%ears%gaps"]
    assert len(parts) == 13
    assert attachment(1, 2, bytes(16)).hex() == "01" + "00" * 7 + "02" + "00" * 7 + "10" + "00" * 16


def test_the_command_ends_by_a_signal_and_names_what_it_cannot_use(
    robot: Robot, stream: Broadcast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, value in (("--domain", "233"), ("--prefix", "a b"), ("--frame-id", "")):
        assert cli.main(["bridge", "zenoh", option, value]) == 2
        assert value in capsys.readouterr().err
    words = [sys.executable, "-m", "edge.cli", "bridge", "zenoh", "--connect", f"tcp/127.0.0.1:{robot.port}"]
    words += ["--listen", "tcp/127.0.0.1:0", "--socket", str(tmp_path / "auricle.sock")]
    bridge = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until(lambda: stream.readers == 1 and len(robot.tokens()) == 4)
    bridge.send_signal(signal.SIGTERM)
    _, said = bridge.communicate(timeout=10)
    assert bridge.returncode == 130
    assert "Traceback" not in said
