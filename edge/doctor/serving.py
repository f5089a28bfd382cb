"""What `auricle serve` needs: a place for its socket, a free port, a token where others can reach it, a disk to keep records on."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from edge.doctor.finding import Check, Finding, Machine, refused
from edge.errors import EdgeError

LONGEST_PATH = 107
"""Bytes of a Unix socket's path: unix(7), sun_path."""
SPARE_MB = 64.0
"""Beside the history itself: SQLite needs room for its log and for making the file smaller."""


def stream(machine: Machine) -> Iterator[Finding]:
    """The local socket."""
    from edge.serve.client import connect
    from edge.serve.local_socket import usual_path

    path = Path(machine.config.socket) if machine.config.socket else usual_path()
    if len(os.fsencode(path)) > LONGEST_PATH:
        yield Finding("socket", "wrong", f"its path has more than {LONGEST_PATH} bytes: {path}", "name a shorter one with socket")
        return
    folder = next(parent for parent in path.parents if parent.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "name another place with socket (in a service: RuntimeDirectory=auricle)"
        yield Finding("socket", "wrong", f"{folder} cannot be written by this user", remedy)
    elif not path.exists():
        yield Finding("socket", "good", f"{path} is free; auricle serve is not running")
    elif not path.is_socket():
        yield Finding("socket", "wrong", f"there is a file of another kind at {path}", "remove it, or name another place with socket")
    else:
        try:
            connect(path).close()
            yield Finding("socket", "good", f"auricle serve is running at {path}")
        except EdgeError:
            yield Finding("socket", "good", f"{path} was left behind by a server that ended; the next takes its place")


def pages(machine: Machine) -> Iterator[Finding]:
    """The web server's address."""
    if machine.config.web is None:
        return
    from edge.serve.access import Access, address, token_of

    host, port = address(machine.config.web)
    try:
        Access(None, host, port, token_of(machine.config.token_file), machine.config.web_names or "")
    except EdgeError as error:
        yield refused("web", error)
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = "end the program that has it (ss -ltnp shows which), or name another port with web"
            yield Finding("web", "wrong", f"{host} port {port} cannot be had: {error.strerror or error}", remedy)
            return
    yield Finding("web", "good", f"{host} port {port} is free")


def history(machine: Machine) -> Iterator[Finding]:
    """The disk that records are kept on."""
    config = machine.config
    if config.history == "off":
        return
    from edge.serve.history import soundness, usual_path

    path = Path(config.history_path) if config.history_path else usual_path()
    folder = next(parent for parent in path.parents if parent.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "history",
            "wrong",
            f"{folder} cannot be written by this user",
            "name another place with history_path, or StateDirectory=auricle",
        )
        return
    free = shutil.disk_usage(folder).free / 1e6
    if free < config.history_mb + SPARE_MB:
        remedy = "free some, or set history_mb lower"
        yield Finding("history", "wrong", f"{free:.0f} MB are free for {config.history_mb:.0f} MB of history", remedy)
        return
    wrong = soundness(path) if path.exists() else ""
    if wrong:
        yield Finding("history", "note", f"{path}: {wrong}", "nothing: it will be moved aside, and a new one begun")
    else:
        yield Finding("history", "good", f"{path}, {free:.0f} MB free")


CHECKS: tuple[Check, ...] = (stream, pages, history)
