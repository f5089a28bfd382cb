"""What `auricle serve` needs: a place for its socket, a free port, a token where others can reach it, a disk to keep records on."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from edge.doctor.finding import Check, Finding, Machine, refused
from edge.errors import EdgeError

LONGEST_PATH = 107
"""Bytes of a Unix socket's path: unix(7), sun_path."""
SPARE_MB = 64.0
"""Beside the history itself: SQLite needs room for its log and for making the file smaller."""


def stream(machine: Machine) -> Iterator[Finding]:
    """The local socket."""
    path = _socket(machine)
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
        error = _reached(path)
        if error is None:
            yield Finding("socket", "good", f"auricle serve is running at {path}")
        elif isinstance(error, ConnectionRefusedError):
            yield Finding("socket", "good", f"{path} was left behind by a server that ended; the next takes its place")
        else:
            remedy = "run as the user whose server it is, or name another place with socket"
            yield Finding("socket", "wrong", f"{path} is shut to this user ({error.strerror or error})", remedy)


def _reached(path: Path) -> OSError | None:
    """Why no server answers at this socket, or None where one does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            return error
    return None


def pages(machine: Machine) -> Iterator[Finding]:
    """The web server's address, and its packages."""
    if machine.config.web is None:
        return
    if missing := [name for name in ("starlette", "uvicorn", "websockets", "multipart", "prometheus_client") if find_spec(name) is None]:
        yield Finding("web", "wrong", f"its packages are missing ({', '.join(missing)})", "pip install 'auricle[web]'")
        return
    from edge.serve.access import Access, address, token_of

    host, port = address(machine.config.web)
    try:
        Access(None, host, port, token_of(machine.config.token_file), machine.config.web_names or "")
    except EdgeError as error:
        yield refused("web", error)
        return
    yield _free("web", host, port, machine)


def voices(machine: Machine) -> Iterator[Finding]:
    """The address of Home Assistant's voice service, and its package."""
    if machine.config.wyoming is None:
        return
    if find_spec("wyoming") is None:
        yield Finding("wyoming", "wrong", "its package is missing", "pip install 'auricle[wyoming]'")
        return
    from edge.serve.access import address

    yield _free("wyoming", *address(machine.config.wyoming, "wyoming"), machine)


def _free(option: str, host: str, port: int, machine: Machine) -> Finding:
    """Whether the address can be had; a server that runs here may have it already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            path = _socket(machine)
            if error.errno == errno.EADDRINUSE and path.is_socket() and _reached(path) is None:
                return Finding(option, "good", f"{host} port {port} is in use, and auricle serve is running")
            remedy = f"end the program that has it (ss -ltnp shows which), or name another port with {option}"
            return Finding(option, "wrong", f"{host} port {port} cannot be had: {error.strerror or error}", remedy)
    return Finding(option, "good", f"{host} port {port} is free")


def _socket(machine: Machine) -> Path:
    from edge.serve.client import usual_path

    return Path(machine.config.socket) if machine.config.socket else usual_path()


def history(machine: Machine) -> Iterator[Finding]:
    """The disk that records are kept on."""
    config = machine.config
    if config.history == "off":
        return
    from edge.serve.history import soundness, usual_path

    path = Path(config.history_path) if config.history_path else usual_path()
    folder = next(parent for parent in path.parents if parent.exists())
    shut = next((p for p in (folder, path) if p.exists() and not os.access(p, os.W_OK)), None)
    if shut is not None:
        yield Finding(
            "history",
            "wrong",
            f"{shut} cannot be written by this user",
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


CHECKS: tuple[Check, ...] = (stream, pages, voices, history)
