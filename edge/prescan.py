"""A bounded look at a model file before its runtime's parser may see it, whatever its hash says.

GGUF: see edge.gguf_header. ONNX: tensors kept in other files, which the runtime would open.
Sources: onnx.proto3 (field numbers); TensorFlow Lite schema.fbs (file identifier).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

from edge.gguf_header import Unsafe as Unsafe
from edge.gguf_header import scan_gguf

TOKENIZER_BYTES = 32 << 20
ONNX_FIELDS = 2_000_000
ONNX_DEPTH = 40

# Message type -> {field number: type of the message inside}; only what can hold a tensor is entered.
_ONNX: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


def scan(runtime: str, data: bytes, size_bytes: int) -> None:
    """Raises Unsafe if `data` cannot go to the parser of `runtime` ("onnx", "tflite", "gguf", "rknn", "tokenizer").

    data: the whole file, or for gguf its first GGUF_HEADER_BYTES. size_bytes: of the whole file.
    """
    try:
        _SCANS[runtime](data, size_bytes)
    except (struct.error, IndexError):
        raise Unsafe(f"its {runtime} structure is cut off") from None


def _scan_tflite(data: bytes, size_bytes: int) -> None:
    (root,) = struct.unpack_from("<I", data, 0)
    if data[4:8] != b"TFL3" or not 8 <= root <= size_bytes - 4:
        raise Unsafe("it is not a TensorFlow Lite model")


def _scan_rknn(data: bytes, size_bytes: int) -> None:
    if data[:4] != b"RKNN":
        raise Unsafe("it is not a model for Rockchip's NPUs")


def _scan_tokenizer(data: bytes, size_bytes: int) -> None:
    if size_bytes > TOKENIZER_BYTES:
        raise Unsafe(f"a tokenizer.json of {size_bytes} bytes is larger than {TOKENIZER_BYTES}")
    try:
        top = json.loads(data)
    except (ValueError, RecursionError):
        raise Unsafe("it is not JSON") from None
    if not isinstance(top, dict) or not isinstance(top.get("model"), dict):
        raise Unsafe("it is not a tokenizer.json")


def _scan_onnx(data: bytes, size_bytes: int) -> None:
    pending = [("model", 0, len(data), 0)]
    fields, graphs = 0, 0
    while pending:
        kind, position, stop, depth = pending.pop()
        graphs += kind == "graph"
        if depth > ONNX_DEPTH:
            raise Unsafe("its graphs are nested too deep")
        while position < stop:
            fields += 1
            if fields > ONNX_FIELDS:
                raise Unsafe(f"it has more than {ONNX_FIELDS} fields")
            number, start, end, value = _onnx_field(data, position, stop)
            if kind == "tensor" and (number == 13 or (number == 14 and value != 0)):
                raise Unsafe("it keeps a tensor in another file (external data)")
            inside = _ONNX[kind].get(number)
            if inside and value is None:
                pending.append((inside, start, end, depth + 1))
            position = end
    if not graphs:
        raise Unsafe("it is not an ONNX model")


def _onnx_field(data: bytes, position: int, stop: int) -> tuple[int, int, int, int | None]:
    """Field number, start and end of its content, and its value if it is a varint (protobuf encoding, wire types 0, 1, 2, 5)."""
    tag, position = _varint(data, position)
    wire, value = tag & 7, None
    if wire == 0:
        start = position
        value, position = _varint(data, position)
    elif wire == 2:
        length, start = _varint(data, position)
        position = start + length
    elif wire in (1, 5):
        start, position = position, position + (8 if wire == 1 else 4)
    else:
        raise Unsafe("it is not an ONNX model")
    if position > stop or tag < 8:
        raise Unsafe("its onnx structure is cut off or not ONNX")
    return tag >> 3, start, position, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = data[position]
    if value < 128:
        return value, position + 1
    value &= 127
    for shift in range(7, 70, 7):
        position += 1
        byte = data[position]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position + 1
    raise Unsafe("a number in it is too long")


_SCANS: dict[str, Callable[[bytes, int], None]] = {
    "onnx": _scan_onnx,
    "tflite": _scan_tflite,
    "gguf": scan_gguf,
    "rknn": _scan_rknn,
    "tokenizer": _scan_tokenizer,
}
