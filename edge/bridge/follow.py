"""The stream of a local `auricle serve`, for ever: taken up where it was left, with a pause that grows while there is no server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from edge.serve.client import lines

PAUSE_S = (0.25, 5.0)
"""Before the first try again, and at most."""


def follow(
    socket: Path, place: Callable[[], tuple[str, int] | None], stop: threading.Event, tell: Callable[[str], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(epoch, record) of every record behind `place`, snapshots and lags among them, until `stop`. tell: gets a sentence when it breaks."""
    pause, told = PAUSE_S[0], ""
    while not stop.is_set():
        known = place()
        request = {"op": "subscribe", **({"epoch": known[0], "after": known[1]} if known is not None else {})}
        epoch = ""
        try:
            for record in lines(socket, request, timeout_s=None):
                pause = PAUSE_S[0]
                told = ""
                epoch = record["epoch"] if record["type"] == "snapshot" else epoch
                yield epoch, record
                if stop.is_set():
                    return
            why = f"socket {socket}: the server ended; trying again"
        except EdgeError as error:
            why = str(error)
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
