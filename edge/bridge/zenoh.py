"""Zenoh: sounds, captions and gaps as ROS 2 topics, for robots whose ROS runs on rmw_zenoh, from a machine without ROS.

Topics below PREFIX: `sounds`, `captions`, `gaps`. Beside the message in CDR rmw_zenoh wants a key expression with type and type hash,
an attachment (number, time, id of the publisher) and liveliness tokens, by which ROS finds node and publishers. Nothing is kept for
subscribers that are away: who needs that takes MQTT or the local stream.
Source: ros2/rmw_zenoh, docs/design.md and liveliness_utils.cpp.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from edge.bridge import fields
from edge.bridge.cdr import HASHES, serialize
from edge.bridge.follow import follow
from edge.errors import EdgeError, OutputError

TOPICS = {"SoundEvent": "sounds", "Caption": "captions", "Gap": "gaps"}
KINDS = {"sound": "SoundEvent", "caption": "Caption", "gap": "Gap"}
QOS = "1:2:1,50:,:,:,,"
"""Reliable, volatile, keep the last 50; written out, since the defaults of rmw_zenoh have changed from release to release."""


def key(domain: int, prefix: str, name: str) -> str:
    """The key expression of a topic."""
    return f"{domain}/{prefix}/{TOPICS[name]}/{_type(name)}/{HASHES[name]}"


def _type(name: str) -> str:
    return f"auricle_msgs::msg::dds_::{name}_"


def node_token(domain: int, session: str, node: str) -> str:
    """What a ROS node is found by. session: the Zenoh session's id."""
    return f"@ros2_lv/{domain}/{session}/0/0/NN/%/%/{node}"


def publisher_token(domain: int, session: str, node: str, prefix: str, name: str) -> str:
    """What a publisher is found by."""
    number = 1 + list(TOPICS).index(name)
    topic = f"/{prefix}/{TOPICS[name]}".replace("/", "%")
    return f"@ros2_lv/{domain}/{session}/0/{number}/MP/%/%/{node}/{topic}/{_type(name)}/{HASHES[name]}/{QOS}"


def attachment(number: int, unix_ns: int, publisher: bytes) -> bytes:
    """33 bytes: number and time as int64, little endian, then the publisher's id of 16 bytes behind its length."""
    return struct.pack("<qqB16s", number, unix_ns, len(publisher), publisher)


class ZenohBridge:
    """run() until stop(). connect, listen: endpoints such as tcp/192.168.1.7:7447; connections are tried for ever.

    domain: ROS_DOMAIN_ID. tell: gets sentences for the log. Raises: OutputError without eclipse-zenoh, or where no session can be opened.
    """

    def __init__(self, connect: list[str], listen: list[str], domain: int, prefix: str, frame_id: str, tell: Callable[[str], None]) -> None:
        try:
            import zenoh
        except ImportError as error:
            raise OutputError(f"zenoh: it needs eclipse-zenoh ({error}); pip install 'auricle[zenoh]'") from None
        self._zenoh, self._connect, self._listen = zenoh, connect, listen
        self._domain, self._prefix, self._frame_id, self._tell = domain, prefix, frame_id, tell
        self._stop = threading.Event()
        self._place: tuple[str, int] | None = None
        self._started: int | None = None
        self._numbers = dict.fromkeys(TOPICS, 0)
        with resources.files("edge").joinpath("data/audioset.csv").open(encoding="utf-8") as lines:
            self._ids = fields.audioset_ids(lines)

    def stop(self) -> None:
        """Ends run(), from any thread."""
        self._stop.set()

    def _open(self) -> Any:
        config = self._zenoh.Config()
        # As rmw_zenoh's own sessions: no multicast, nothing but what is named.
        for name, value in (
            ("mode", "peer"),
            ("connect/endpoints", self._connect),
            ("connect/exit_on_failure", False),
            ("connect/timeout_ms", -1),  # for ever, in a thread of Zenoh's
            ("listen/endpoints", self._listen),
            ("scouting/multicast/enabled", False),
        ):
            config.insert_json5(name, json.dumps(value))
        try:
            return self._zenoh.open(config)
        except self._zenoh.ZError as error:
            raise OutputError(f"zenoh: no session ({error}); look at --connect and --listen") from None

    def run(self, socket: Path) -> None:
        """Takes the stream and publishes in a thread of its own; waits in this one. Raises: OutputError where no session can be opened."""
        broken: list[str] = []
        with self._open() as session:
            node = str(session.zid())
            tokens = [session.liveliness().declare_token(node_token(self._domain, node, "auricle"))]
            publishers = {}
            for name in TOPICS:
                tokens.append(session.liveliness().declare_token(publisher_token(self._domain, node, "auricle", self._prefix, name)))
                publishers[name] = session.declare_publisher(
                    key(self._domain, self._prefix, name),
                    congestion_control=self._zenoh.CongestionControl.BLOCK,
                    reliability=self._zenoh.Reliability.RELIABLE,
                    express=True,  # no batching: an event is small and wants to be early
                )

            def publish() -> None:
                try:
                    self._publish(socket, publishers, node)
                except (EdgeError, self._zenoh.ZError, KeyError, ValueError, struct.error) as error:
                    broken.append(str(error))
                finally:
                    self._stop.set()

            self._tell(f"publishes in domain {self._domain} below /{self._prefix}")
            thread = threading.Thread(target=publish, name="auricle-zenoh", daemon=True)
            thread.start()
            self._stop.wait()
            thread.join(0.2)  # it may be waiting for a record; then it is left behind
            if broken:
                raise OutputError(f"zenoh: publishing broke off ({broken[0]}); start the bridge again")

    def _publish(self, socket: Path, publishers: dict[str, Any], node: str) -> None:
        gids = {name: struct.pack("<I12s", number, node.encode()) for number, name in enumerate(TOPICS)}
        for epoch, record in follow(socket, lambda: self._place, self._stop, self._tell):
            told = self._take(epoch, record)
            if told is not None and not self._stop.is_set():
                name, payload = told
                self._numbers[name] += 1
                publishers[name].put(payload, attachment=attachment(self._numbers[name], time.time_ns(), gids[name]))

    def _take(self, epoch: str, record: dict[str, Any]) -> tuple[str, bytes] | None:
        kind = record["type"]
        self._started = fields.started_ns(record) or self._started
        if kind == "snapshot":
            # What a resumed stream repeats belongs to the session that was known, or to one that it repeats as well.
            if not record["resumed"]:
                self._started = fields.started_ns(record.get("status"), record.get("session"))
                self._place = epoch, record["seq"]
            return None
        self._place = epoch, record["seq"]
        if self._started is None or kind not in KINDS:
            return None
        name = KINDS[kind]
        header = {"stamp": fields.time_of(time.time_ns(), 0.0), "frame_id": self._frame_id}
        return name, serialize(name, {"header": header, **self._fields(name, epoch, record, self._started)})

    def _fields(self, name: str, epoch: str, record: dict[str, Any], begin_ns: int) -> dict[str, Any]:
        if name == "SoundEvent":
            return fields.sound_event(record, epoch, begin_ns, self._ids)
        return fields.caption(record, epoch, begin_ns) if name == "Caption" else fields.gap(record, begin_ns)
