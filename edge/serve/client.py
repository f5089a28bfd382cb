"""The other end of the local socket, for one question or a stream of records."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from edge.errors import EdgeError

PATIENCE_S = 120.0
"""A large model may take so long for an answer."""


def usual_path() -> Path:
    """Where a server listens unless told otherwise: $XDG_RUNTIME_DIR, else /run/auricle where that can be written, else below /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "auricle.sock"
    if os.access("/run/auricle", os.W_OK | os.X_OK):
        return Path("/run/auricle/auricle.sock")
    return Path(f"/tmp/auricle-{os.getuid()}/auricle.sock")


def connect(path: Path, timeout_s: float | None = PATIENCE_S) -> socket.socket:
    """Raises: EdgeError where no server listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(os.fspath(path))
    except OSError as error:
        connection.close()
        why = "nothing listens there" if isinstance(error, FileNotFoundError | ConnectionRefusedError) else error.strerror or str(error)
        raise EdgeError(f"socket {path}: {why}; start `auricle serve`, or name its socket with --socket") from None
    return connection


def lines(path: Path, *requests: dict[str, Any], timeout_s: float | None = PATIENCE_S) -> Generator[dict[str, Any], None, None]:
    """Sends requests, one a line, and gives what the server sends until it ends. Raises: EdgeError where it cannot be heard."""
    with connect(path, timeout_s) as connection:
        try:
            connection.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
            with connection.makefile("rb") as stream:
                for line in stream:
                    yield json.loads(line)
        except (OSError, ValueError) as error:
            raise EdgeError(f"socket {path}: the server broke off ({error}); look at its messages") from None


def ask(path: Path, question: str, last_s: float = 60.0) -> dict[str, Any]:
    """The running listener's answer record to a question about what it has just heard. Raises: EdgeError; as the server says."""
    for said in lines(path, {"op": "ask", "question": question, "last_s": last_s}):
        if said["type"] == "error":
            raise EdgeError(str(said["message"]))
        if said["type"] == "answer":
            return said
    raise EdgeError(f"socket {path}: the server ended before it answered; start it again")


def ask_each(path: Path, question: str, last_s: float = 60.0) -> Iterator[dict[str, Any]]:
    """The same of each turn of the last seconds, the oldest first. Raises: as ask."""
    for said in lines(path, {"op": "ask", "question": question, "last_s": last_s, "each": True}):
        if said["type"] == "error":
            raise EdgeError(str(said["message"]))
        if said["type"] == "answered":
            return
        if said["type"] == "answer":
            yield said
    raise EdgeError(f"socket {path}: the server ended before it had answered; start it again")
