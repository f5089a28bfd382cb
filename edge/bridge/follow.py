"""The stream of a local `auricle serve`, for ever: taken up where it was left, with a pause that grows while there is no server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from edge.serve.client import lines

PAUSE_S = (0.25, 5.0)
"""Before the first try again, and at most."""


def follow(
    socket: Path,
    place: Callable[[], tuple[str, int] | None],
    stop: threading.Event,
    tell: Callable[[str], None],
    lost: Callable[[], None] = lambda: None,
) -> Generator[tuple[str, dict[str, Any]], None, None]:
    """(epoch, record) of every record behind `place`, snapshots among them, until `stop`.

    A reader that was too slow is not told the rest with a hole in it: the stream is taken up anew where it was left, for the server keeps
    more than waits for one reader, and its snapshot says what sounds now.
    tell: gets a sentence when it breaks, or when records are lost all the same. lost: called whenever there is no server.
    """
    pause, told = PAUSE_S[0], ""
    while not stop.is_set():
        known = place()
        request = {"op": "subscribe", **({"epoch": known[0], "after": known[1]} if known is not None else {})}
        epoch = ""
        try:
            late = False
            with closing(lines(socket, request, timeout_s=None)) as records:
                for record in records:
                    pause, told = PAUSE_S[0], ""
                    if late := record["type"] == "lag":
                        break
                    if record["type"] == "snapshot":
                        epoch = record["epoch"]
                        if known is not None and known[0] == epoch and not record["resumed"]:
                            tell(f"{record['seq'] - known[1]} records were missed: the bridge is slower than the stream")
                    yield epoch, record
                    if stop.is_set():
                        return
            if late:
                continue
            why = f"socket {socket}: the server ended; trying again"
        except EdgeError as error:
            why = str(error)
        lost()
        if why != told:
            tell(why)
            told = why
        stop.wait(pause)
        pause = min(PAUSE_S[1], 2 * pause)


def uid(epoch: str, record: dict[str, Any]) -> str:
    """What names a record everywhere: a receiver that has seen it need not count it again."""
    return f"{epoch}-{record['seq']}"


def payload(epoch: str, record: dict[str, Any], **more: Any) -> str:
    """The record as JSON with its uid."""
    return json.dumps({**record, "uid": uid(epoch, record), **more}, ensure_ascii=False, separators=(",", ":"))
