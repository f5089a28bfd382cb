"""What a TFLite file says of itself before anything loads it: that it is one, its schema, and the oldest runtime that knows its operators.

Interpreters answer a file from the future with the number of an operator, or end the process. Source of the layout: tensorflow/lite
schema.fbs (Model, Metadata, Buffer) and the flatbuffers binary format.
"""

from __future__ import annotations

import struct

SCHEMA = 3
MINIMUM = "min_runtime_version"
"""Metadata that the converter writes: "2.16.0", by the numbering of TensorFlow."""
VERSION, BUFFERS, METADATA = 0, 4, 6
"""Fields of Model."""


def minimum_runtime(content: bytes) -> str:
    """The oldest runtime that the file asks for, "" where it asks for none. Raises: ValueError when it is no TFLite file of this schema."""
    if content[4:8] != b"TFL3":
        raise ValueError("it is no TFLite file")
    try:
        return _minimum(content)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ValueError("the file is damaged") from None


def _minimum(content: bytes) -> str:
    model = _u32(content, 0)
    at = _field(content, model, VERSION)
    if (schema := _u32(content, at) if at else 0) != SCHEMA:
        raise ValueError(f"its schema is {schema}, this version reads {SCHEMA}")
    buffers = _tables(content, _field(content, model, BUFFERS))
    for entry in _tables(content, _field(content, model, METADATA)):
        name, place = _field(content, entry, 0), _field(content, entry, 1)
        if name and _bytes(content, name) == MINIMUM.encode():
            data = _field(content, buffers[_u32(content, place) if place else 0], 0)
            return _bytes(content, data).rstrip(b"\0").decode("ascii") if data else ""
    return ""


def _u32(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", content, at)[0])


def _field(content: bytes, table: int, number: int) -> int:
    """Where a field of a table lies, 0 where it is not there."""
    layout = table - int(struct.unpack_from("<i", content, table)[0])
    if layout < 0:
        raise IndexError(layout)
    size = int(struct.unpack_from("<H", content, layout)[0])
    place = 4 + 2 * number
    offset = int(struct.unpack_from("<H", content, layout + place)[0]) if place < size else 0
    return table + offset if offset else 0


def _vector(content: bytes, field: int) -> tuple[int, int]:
    """(first element, how many)."""
    at = field + _u32(content, field)
    return at + 4, _u32(content, at)


def _tables(content: bytes, field: int) -> list[int]:
    if not field:
        return []
    first, count = _vector(content, field)
    if count * 4 > len(content):
        raise IndexError(count)
    return [first + 4 * i + _u32(content, first + 4 * i) for i in range(count)]


def _bytes(content: bytes, field: int) -> bytes:
    first, count = _vector(content, field)
    if first + count > len(content):
        raise IndexError(count)
    return content[first : first + count]
