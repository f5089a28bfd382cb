"""A bounded look at a model file before its runtime's parser may see it, whatever its hash says.

GGUF: counts and lengths that would make the parser allocate without limit. ONNX: tensors kept in other files, which the runtime would open.
Sources: ggml docs/gguf.md (versions 2 and 3); onnx.proto3 (field numbers); TensorFlow Lite schema.fbs (file identifier).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from mmap import mmap

TOKENIZER_BYTES = 32 << 20
GGUF_HEADER_BYTES = 64 << 20
GGUF_KEYS = 4_096
GGUF_TENSORS = 65_536
GGUF_ARRAY = 1 << 20
ONNX_FIELDS = 2_000_000
ONNX_DEPTH = 40

# Bytes of each GGUF value type of fixed width; 8 is a string, 9 an array.
_GGUF_WIDTH = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_WHOLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
# (values, bytes) of a block of each ggml tensor type still written today; others are only checked to start inside the file.
_GGML_BLOCK = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110)}
_GGML_BLOCK |= {12: (256, 144), 13: (256, 176), 14: (256, 210), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}
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


class Unsafe(ValueError):
    """The file must not reach a parser; str() says why, without naming the file."""


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


def _scan_gguf(data: bytes, size_bytes: int) -> None:
    if data[:4] != b"GGUF":
        raise Unsafe("it is not a GGUF file")
    version, tensors, keys = struct.unpack_from("<IQQ", data, 4)
    if version not in (2, 3):
        raise Unsafe(f"its GGUF version is {version}, not 2 or 3")
    if tensors > GGUF_TENSORS or keys > GGUF_KEYS:
        raise Unsafe(f"it claims {tensors} tensors and {keys} keys, more than {GGUF_TENSORS} and {GGUF_KEYS}")
    position, alignment = 24, 32
    for _ in range(keys):
        key, position = _gguf_string(data, position)
        (kind,) = struct.unpack_from("<I", data, position)
        if key == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack_from("<I", data, position + 4)
        position = _gguf_skip(data, position + 4, kind)
    if not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise Unsafe(f"its alignment is {alignment}, not a power of two up to 65536")
    ends: list[int] = []
    for _ in range(tensors):
        end, position = _gguf_tensor(data, position, alignment)
        ends.append(end)
    if position > len(data):
        raise Unsafe("its GGUF header is cut off")
    start = -(-position // alignment) * alignment
    if ends and start + max(ends) > size_bytes:
        raise Unsafe("a tensor lies outside the file")


def gguf_numbers(data: bytes | mmap) -> dict[str, int]:
    """Whole numbers of a GGUF header that `scan` has passed, by the last word of their keys ("block_count", "embedding_length", …).

    Those before the tokenizer, whose arrays are long: every writer puts the architecture's first.
    """
    (keys,) = struct.unpack_from("<Q", data, 16)
    found, position = {}, 24
    for _ in range(keys):
        key, position = _gguf_string(data, position)
        if key.startswith(b"tokenizer."):
            break
        (kind,) = struct.unpack_from("<I", data, position)
        if kind in _GGUF_WHOLE:
            (found[key.decode("utf-8", "replace").rpartition(".")[2]],) = struct.unpack_from("<" + _GGUF_WHOLE[kind], data, position + 4)
        position = _gguf_skip(data, position + 4, kind)
    return found


def _gguf_string(data: bytes | mmap, position: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", data, position)
    if length > len(data) - position - 8:
        raise Unsafe(f"it claims a text of {length} bytes")
    return data[position + 8 : position + 8 + length], position + 8 + length


def _gguf_skip(data: bytes | mmap, position: int, kind: int) -> int:
    if kind in _GGUF_WIDTH:
        return position + _GGUF_WIDTH[kind]
    if kind == 8:
        return _gguf_string(data, position)[1]
    if kind != 9:
        raise Unsafe(f"it holds a value of unknown type {kind}")
    item, count = struct.unpack_from("<IQ", data, position)
    position += 12
    if count > GGUF_ARRAY or item == 9:
        raise Unsafe(f"it claims an array of {count} values of type {item}")
    if item in _GGUF_WIDTH:
        position += count * _GGUF_WIDTH[item]
    else:
        for _ in range(count):
            position = _gguf_skip(data, position, item)
    if position > len(data):
        raise Unsafe("an array is longer than the file")
    return position


def _gguf_tensor(data: bytes, position: int, alignment: int) -> tuple[int, int]:
    """End of the tensor's data relative to the data section, and the position behind its entry."""
    name, position = _gguf_string(data, position)
    (dimensions,) = struct.unpack_from("<I", data, position)
    if len(name) > 63 or not 1 <= dimensions <= 4:
        raise Unsafe(f"a tensor has {dimensions} dimensions or a name of {len(name)} bytes")
    shape = struct.unpack_from(f"<{dimensions}Q", data, position + 4)
    kind, offset = struct.unpack_from("<IQ", data, position + 4 + 8 * dimensions)
    values = 1
    for n in shape:
        values *= n
    if not 1 <= values <= 1 << 42 or offset % alignment or offset > 1 << 48:
        raise Unsafe(f"a tensor has {values} values at offset {offset}")
    per_block, block_bytes = _GGML_BLOCK.get(kind, (values, 1))
    if shape[0] % per_block and kind in _GGML_BLOCK:
        raise Unsafe("a tensor's rows do not fill its blocks")
    return offset + values // per_block * block_bytes, position + 16 + 8 * dimensions


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
    "gguf": _scan_gguf,
    "rknn": _scan_rknn,
    "tokenizer": _scan_tokenizer,
}
