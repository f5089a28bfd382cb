"""What a command prints itself, and why an output cannot be written, in one sentence."""

from __future__ import annotations

import errno
import sys

from edge.errors import OutputError

_SPACE = "free some space, or choose another place"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "a part of its path is a file, so choose another path",
    errno.EISDIR: "name a file inside that folder",
    errno.EACCES: "change the permissions there, or choose another place",
    errno.EPERM: "change the permissions there, or choose another place",
    errno.EROFS: "nothing can be written there, so choose another place",
    errno.EBADF: "it is closed, so leave it open or use --output",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def refusal(error: OSError, where: str | None = None) -> Exception:
    """The error to raise for one of the system's. where: the file, None for standard output, whose reader may just have left."""
    if where is None and isinstance(error, BrokenPipeError):
        return error
    remedy = _REMEDIES.get(error.errno or 0, "choose another place")
    return OutputError(f"{where or 'standard output'} cannot be written ({error.strerror or error}); {remedy}")


def say(text: str) -> None:
    """Prints lines on standard output. Raises: OutputError; BrokenPipeError when its reader has left."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise refusal(error) from error


def flush() -> None:
    """Hands what is still buffered to the system. Raises: as say()."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise refusal(error) from error
