"""Records of auricle as fields of the messages: plain values, so that it can be tested without ROS. The standard library alone.

The ROS package auricle_ros, which works without the runtime, has this file too: a link there leads here.
Times are of the audio: the stream's beginning, as the newest status has it by the wall clock, plus seconds counted in samples.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

NANO = 1_000_000_000


def audioset_ids(lines: Iterable[str]) -> dict[str, str]:
    """Display name -> id such as /m/07r4wb8, of the lines of audioset.csv."""
    return {name: mid for mid, name in csv.reader(line for line in lines if not line.startswith("#"))}


def text(value: str) -> str:
    """What a string of a message can hold: it ends at the first zero character, and is UTF-8."""
    return value.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def started_ns(*records: dict[str, Any] | None) -> int | None:
    """Unix time in nanoseconds of sample 0, from the first record that says it: a session, or a status of the clock as it was set since."""
    for record in filter(None, records):
        if "started" in record:
            return unix_ns(record["started"])
        if "time" in record:
            return unix_ns(record["time"]) - round(float(record["at"]) * 1_000) * 1_000_000
    return None


def unix_ns(text: str) -> int:
    """Of an ISO 8601 time."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * NANO + since.microseconds * 1_000


def time_of(begin_ns: int, seconds: float) -> dict[str, int]:
    """builtin_interfaces/Time of so many seconds (three decimals) behind the beginning."""
    total = begin_ns + round(seconds * 1_000) * 1_000_000
    return {"sec": total // NANO, "nanosec": total % NANO}


def sound_event(record: dict[str, Any], stream: str, begin_ns: int, ids: Mapping[str, str]) -> dict[str, Any]:
    """SoundEvent without its header. ids: of audioset_ids."""
    ended = record["state"] == "end"
    azimuth = record.get("azimuth")
    return {
        "stream": stream,
        "id": record["id"],
        "state": 1 if ended else 0,
        "label": text(record["label"]),
        "audioset_id": ids.get(record["label"], ""),
        "onset": time_of(begin_ns, record["start"]),
        "offset": time_of(begin_ns, record["end"]) if ended else {"sec": 0, "nanosec": 0},
        "score": float(record["score"]),
        "priority": bool(record.get("priority", False)),
        "azimuth": float(azimuth) if azimuth is not None else 0.0,
        "azimuth_valid": azimuth is not None,
    }


def caption(record: dict[str, Any], stream: str, begin_ns: int) -> dict[str, Any]:
    """Caption without its header."""
    return {
        "stream": stream,
        "id": record["id"],
        "revision": record["revision"],
        "final": record["final"],
        "text": text(record["text"]),
        "committed": record["committed"],
        "start": time_of(begin_ns, record["start"]),
        "end": time_of(begin_ns, record["end"]),
        "latency": float(record["latency"]),
        "language": record.get("language", ""),
        "priority": bool(record.get("priority", False)),
    }


def gap(record: dict[str, Any], begin_ns: int) -> dict[str, Any]:
    """Gap without its header."""
    return {"start": time_of(begin_ns, record["start"]), "end": time_of(begin_ns, record["end"]), "reason": text(record["reason"])}


def condition(record: dict[str, Any] | None, connection: str) -> tuple[int, str, dict[str, str]]:
    """(level, message, values) of a DiagnosticStatus: 0 fine, 1 behind, 2 not connected. record: the newest status."""
    if connection != "connected":
        return 2, connection, {}
    if record is None:
        return 0, "listening", {}
    values = {"lag": f"{record['lag']:.3f}", "waiting": str(record["waiting"]), "shed": str(record["shed"])}
    values |= {f"duty of {step}": f"{share:.4f}" for step, share in record.get("duty", {}).items()}
    return (1, f"{record['lag']:.1f} s behind", values) if record["lag"] >= 1.0 else (0, "listening", values)
