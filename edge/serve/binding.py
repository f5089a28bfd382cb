"""Where the local socket is made, so that it is its owner's alone and no living server loses it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from edge.errors import OutputError


def bind(path: Path) -> socket.socket:
    """A listening socket of mode 0600, in a folder that is made with 0700 if it is missing. Raises: OutputError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        mask = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(mask)
        listener.listen(64)
        listener.setblocking(False)
        return listener
    except OSError as error:
        listener.close()
        raise OutputError(f"socket {path}: it cannot be made ({error.strerror or error}); name another with --socket") from None


def _remove_stale(path: Path) -> None:
    """What a server that was killed left behind. Raises: OutputError where one is living, or another kind of file is there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OutputError(f"socket {path}: there is a file of that name; name another with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise OutputError(f"socket {path}: another auricle serve is listening there; end that one, or name another with --socket")
