"""Tells systemd how it goes: ready, still processing, stopping. Without $NOTIFY_SOCKET it does nothing.

The beat of the watchdog is fed by processed samples and by what the microphone tells, its outages too, never by a timer: a line that hangs
misses it, and systemd starts the service anew. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notify:
    """environ: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read, once. Used by one thread."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self._beat_s = int(usec) / 1e6 / 4 if ours and usec.isdigit() and int(usec) else 0.0
        """Shortest time between two beats: a quarter of what systemd waits for."""
        self._beaten_at = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)  # a full queue of systemd's must not hold up the line

    def ready(self, status: str) -> None:
        """The service is up; status is what `systemctl status` shows."""
        self._send(f"READY=1\nSTATUS={status}")

    def progressed(self) -> None:
        """Something was dealt with; beats when it is time to."""
        now = time.monotonic()
        if self._beat_s and now - self._beaten_at >= self._beat_s:
            self._beaten_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # systemd has gone or is busy: nobody to tell
                self._socket.sendto(text.encode(), self._address)
