"""The ROS 2 packages as far as they go without ROS: messages by rosbags, the fields of real records, the client against a real server.

The node itself is only exercised over stand-ins for rclpy: that it runs under ROS is not shown here.
"""

from __future__ import annotations

import ast
import importlib
import sys
import time
import types
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from edge.listener import Listener
from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket

ROS = Path(__file__).resolve().parents[1] / "ros"
MESSAGES = ("SoundEvent", "Caption", "Gap")
STORES = (Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.LATEST)


@pytest.fixture(scope="module", autouse=True)
def on_the_path() -> Iterator[None]:
    sys.path.insert(0, str(ROS / "auricle_ros"))
    yield
    sys.path.remove(str(ROS / "auricle_ros"))


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    with Listener() as listener:
        return list(listener.listen("edge/data/demo_scene.flac"))


def store(which: Stores) -> Any:
    """A release's own types and ours, the parts of the action among them."""
    found = get_typestore(which)
    for name in MESSAGES:
        found.register(get_types_from_msg((ROS / f"auricle_msgs/msg/{name}.msg").read_text(), f"auricle_msgs/msg/{name}"))
    parts = (ROS / "auricle_msgs/action/Ask.action").read_text().split("---\n")
    assert len(parts) == 3
    for name, text in zip(("Goal", "Result", "Feedback"), parts, strict=True):
        found.register(get_types_from_msg(text or "# nothing\n", f"auricle_msgs/msg/Ask{name}"))
    return found


def message(types_of: Any, name: str, given: dict[str, Any], header: bool = True) -> Any:
    """The message of that type with these fields; an unknown one, or one that is missing, fails."""
    time_type = types_of.types["builtin_interfaces/msg/Time"]
    values = {key: time_type(**value) if isinstance(value, dict) else value for key, value in given.items()}
    if header:
        values["header"] = types_of.types["std_msgs/msg/Header"](stamp=time_type(sec=5, nanosec=6), frame_id="microphone")
    return types_of.types[f"auricle_msgs/msg/{name}"](**values)


