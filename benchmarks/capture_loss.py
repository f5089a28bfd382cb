"""How soon is a loss noticed, and does the time line stay true? Unplugging, moving, stopping, killing, freezing: real PulseAudio.

    python benchmarks/capture_loss.py [--rounds 5]

noticed_s: from the cause to the Device or Gap record in the listen thread (the contract: within 1 s). back_s: from the remedy to "open".
"frozen" stops this process itself (SIGSTOP) for 14 s, so that the server drops frames without any flag: gap_s
must bring the time line back to the clock.
Prints one JSON line per fault.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sound_server import MICROPHONE, PulseServer, pulse_server
from test_microphone import Listening, plug_in

from edge.capture import Microphone

FROZEN_S = 14.0


def noticed(server: PulseServer, state: str, cause: Callable[[], object], remedy: Callable[[], object]) -> tuple[float, float]:
    listening = Listening(Microphone(MICROPHONE))
    listening.wait_for("open")
    time.sleep(1)
    began_s = time.monotonic()
    cause()
    first = listening.wait_for(state)
    began_back_s = time.monotonic()
    remedy()
    back = listening.wait_for("open", first)
    listening.close()
    listening.assert_one_time_line()
    return listening.times[first] - began_s, listening.times[back] - began_back_s


def faults(server: PulseServer, folder: Path) -> dict[str, Callable[[], tuple[float, float]]]:
    def unplug(other: bool) -> tuple[float, float]:
        speaker = server.load("module-null-sink", "sink_name=speaker") if other else ""
        plugged = [plug_in(server)]
        found = noticed(
            server, "changed" if other else "lost", lambda: server.unload(plugged[0]), lambda: plugged.append(plug_in(server, 44_100, 2))
        )
        server.unload(plugged[1])
        if other:
            server.unload(speaker)
        return found

    def suspend() -> tuple[float, float]:
        plugged = plug_in(server)
        found = noticed(
            server,
            "stalled",
            lambda: server.pactl("suspend-source", "test_mic", "1"),
            lambda: server.pactl("suspend-source", "test_mic", "0"),
        )
        server.unload(plugged)
        return found

    def kill() -> tuple[float, float]:
        plug_in(server)
        found = noticed(server, "lost", server.stop, lambda: (server.start(), plug_in(server)))
        server.stop()
        server.start()
        return found

    return {"unplugged": lambda: unplug(False), "moved": lambda: unplug(True), "stopped": suspend, "server killed": kill}


def frozen(server: PulseServer) -> dict[str, object]:
    plugged = plug_in(server, 48_000, 2)  # PulseAudio keeps 4 MB for a client that does not read: 11 s of this
    listening = Listening(Microphone(MICROPHONE, raw_seconds=60))
    listening.wait_for("open")
    time.sleep(3)
    waker = subprocess.Popen(["sh", "-c", f"sleep {FROZEN_S}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)
    waker.wait()
    time.sleep(5)
    line_s, clock_s = listening.microphone.ring.head / 16_000, (time.time_ns() - listening.microphone.anchor_ns) / 1e9
    listening.close()
    listening.assert_one_time_line()
    server.unload(plugged)
    return {
        "frozen_s": FROZEN_S,
        "gap_s": round(sum(gap.stop - gap.start for gap in listening.gaps()) / 16_000, 3),
        "reasons": sorted({gap.reason for gap in listening.gaps()}),
        "states": listening.states(),
        "time_line_behind_clock_s": round(clock_s - line_s, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as monkeypatch,
        pulse_server(Path(folder), monkeypatch) as server,
    ):
        for name, fault in faults(server, Path(folder)).items():
            found = [fault() for _ in range(rounds)]
            print(
                json.dumps(
                    {
                        "fault": name,
                        "rounds": rounds,
                        "noticed_s": {
                            "median": round(float(np.median([n for n, _ in found])), 3),
                            "worst": round(max(n for n, _ in found), 3),
                        },
                        "back_s": {
                            "median": round(float(np.median([b for _, b in found])), 3),
                            "worst": round(max(b for _, b in found), 3),
                        },
                    }
                ),
                flush=True,
            )
        print(json.dumps({"fault": "frozen", **frozen(server)}), flush=True)


if __name__ == "__main__":
    main()
