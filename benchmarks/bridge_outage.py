"""Does an outage of the broker lose or double an event?

    python benchmarks/bridge_outage.py [--events 600] [--outage 60] [--output benchmarks/results/bridge_outage.json]

While captions are told evenly on a local stream, a real mosquitto is killed (SIGKILL) a quarter of the way, its database is deleted, and it
comes back after the outage; the bridge, `auricle bridge mqtt` in a process of its own, is killed in the midst of it and started again. A
client of the broker that comes back by itself counts what arrives, by uid.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from common import ROOT, finish, parser

sys.path.insert(0, str(ROOT))

from edge.serve.broadcast import Broadcast
from edge.serve.local_socket import LocalSocket
from tests.test_bridge import Listener, Mosquitto, caption, until


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--events", type=int, default=600)
    parse.add_argument("--outage", type=float, default=60.0)
    options = parse.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, stream = Path(name), Broadcast()
        broker = Mosquitto(folder / "broker", "user root", "listener PORT 127.0.0.1", "allow_anonymous true").start()
        home = Listener(broker.port, "auricle/bench/record/caption")
        words = [sys.executable, "-m", "edge.cli", "bridge", "mqtt", "--broker", f"127.0.0.1:{broker.port}", "--name", "bench"]
        words += ["--outbox", str(folder / "outbox.db"), "--socket", str(folder / "auricle.sock")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def bridged() -> subprocess.Popen[bytes]:
            return subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)

        with LocalSocket(folder / "auricle.sock", stream, lambda question, last_s: {}):
            bridge = bridged()
            until(lambda: stream.readers == 1)

            def tell() -> None:
                for number in range(options.events):
                    stream.publish(caption(number))
                    time.sleep(1.5 * options.outage / options.events)

            telling = threading.Thread(target=tell)
            telling.start()
            time.sleep(0.25 * options.outage)
            broker.kill()
            before = len(home.got)
            time.sleep(0.5 * options.outage)
            bridge.kill()
            bridge.wait()
            bridge = bridged()
            time.sleep(0.5 * options.outage)
            broker.start()
            telling.join()
            until(lambda: len({told["uid"] for told in home.of("caption")}) == options.events, 60)
            bridge.send_signal(signal.SIGTERM)
            bridge.wait(10)
        counts = Counter(told["uid"] for told in home.of("caption"))
        ids = sorted(told["id"] for told in {told["uid"]: told for told in home.of("caption")}.values())
        home.close()
        broker.kill()
    again = sum(counts.values()) - len(counts)
    result = {
        "events": options.events,
        "outage_s": options.outage,
        "arrived": len(counts),
        "before_the_outage": before,
        "sent_again": again,
    }
    print(result)
    bars = {"all arrive": ids == list(range(options.events)), "none twice by id": len(set(ids)) == len(ids)}
    return finish(options, result, bars)


if __name__ == "__main__":
    sys.exit(main())