def filled(types_of: Any, records: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    from auricle_ros import fields

    begin = fields.started_ns(records[0])
    gap = {"type": "gap", "start": 8.0, "end": 8.51, "reason": "overrun"}
    nasty = next(r for r in records if r["type"] == "caption") | {"text": '<script>" \u2028 😀\x07' + "x" * 100_000}
    found = []
    for record in [*records, gap, nasty]:
        if record["type"] == "sound":
            found.append(("SoundEvent", message(types_of, "SoundEvent", fields.sound_event(record, "e", begin, {}))))
        elif record["type"] == "caption":
            found.append(("Caption", message(types_of, "Caption", fields.caption(record, "e", begin))))
        elif record["type"] == "gap":
            found.append(("Gap", message(types_of, "Gap", fields.gap(record, begin))))
    return found


@pytest.mark.parametrize("which", STORES)
def test_every_record_of_a_scene_is_a_message_and_comes_back_from_cdr(which: Stores, records: list[dict[str, Any]]) -> None:
    types_of, kinds = store(which), set()
    for name, told in filled(types_of, records):
        data = types_of.serialize_cdr(told, f"auricle_msgs/msg/{name}")
        again = types_of.deserialize_cdr(data, f"auricle_msgs/msg/{name}")
        assert types_of.serialize_cdr(again, f"auricle_msgs/msg/{name}") == data
        assert again.header.frame_id == "microphone"
        exact = [f for f in again.__dataclass_fields__ if f not in ("latency", "score", "azimuth")]  # those are float32
        assert [getattr(again, f) for f in exact] == [getattr(told, f) for f in exact]
        kinds.add(name)
    assert kinds == set(MESSAGES)


def test_types_have_the_same_hash_in_every_release() -> None:
    hashes = [[store(which).hash_rihs01(f"auricle_msgs/msg/{name}") for name in MESSAGES] for which in STORES]
    assert hashes[0] == hashes[1] == hashes[2]
    assert all(h.startswith("RIHS01_") for h in hashes[0])


def test_a_recording_in_mcap_is_read_back(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    types_of = store(Stores.ROS2_JAZZY)
    wanted = filled(types_of, records)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {n: writer.add_connection(f"/auricle/{n.lower()}", f"auricle_msgs/msg/{n}", typestore=types_of) for n in MESSAGES}
        for at, (name, told) in enumerate(wanted):
            writer.write(topics[name], at, types_of.serialize_cdr(told, f"auricle_msgs/msg/{name}"))
    with Reader(tmp_path / "bag") as reader:
        got = [(c.msgtype.rpartition("/")[2], types_of.deserialize_cdr(data, c.msgtype)) for c, _, data in reader.messages()]
    assert [name for name, _ in got] == [name for name, _ in wanted]
    assert [told.text for name, told in got if name == "Caption"] == [told.text for name, told in wanted if name == "Caption"]


def test_stamps_are_of_the_sample_clock_to_the_millisecond(records: list[dict[str, Any]]) -> None:
    from auricle_ros import fields

    begin = fields.started_ns({"started": "2026-11-23T10:00:00.250Z"})
    assert begin == 1_795_428_000_250_000_000
    assert fields.time_of(begin, 1.92) == {"sec": 1_795_428_002, "nanosec": 170_000_000}
    assert fields.time_of(begin, 0.75) == {"sec": 1_795_428_001, "nanosec": 0}
    start = next(r for r in records if r["type"] == "sound" and r["state"] == "start")
    told = fields.sound_event(start, "e", begin, {})
    assert (told["state"], told["offset"], told["azimuth_valid"]) == (0, {"sec": 0, "nanosec": 0}, False)
    assert fields.sound_event({**start, "azimuth": -0.5}, "e", begin, {})["azimuth"] == -0.5


def test_conditions_are_what_a_diagnostics_viewer_shows() -> None:
    from auricle_ros import fields

    status = {"type": "status", "at": 1.0, "lag": 0.2, "waiting": 1, "shed": 2, "duty": {"vad": 0.5}}
    assert fields.condition(None, "connected")[:2] == (0, "listening")
    assert fields.condition(status, "connected") == (0, "listening", {"lag": "0.200", "waiting": "1", "shed": "2", "duty of vad": "0.5000"})
    assert fields.condition({**status, "lag": 3.0}, "connected")[:2] == (1, "3.0 s behind")
    assert fields.condition(status, "no server")[:2] == (2, "no server")


def until(check: Any) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def served(path: Path, stream: Broadcast) -> LocalSocket:
    return LocalSocket(path, stream, lambda question, last_s: {"type": "answer", "text": question, "start": 1.0, "end": last_s})


def test_the_client_has_every_record_once_through_a_restart_of_the_socket(tmp_path: Path) -> None:
    from auricle_ros.stream import Stream, ask

    stream, got, said = Broadcast(), list[dict[str, Any]](), list[str]()
    place = tmp_path / "auricle.sock"
    client = Stream(str(place), lambda epoch, record: got.append(record), said.append)
    until(lambda: said)
    server = served(place, stream)
    until(lambda: "connected" in said)
    for number in range(5):
        stream.publish({"type": "gap", "start": 0.0, "end": 1.0, "reason": str(number)})
    until(lambda: len(got) == 6)
    assert ask(str(place), "What?", 7.0) == {"type": "answer", "text": "What?", "start": 1.0, "end": 7.0}
    server._thread.join(0)
    client.close()
    server.close()
    assert [r["seq"] for r in got if r["type"] == "gap"] == [1, 2, 3, 4, 5]


def test_packages_name_what_they_need_and_files_that_are_there() -> None:
    for package in ("auricle_msgs", "auricle_ros"):
        tree = ET.parse(ROS / package / "package.xml").getroot()
        assert tree.findtext("name") == package
        assert tree.findtext("version") == "0.1.0"
    cmake = (ROS / "auricle_msgs/CMakeLists.txt").read_text()
    for path in [*(ROS / "auricle_msgs/msg").iterdir(), *(ROS / "auricle_msgs/action").iterdir()]:
        assert f'"{path.parent.name}/{path.name}"' in cmake
    needed = {node.text for node in ET.parse(ROS / "auricle_ros/package.xml").getroot().findall("exec_depend")}
    standard = sys.stdlib_module_names
    imported = set[str]()
    for path in (ROS / "auricle_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    with_ros = {"launch", "ament_index_python", "lifecycle_msgs", "builtin_interfaces"}
    of_ros = imported - set(standard) - with_ros - {"auricle_ros", "setuptools"}
    assert of_ros == {"rclpy", "auricle_msgs", "diagnostic_msgs", "geometry_msgs", "launch_ros"} == needed


class Anything:
    """A stand-in for what ROS gives: any attribute, any call."""

    def __init__(self, *args: Any, **given: Any) -> None:
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = Anything()
        object.__setattr__(self, name, value)
        return value

    def __call__(self, *args: Any, **given: Any) -> Any:
        return Anything()


class Published(Anything):
    def __init__(self) -> None:
        object.__setattr__(self, "told", [])

    def publish(self, message: Any) -> None:
        self.told.append(message)


class LifecycleNode:
    def __init__(self, name: str) -> None:
        self.parameters: dict[str, Any] = {}
        self.publishers: dict[str, Published] = {}

    def declare_parameter(self, name: str, value: Any) -> None:
        self.parameters[name] = value

    def get_parameter(self, name: str) -> Any:
        return types.SimpleNamespace(value=self.parameters[name])

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> Published:
        return self.publishers.setdefault(topic, Published())

    create_lifecycle_publisher = create_publisher

    def on_activate(self, state: Any) -> str:
        return "active"

    def on_deactivate(self, state: Any) -> str:
        return "inactive"

    def __getattr__(self, name: str) -> Any:
        return Anything()


def test_the_node_publishes_what_is_told_while_it_is_active_over_stand_ins_for_ros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]]
) -> None:
    for name in (
        "rclpy",
        "rclpy.action",
        "rclpy.callback_groups",
        "rclpy.executors",
        "rclpy.lifecycle",
        "rclpy.qos",
        "auricle_msgs",
        "auricle_msgs.action",
    ):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name in ("auricle_msgs.msg", "builtin_interfaces", "builtin_interfaces.msg", "diagnostic_msgs", "diagnostic_msgs.msg"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for module, names in {
        "rclpy.action": "ActionServer",
        "rclpy.callback_groups": "MutuallyExclusiveCallbackGroup",
        "rclpy.executors": "MultiThreadedExecutor",
        "rclpy.lifecycle": "State TransitionCallbackReturn",
        "rclpy.qos": "DurabilityPolicy HistoryPolicy QoSProfile ReliabilityPolicy",
        "auricle_msgs.action": "Ask",
        "auricle_msgs.msg": "Caption Gap SoundEvent",
        "builtin_interfaces.msg": "Time",
        "diagnostic_msgs.msg": "DiagnosticArray DiagnosticStatus KeyValue",
    }.items():
        for name in names.split():
            setattr(sys.modules[module], name, type(name, (Anything,), {}))
    sys.modules["rclpy.lifecycle"].LifecycleNode = LifecycleNode
    for name in ["KEEP_LAST", "RELIABLE", "TRANSIENT_LOCAL", "VOLATILE", "SUCCESS"]:
        for kind in ("DurabilityPolicy", "HistoryPolicy", "ReliabilityPolicy"):
            setattr(getattr(sys.modules["rclpy.qos"], kind), name, name)
        setattr(sys.modules["rclpy.lifecycle"].TransitionCallbackReturn, name, name)
    sys.modules.pop("auricle_ros.node", None)
    node = importlib.import_module("auricle_ros.node").Auricle()
    stream = Broadcast()
    server = served(tmp_path / "auricle.sock", stream)
    node.parameters["socket"] = str(tmp_path / "auricle.sock")
    assert node.on_configure(None) == "SUCCESS"
    assert node.on_activate(None) == "active"
    until(lambda: stream.readers == 1)
    for record in records:
        stream.publish(record)
    wanted = {kind: sum(r["type"] == kind for r in records) for kind in ("sound", "caption")}
    until(lambda: len(node.publishers["~/captions"].told) == wanted["caption"] and len(node.publishers["~/sounds"].told) == wanted["sound"])
    last = [m for m in node.publishers["~/captions"].told if m.final][-1]
    assert last.text == [r for r in records if r["type"] == "caption" and r["final"]][-1]["text"]
    assert last.header.frame_id == "microphone"
    begun = node._begin_ns
    later = {**records[0], "started": "2030-01-01T00:00:00.000Z"}
    node._take("e", {"type": "snapshot", "resumed": True, "session": later})
    assert node._begin_ns == begun, "what is repeated now belongs to the session that was known"
    node._take("e", {"type": "snapshot", "resumed": False, "session": later})
    assert node._begin_ns > begun
    node._tell_condition()
    assert node.publishers["/diagnostics"].told[0].status[0].message == "listening"
    assert node.on_deactivate(None) == "inactive"
    stream.publish(records[-1])
    server.close()
    sys.modules.pop("auricle_ros.node", None)
