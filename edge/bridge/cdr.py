"""The messages of auricle_msgs in ROS 2's serialization, without ROS: plain CDR, little endian.

Written here because the one library that does it (rosbags) brings a database and two compressors along; the tests compare every byte and
every type hash with it. Sources: OMG DDS-XTypes 1.3, 7.4.1 (CDR version 1); REP 2011 and 2016 (type hashes, RIHS01).
"""

from __future__ import annotations

import struct
from typing import Any

_ENCAPSULATION = b"\x00\x01\x00\x00"
_SIMPLE = {"bool": ("?", 1), "uint8": ("B", 1), "int32": ("i", 4), "uint32": ("I", 4), "float32": ("f", 4)}

Layout = tuple[tuple[str, "str | Layout"], ...]
"""(name, type) of each field, in the order of the .msg file; a nested message is its own layout."""

TIME: Layout = (("sec", "int32"), ("nanosec", "uint32"))
HEADER: Layout = (("stamp", TIME), ("frame_id", "string"))
LAYOUTS: dict[str, Layout] = {
    "SoundEvent": (
        *(("header", HEADER), ("stream", "string"), ("id", "uint32"), ("state", "uint8"), ("label", "string")),
        *(("audioset_id", "string"), ("onset", TIME), ("offset", TIME), ("score", "float32"), ("priority", "bool")),
        *(("azimuth", "float32"), ("azimuth_valid", "bool")),
    ),
    "Caption": (
        *(("header", HEADER), ("stream", "string"), ("id", "uint32"), ("revision", "uint32"), ("final", "bool")),
        *(("text", "string"), ("committed", "uint32"), ("start", TIME), ("end", TIME), ("latency", "float32")),
        *(("language", "string"), ("priority", "bool")),
    ),
    "Gap": (("header", HEADER), ("start", TIME), ("end", TIME), ("reason", "string")),
}
HASHES = {
    "SoundEvent": "RIHS01_398ce219d367012e6738d2e4d366e32fa5e912e0158617c6fc5bbb8b85f5e532",
    "Caption": "RIHS01_b5b1e6b7cbe6349aca17ff7d9020214855f002fdeae2680acd69e17331c0814d",
    "Gap": "RIHS01_f36b853955a4f817ff10d47d1ed3025d99e679650c693eb61e21a6c868dd1f43",
}
"""What names each layout: a ROS node with another one is not connected."""


def serialize(name: str, fields: dict[str, Any]) -> bytes:
    """One message. fields: as edge.bridge.fields gives them. Raises: KeyError without a field, struct.error for a number out of range."""
    out = bytearray()
    _write(out, LAYOUTS[name], fields)
    return _ENCAPSULATION + bytes(out)


def _write(out: bytearray, layout: Layout, fields: dict[str, Any]) -> None:
    for name, kind in layout:
        value = fields[name]
        if not isinstance(kind, str):
            _write(out, kind, value)
        elif kind == "string":
            text = value.encode("utf-8") + b"\0"
            _align(out, 4)
            out += struct.pack("<I", len(text)) + text
        else:
            code, size = _SIMPLE[kind]
            _align(out, size)
            out += struct.pack(f"<{code}", value)


def _align(out: bytearray, size: int) -> None:
    out += bytes(-len(out) % size)
