"""`auricle history`: what `auricle serve` has kept, by words and time."""

from __future__ import annotations

import argparse
import json
import re
import time
from datetime import datetime
from pathlib import Path

from edge.commands import DONE, options
from edge.commands.stdout import say
from edge.errors import ConfigError

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def run(arguments: argparse.Namespace) -> int:
    """Prints records, the oldest first. Raises: ConfigError, OutputError."""
    config = options.config(arguments)
    from edge.serve.history import search, usual_path
    from edge.sinks.record import printable

    limit = int(options.number("--limit", arguments.limit or "100", 1, 1_000_000, "a whole number", whole=True))
    path = Path(config.history_path) if config.history_path else usual_path()
    for unix, record in search(path, " ".join(arguments.words), since(arguments.since), limit):
        if arguments.json:
            say(json.dumps({**record, "unix": round(unix, 3)}, ensure_ascii=False))
        else:
            moment = datetime.fromtimestamp(unix).astimezone().isoformat(sep=" ", timespec="seconds")
            say(f"{moment}  {printable(_line(record))}")
    return DONE


def since(text: str | None, now: float | None = None) -> float:
    """Unix time of a moment such as 2026-11-26T18:00, or of 30m, 2h, 3d ago; 0 for None. Raises: ConfigError."""
    if text is None:
        return 0.0
    if match := _AGO.fullmatch(text):
        return (time.time() if now is None else now) - float(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"--since is {text!r}, but must be a moment such as 2026-11-26T18:00, or 30m, 2h or 3d") from None


def _line(record: dict[str, object]) -> str:
    kind = record["type"]
    if kind == "caption":
        return str(record["text"])
    if kind == "sound":
        return f"[{record['label']}]"
    named = {key: value for key, value in record.items() if key not in ("type", "kept", "schema")}
    return f"-- {kind}: " + ", ".join(f"{key} {value}" for key, value in named.items())
