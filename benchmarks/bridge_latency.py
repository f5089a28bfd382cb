"""How late is a record at a client of the bridges?

    python benchmarks/bridge_latency.py [--events 1000] [--rate 50] [--output benchmarks/results/bridge_latency.json]

Sounds are told on a local stream of `auricle serve`; `auricle bridge mqtt` and `auricle bridge zenoh` run as processes of their own, one
after the other, over loopback: a real mosquitto with QoS 1 on both sides, and a real Zenoh peer. Time from the record's being told to the
client's callback; in this process both, so on one clock.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, finish, parser

sys.path.insert(0, str(ROOT))

from edge.bridge.cdr import HASHES
from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket
from tests.test_bridge import Mosquitto, free_port, paho, until

SESSION = {"type": "session", "schema": 1, "source": "file:x", "bundle": "starter", "started": "2026-11-26T19:00:00.250Z"}
BARS_MS = {"mqtt": 20.0, "zenoh": 10.0}


class Arrivals:
    """When each came, by its id; twice counted."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        self.twice = 0

    def take(self, id: int) -> None:
        now = time.perf_counter()
        self.twice += id in self.at
        self.at.setdefault(id, now)


def measured(
    stream: Broadcast, words: list[str], arrivals: Arrivals, ready: Callable[[], bool], events: int, rate: float
) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    bridge = subprocess.Popen([sys.executable, "-m", "edge.cli", "bridge", *words], env=environment, stderr=subprocess.DEVNULL)
    told: dict[int, float] = {}
    try:
        until(lambda: stream.readers == 1 and ready(), 30)
        time.sleep(3)  # past the pause of the bridge to MQTT, so that what is measured is an event and not a beginning
        begin = time.perf_counter()
        for id in range(events):
            time.sleep(max(0.0, begin + id / rate - time.perf_counter()))
            told[id] = time.perf_counter()
            stream.publish({"type": "sound", "id": id, "state": "start", "label": "Knock", "start": 1.5, "score": 0.9})
        until(lambda: len(arrivals.at) == events, 30)
    finally:
        bridge.send_signal(signal.SIGTERM)
        bridge.wait(10)
    late = [1_000 * (arrivals.at[id] - told[id]) for id in told]
    p50, p99 = np.percentile(late, [50, 99])
    figures = {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "max_ms": round(max(late), 2)}
    return {"n": events, "rate_hz": rate, "twice": arrivals.twice, **figures}


def mqtt(folder: Path, events: int, rate: float) -> dict[str, Any]:
    broker = Mosquitto(folder / "broker", "user root", "listener PORT 127.0.0.1", "allow_anonymous true").start()
    arrivals, stream = Arrivals(), Broadcast()
    stream.publish(SESSION)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: arrivals.take(json.loads(message.payload)["id"])
    client.connect("127.0.0.1", broker.port)
    client.subscribe("auricle/bench/record/sound", qos=1)
    client.loop_start()
    words = ["mqtt", "--broker", f"127.0.0.1:{broker.port}", "--name", "bench", "--outbox", str(folder / "outbox.db")]
    try:
        with LocalSocket(folder / "mqtt.sock", stream, lambda question, last_s: {}):
            return measured(stream, [*words, "--socket", str(folder / "mqtt.sock")], arrivals, lambda: True, events, rate)
    finally:
        client.loop_stop()
        broker.kill()


def over_zenoh(folder: Path, events: int, rate: float) -> dict[str, Any]:
    import zenoh
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    kind = "auricle_msgs/msg/SoundEvent"
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg((ROOT / "ros" / "auricle_msgs" / "msg" / "SoundEvent.msg").read_text(), kind))
    port, arrivals, stream, config = free_port(), Arrivals(), Broadcast(), zenoh.Config()
    stream.publish(SESSION)
    for name, value in (("mode", "peer"), ("listen/endpoints", [f"tcp/127.0.0.1:{port}"]), ("scouting/multicast/enabled", False)):
        config.insert_json5(name, json.dumps(value))
    words = ["zenoh", "--connect", f"tcp/127.0.0.1:{port}", "--listen", "tcp/127.0.0.1:0"]
    with zenoh.open(config) as session, LocalSocket(folder / "zenoh.sock", stream, lambda question, last_s: {}):
        where = f"0/auricle/sounds/*/{HASHES['SoundEvent']}"
        reading = session.declare_subscriber(where, lambda got: arrivals.take(types.deserialize_cdr(got.payload.to_bytes(), kind).id))

        def ready() -> bool:
            return len([reply for reply in session.liveliness().get("@ros2_lv/**") if reply.ok is not None]) == 4

        try:
            return measured(stream, [*words, "--socket", str(folder / "zenoh.sock")], arrivals, ready, events, rate)
        finally:
            reading.undeclare()


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--events", type=int, default=1_000)
    parse.add_argument("--rate", type=float, default=50.0)
    options = parse.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = {
            "mqtt": mqtt(Path(name), options.events, options.rate),
            "zenoh": over_zenoh(Path(name), options.events, options.rate),
        }
    bars = {f"{world}: p99 <= {bar:.0f} ms": found[world]["p99_ms"] <= bar for world, bar in BARS_MS.items()}
    bars["each event once"] = not any(one["twice"] for one in found.values())
    print(found)
    return finish(options, found, bars)


if __name__ == "__main__":
    sys.exit(main())
