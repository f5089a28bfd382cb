"""How late is a record at a client of `auricle serve`, and do clients that never read hold up one that does?

    python benchmarks/serve_latency.py [--events 600] [--rounds 4] [--rate 50] [--output benchmarks/results/serve_latency.json]

The stream, its Unix socket and its web server run in this process, as in `auricle serve`; readers are processes of their own: one on the
socket, one on a WebSocket, and, in every second round, 25 of each that subscribe and never read. Before each round so many records are told
that whatever those can hold is full. Time from the record's being told to its being parsed by the reader, both on the machine's monotonic
clock. Memory is this process's. At the end the stalled clients read, and must find a lag marker.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, finish, parser

sys.path.insert(0, str(ROOT))

from edge.serve.broadcast import BACKLOG, Broadcast
from edge.serve.local_socket import LocalSocket
from edge.serve.web import Vital, Web, application

STALLED = 25
"""Of each kind."""
FLOOD = 8_000
TEXT = "A dog barks twice while rain is falling, then someone speaks. " * 12
BARS_MS = {"socket": 5.0, "websocket": 10.0}
SUBSCRIBE = b'{"op":"subscribe"}\n'


def record(id: int, measured: bool) -> dict[str, Any]:
    """A caption; what is measured carries the moment of its being told."""
    return {
        "type": "caption",
        "id": id,
        "final": True,
        "text": TEXT if not measured else TEXT[:80],
        "told_ns": time.monotonic_ns() * measured,
    }


def read(path: str, port: int) -> None:
    """The healthy readers' process: prints kind and lateness of each measured record, until its input ends."""
    from websockets.sync.client import connect

    late: dict[str, list[int]] = {"socket": [], "websocket": []}

    def take(kind: str, line: bytes | str) -> None:
        said = json.loads(line)
        if said.get("told_ns"):
            late[kind].append(time.monotonic_ns() - said["told_ns"])

    def from_socket() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(SUBSCRIBE)
            for line in connection.makefile("rb"):
                take("socket", line)

    def from_web() -> None:
        with connect(f"ws://127.0.0.1:{port}/ws", max_size=None) as page:
            for line in page:
                take("websocket", line)

    for target in (from_socket, from_web):
        threading.Thread(target=target, daemon=True).start()
    for _ in sys.stdin:  # a line: tell what has come since the last
        print(json.dumps({kind: many[:] for kind, many in late.items()}), flush=True)
        for many in late.values():
            many.clear()
    os._exit(0)


def stall(path: str, port: int) -> None:
    """The stalled clients' process: subscribes and reads nothing until told to; then prints how many found a lag marker."""
    held: list[socket.socket] = []
    for _ in range(STALLED):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        connection.sendall(SUBSCRIBE)
        held.append(connection)
    for _ in range(STALLED):
        connection = socket.create_connection(("127.0.0.1", port))
        head = f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        connection.sendall((head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        held.append(connection)
    print("connected", flush=True)
    sys.stdin.readline()
    told = 0
    for connection in held:
        connection.settimeout(3.0)
        tail, found = b"", False
        try:
            while not found and (data := connection.recv(1 << 16)):
                tail = tail[-32:] + data
                found = b'"type":"lag"' in tail
        except TimeoutError:
            pass
        told += found
    print(told, flush=True)


def megabytes() -> float:
    """Resident memory of this process."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")) / 1e3


def process(kind: str, path: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, kind, str(path), str(port)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def ask(child: subprocess.Popen[str]) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def flood(stream: Broadcast) -> None:
    """As fast as a healthy reader follows."""
    for id in range(FLOOD):
        stream.publish(record(id, False))
        if id % 100 == 0:
            time.sleep(0.02)
    time.sleep(1.0)


def tell(stream: Broadcast, events: int, rate: float) -> None:
    begin = time.perf_counter()
    for id in range(events):
        time.sleep(max(0.0, begin + id / rate - time.perf_counter()))
        stream.publish(record(id, True))
    time.sleep(0.5)


def spread(nanoseconds: list[int]) -> dict[str, float]:
    ms = np.asarray(nanoseconds) / 1e6
    return {
        "n": len(ms),
        **{f"p{q}_ms": round(float(np.percentile(ms, q)), 3) for q in (50, 95, 99)},
        "worst_ms": round(float(ms.max()), 3),
    }


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--events", type=int, default=600)
    made.add_argument("--rounds", type=int, default=4, help="even; every second one beside stalled clients")
    made.add_argument("--rate", type=float, default=50.0, help="records a second")
    options = made.parse_args()
    stream = Broadcast()
    late: dict[str, dict[str, list[int]]] = {"alone": {"socket": [], "websocket": []}, "beside": {"socket": [], "websocket": []}}
    grown, lagged = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "auricle.sock"
        web = Web(application(stream, lambda question, last: {}, Vital(), []), "127.0.0.1", 0)
        with LocalSocket(path, stream, lambda question, last: {}):
            for id in range(BACKLOG):
                stream.publish(record(id, False))
            readers = process("read", path, web.port)
            while stream.readers < 2:
                time.sleep(0.05)
            for number in range(options.rounds):
                beside = number % 2 == 1
                before = megabytes()
                if beside:
                    stalled = process("stall", path, web.port)
                    assert stalled.stdout is not None
                    stalled.stdout.readline()
                    while stream.readers < 2 + 2 * STALLED:
                        time.sleep(0.05)
                flood(stream)
                ask(readers)
                tell(stream, options.events, options.rate)
                for kind, many in ask(readers).items():
                    late["beside" if beside else "alone"][kind] += many
                if beside:
                    grown.append(megabytes() - before)
                    lagged.append(int(ask(stalled)))
                    stalled.kill()
                    stalled.wait()
                    while stream.readers > 2:
                        stream.publish(record(0, False))
                        time.sleep(0.05)
            readers.kill()
            stream.close()
        web.close()
    found = {where: {kind: spread(many) for kind, many in kinds.items()} for where, kinds in late.items()}
    for where, kinds in found.items():
        for kind, figures in kinds.items():
            print(f"{where:7} {kind:10} p50 {figures['p50_ms']} p99 {figures['p99_ms']} ms of {figures['n']}")
    print(f"memory {max(grown):+.1f} MB with {2 * STALLED} stalled clients; lag markers found: {min(lagged)} of {2 * STALLED}")
    wanted = options.events * options.rounds // 2
    bars = {f"{kind}: p99 <= {bar:g} ms": found["alone"][kind]["p99_ms"] <= bar for kind, bar in BARS_MS.items()}
    bars |= {f"{kind}: every record came": all(found[w][kind]["n"] == wanted for w in found) for kind in BARS_MS}
    bars |= {
        f"{kind}: p99 beside stalled clients within 10 %": found["beside"][kind]["p99_ms"] <= 1.1 * found["alone"][kind]["p99_ms"]
        for kind in BARS_MS
    }
    bars |= {"memory grows by 32 MB at most": max(grown) <= 32, "every stalled client finds a lag marker": min(lagged) == 2 * STALLED}
    result = {
        "rate_hz": options.rate,
        **found,
        "memory_growth_mb": [round(g, 1) for g in grown],
        "lag_markers": lagged,
        "stalled": 2 * STALLED,
    }
    return finish(options, result, bars)


if __name__ == "__main__":
    if sys.argv[1:2] in (["read"], ["stall"]):
        {"read": read, "stall": stall}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
