"""A record as the outside sees it: plain values, seconds instead of samples. The promise is that fields are added, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from edge.types import SAMPLE_RATE, Answer, Caption, Device, Gap, Record, Session, Sound, Speech, Status, Word

SCHEMA = 1
TEXT_CHARACTERS = 4_096
"""No caption leaves longer than this; the longest turn gives a few hundred characters."""

_UNPRINTABLE = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
# Direction overrides can make a line read as something else than it says (Unicode TR 36); lone surrogates cannot be written at all.
_UNPRINTABLE |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF), " ")
_UNPRINTABLE |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def milliseconds(samples: int) -> int:
    """Position in the stream, rounded to the nearest millisecond (half up), by whole numbers only."""
    return (samples * 1_000 + SAMPLE_RATE // 2) // SAMPLE_RATE


def seconds(samples: int) -> float:
    """Position in seconds with three decimals."""
    return milliseconds(samples) / 1_000


def clock(position_ms: int, separator: str = ".") -> str:
    """Position as HH:MM:SS.mmm; hours grow past 99."""
    minutes, ms = divmod(position_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1_000:02}{separator}{ms % 1_000:03}"


def printable(text: str) -> str:
    """`text` capped, with a space for every control character, so that positions in it still hold."""
    return text[:TEXT_CHARACTERS].translate(_UNPRINTABLE)


def utc(unix_ns: int) -> str:
    """ISO 8601 with milliseconds, UTC."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=unix_ns // 1_000_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_dict(record: Record) -> dict[str, Any]:
    """The record's fields, named and ordered as the contract has them; times in seconds from the start of the stream."""
    if isinstance(record, Session):
        return {
            "type": "session",
            "schema": SCHEMA,
            "source": printable(record.source),
            "bundle": record.bundle,
            "bundle_version": record.bundle_version,
            "started": utc(record.started_ns),
        }
    if isinstance(record, Speech):
        return {"type": "speech", "start": seconds(record.start), "end": seconds(record.stop)}
    if isinstance(record, Sound):
        return _sound(record)
    if isinstance(record, Caption):
        return _caption(record)
    if isinstance(record, Gap):
        return {"type": "gap", "start": seconds(record.start), "end": seconds(record.stop), "reason": record.reason}
    if isinstance(record, Device):
        shown = {"type": "device", "state": record.state, "name": printable(record.name), "at": seconds(record.at)}
        return {**shown, "detail": printable(record.detail)} if record.detail else shown
    if isinstance(record, Status):
        figures = {"at": seconds(record.at), "lag": round(record.lag_s, 3), "waiting": record.waiting, "shed": record.shed}
        moved = {"moved": round(record.moved_s, 3)} if record.moved_s else {}
        return {"type": "status", **figures, "duty": dict(record.duty), "time": utc(record.unix_ns), **moved}
    raise TypeError(f"{type(record).__name__} is not a record")


def answer_as_dict(question: str, answer: Answer, parts: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
    """An answer to `question` as a document of its own; start and end in seconds of the clip: what was heard for it.

    parts: spans of the clips that were heard as one, where there are several.
    """
    return {
        "type": "answer",
        "question": printable(question),
        "text": printable(answer.text),
        "start": seconds(answer.start),
        "end": seconds(answer.stop),
        **({"thought": printable(answer.thought)} if answer.thought else {}),
        **({"clips": [{"start": seconds(start), "end": seconds(stop)} for start, stop in parts]} if len(parts) > 1 else {}),
    }


def _sound(sound: Sound) -> dict[str, Any]:
    ended = {} if sound.stop is None else {"end": seconds(sound.stop)}
    return {
        "type": "sound",
        "id": sound.id,
        "state": "start" if sound.stop is None else "end",
        "label": sound.label,
        "start": seconds(sound.start),
        **ended,
        "score": round(float(sound.score), 3),
        **({"priority": True} if sound.priority else {}),
    }


def _word(word: Word) -> dict[str, Any]:
    return {"text": printable(word.text), "start": seconds(word.start), "end": seconds(word.stop)}


def _caption(caption: Caption) -> dict[str, Any]:
    text = printable(caption.text)
    where_known = {key: value for key in ("language", "guard") if (value := getattr(caption, key))}
    return {
        "type": "caption",
        "id": caption.id,
        "revision": caption.revision,
        "final": caption.final,
        "start": seconds(caption.start),
        "end": seconds(caption.stop),
        "text": text,
        "committed": min(caption.committed, len(text)),
        "latency": round(float(caption.latency), 3),
        **where_known,
        **({"words": [_word(word) for word in caption.words]} if caption.words else {}),
        **({"priority": True} if caption.priority else {}),
    }
