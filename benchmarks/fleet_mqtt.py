"""Do two hundred devices reach one broker, each as itself, and does a broker that dies lose any of what they told?

    python benchmarks/fleet_mqtt.py [--devices 200] [--seconds 60] [--every 5] [--output benchmarks/results/fleet_mqtt.json]

Each simulated device has all of a real one but its ears: a stream on a Unix socket, `MqttBridge` with an outbox on the disk, a user, a
password and a last will of its own; twenty share a process. The broker is a real mosquitto with the access list of docs/fleet.md. An engine
subscribes to all devices. First every device tells a caption every few seconds; then the broker is killed (SIGKILL, its database deleted)
and comes back 10 s later while they go on. Lateness is from the record's being told to the engine's callback, on the machine's monotonic
clock; CPU and memory are the broker's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, finish, parser

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

from test_bridge import Mosquitto, caption
from test_fleet import fleet_broker, password_of

from edge.bridge.mqtt import Broker, MqttBridge
from edge.bridge.outbox import Outbox
from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket

TOGETHER = 20
"""Devices in one process."""
OUTAGE_S = 10.0
PATIENCE_S = 120.0
P99_MS = 100.0


def devices(folder: Path, port: int, first: int, count: int) -> None:
    """Runs so many devices; a line of seconds and pause on stdin makes each tell captions for so long. Ends with stdin."""
    streams = []
    for number in range(first, first + count):
        name, stream, place = f"device-{number:03d}", Broadcast(), folder / f"{number}.sock"
        LocalSocket(place, stream, lambda question, last_s: {}).__enter__()
        broker = Broker("127.0.0.1", port, name, password_of(name))
        bridge = MqttBridge(broker, name, Outbox(folder / f"{number}.db"), ["Bark"], lambda sentence: None)
        threading.Thread(target=bridge.run, args=(place,), daemon=True).start()
        streams.append(stream)
    told = 0
    for line in sys.stdin:
        seconds, every = map(float, line.split())
        begin, steps = time.monotonic(), round(seconds / every)
        for step in range(steps):
            for index, stream in enumerate(streams):
                time.sleep(max(0.0, begin + (step + index / len(streams)) * every - time.monotonic()))
                stream.publish(caption(told, str(time.monotonic_ns())))
                told += 1
        print(steps * len(streams), flush=True)
    os._exit(0)


class Engine:
    """Reads what every device tells, and comes back by itself."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as paho

        self.late: list[float] = []
        self.uids: Counter[str] = Counter()
        self.online: set[str] = set()
        self.wrong = 0
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.username_pw_set("engine", password_of("engine"))
        self.client.reconnect_delay_set(0.1, 0.5)
        self.client.on_connect = lambda client, *rest: client.subscribe([("auricle/+/record/caption", 1), ("auricle/+/availability", 1)])
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, client: Any, data: Any, message: Any) -> None:
        now, device = time.monotonic_ns(), message.topic.split("/")[1]
        if message.topic.endswith("/availability"):
            (self.online.add if message.payload == b"online" else self.online.discard)(device)
            return
        told = json.loads(message.payload)
        self.late.append((now - int(told["text"])) / 1e6)
        self.uids[f"{device}/{told['uid']}"] += 1


def usage(process: int) -> tuple[float, float]:
    """CPU seconds and resident megabytes."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def wait(check: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            print(f"auricle: {what} did not come within {PATIENCE_S:.0f} s", file=sys.stderr)
            return
        time.sleep(0.1)


def told_by(groups: list[subprocess.Popen[str]], seconds: float, every: float) -> int:
    for group in groups:
        assert group.stdin is not None
        group.stdin.write(f"{seconds} {every}\n")
        group.stdin.flush()
    return sum(int(group.stdout.readline()) for group in groups if group.stdout is not None)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--devices", type=int, default=200)
    made.add_argument("--seconds", type=float, default=60.0)
    made.add_argument("--every", type=float, default=5.0, help="seconds between two captions of a device")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [f"device-{number:03d}" for number in range(options.devices)]
        broker: Mosquitto = fleet_broker(folder / "broker", names).start()
        engine = Engine(broker.port)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        groups = []
        for first in range(0, options.devices, TOGETHER):
            words = [str(folder), str(broker.port), str(first), str(min(TOGETHER, options.devices - first))]
            command = [sys.executable, __file__, "devices", *words]
            groups.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment))
        begin = time.monotonic()
        wait(lambda: len(engine.online) == options.devices, "every device")
        up_s, online = time.monotonic() - begin, len(engine.online)
        time.sleep(3.0)
        assert broker.process is not None
        cpu = usage(broker.process.pid)[0]
        told = told_by(groups, options.seconds, options.every)
        wait(lambda: len(engine.uids) >= told, "every caption")
        spent, memory = usage(broker.process.pid)
        late, calm = np.asarray(engine.late), len(engine.uids)
        p50, p99 = (float(np.percentile(late, q)) for q in (50, 99))
        print(f"{online} devices up in {up_s:.1f} s; {calm} of {told} captions; p50 {p50:.1f} p99 {p99:.1f} ms")

        def outage() -> None:
            time.sleep(options.seconds / 4)
            broker.kill()
            time.sleep(OUTAGE_S)
            broker.start()

        breaking = threading.Thread(target=outage)
        breaking.start()
        told += told_by(groups, options.seconds, options.every)
        breaking.join()
        wait(lambda: len(engine.uids) >= told, "every caption")
        for group in groups:
            group.kill()
        engine.client.disconnect()
        engine.client.loop_stop()
        broker.kill()
    twice = sum(engine.uids.values()) - len(engine.uids)
    print(f"through an outage of {OUTAGE_S:.0f} s: {len(engine.uids)} of {told}, {twice} twice")
    print(f"the broker: {spent - cpu:.2f} CPU-s in {options.seconds:.0f} s, {memory:.1f} MB")
    result = {
        **{"devices": options.devices, "captions": told, "arrived": len(engine.uids), "twice": twice, "outage_s": OUTAGE_S},
        **{"online_after_s": round(up_s, 2), "rate_hz": round(options.devices / options.every, 1)},
        "calm_ms": {f"p{q}": round(float(np.percentile(late, q)), 2) for q in (50, 95, 99)},
        **{"broker_cpu_s_a_minute": round((spent - cpu) * 60 / options.seconds, 3), "broker_mb": round(memory, 1)},
    }
    bars = {
        "every device is online": online == options.devices,
        "every caption arrives, through the outage too": len(engine.uids) == told,
        "none twice by uid": twice == 0,
        f"p99 <= {P99_MS:.0f} ms": p99 <= P99_MS,
    }
    return finish(options, result, bars)


if __name__ == "__main__":
    if sys.argv[1:2] == ["devices"]:
        devices(Path(sys.argv[2]), *map(int, sys.argv[3:6]))
    else:
        sys.exit(main())
