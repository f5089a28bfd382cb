"""The local stream of `auricle serve`, with nothing but Python's own library: ROS's interpreter need not have auricle installed.

The protocol is described in auricle's docs/serving.md.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PAUSE_S = (0.25, 5.0)


def usual_path() -> str:
    """Where `auricle serve` listens unless it is told otherwise."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(runtime, "auricle.sock")
    return "/run/auricle/auricle.sock" if os.path.exists("/run/auricle") else f"/tmp/auricle-{os.getuid()}/auricle.sock"


class Stream:
    """Calls `take(epoch, record)` from a thread of its own for every record, for ever; after a break it goes on where it was.

    state: gets "connected", or why there is no connection.
    """

    def __init__(self, path: str, take: Callable[[str, dict[str, Any]], None], state: Callable[[str], None]) -> None:
        self._path, self._take, self._state = path, take, state
        self._stop = threading.Event()
        self._connection: socket.socket | None = None
        self._epoch, self._seq = "", 0
        self._thread = threading.Thread(target=self._run, name="auricle", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = PAUSE_S[0]
        while not self._stop.is_set():
            try:
                self._once()
                pause = PAUSE_S[0]
                self._state("the server ended")
            except (OSError, ValueError) as error:
                self._state(f"{self._path}: {error}")
            self._stop.wait(pause)
            pause = min(PAUSE_S[1], 2 * pause)

    def _once(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            self._connection = connection
            connection.connect(self._path)
            known = {"epoch": self._epoch, "after": self._seq} if self._epoch else {}
            connection.sendall(json.dumps({"op": "subscribe", **known}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    record = json.loads(line)
                    if record["type"] == "snapshot":
                        self._state("connected")
                        self._epoch = record["epoch"]
                        self._seq = self._seq if record["resumed"] else record["seq"]
                    elif record["type"] != "lag":
                        self._seq = record["seq"]
                    self._take(self._epoch, record)
                    if self._stop.is_set():
                        return

    def close(self) -> None:
        self._stop.set()
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(2.0)


def ask(path: str, question: str, last_s: float, timeout_s: float = 120.0) -> dict[str, Any]:
    """The answer record, or {"type": "error", "message"}. Raises: OSError, ValueError where there is no server."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        connection.sendall(json.dumps({"op": "ask", "question": question, "last_s": last_s}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            return dict(json.loads(lines.readline()))
