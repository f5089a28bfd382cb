"""The header of a GGUF file: whether it is safe to read, what numbers and tensors it names. Source: ggml docs/gguf.md, versions 2 and 3."""

from __future__ import annotations

import struct
from mmap import mmap

GGUF_HEADER_BYTES = 64 << 20
GGUF_KEYS = 4_096
GGUF_TENSORS = 65_536
GGUF_ARRAY = 1 << 20

# Bytes of each GGUF value type of fixed width; 8 is a string, 9 an array.
_GGUF_WIDTH = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_WHOLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
# (values, bytes) of a block of each ggml tensor type still written today; others are only checked to start inside the file.
_GGML_BLOCK = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110)}
_GGML_BLOCK |= {12: (256, 144), 13: (256, 176), 14: (256, 210), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}


class Unsafe(ValueError):
    """The file must not reach a parser; str() says why, without naming the file."""


def scan_gguf(data: bytes, size_bytes: int) -> None:
    """Raises Unsafe for counts and lengths that would make a parser allocate without limit, and tensors outside the file of that size.

    data: the first GGUF_HEADER_BYTES of it, or all.
    """
    if data[:4] != b"GGUF":
        raise Unsafe("it is not a GGUF file")
    version, tensors, keys = struct.unpack_from("<IQQ", data, 4)
    if version not in (2, 3):
        raise Unsafe(f"its GGUF version is {version}, not 2 or 3")
    if tensors > GGUF_TENSORS or keys > GGUF_KEYS:
        raise Unsafe(f"it claims {tensors} tensors and {keys} keys, more than {GGUF_TENSORS} and {GGUF_KEYS}")
    position, alignment = _behind_keys(data, keys)
    if not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise Unsafe(f"its alignment is {alignment}, not a power of two up to 65536")
    ends: list[int] = []
    for _ in range(tensors):
        _, _, _, offset, size, position = _tensor(data, position)
        if offset % alignment:
            raise Unsafe(f"a tensor begins at offset {offset}")
        ends.append(offset + size)
    if position > len(data):
        raise Unsafe("its GGUF header is cut off")
    start = -(-position // alignment) * alignment
    if ends and start + max(ends) > size_bytes:
        raise Unsafe("a tensor lies outside the file")


def gguf_numbers(data: bytes | mmap) -> dict[str, int]:
    """Whole numbers of a GGUF header that `scan_gguf` has passed, by the last word of their keys ("block_count", "embedding_length", …).

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


def gguf_tensors(data: bytes) -> dict[str, tuple[int, tuple[int, ...], int]]:
    """Of a whole GGUF file that `scan_gguf` has passed: of each tensor ggml's type, its sizes, outermost first, and where it begins."""
    tensors, keys = struct.unpack_from("<QQ", data, 8)
    position, alignment = _behind_keys(data, keys)
    found = {}
    for _ in range(tensors):
        name, kind, shape, offset, _, position = _tensor(data, position)
        found[name.decode("utf-8", "replace")] = (kind, shape[::-1], offset)
    start = -(-position // alignment) * alignment
    return {name: (kind, shape, start + offset) for name, (kind, shape, offset) in found.items()}


def _behind_keys(data: bytes, keys: int) -> tuple[int, int]:
    """Where the tensors' entries begin, and the alignment that a key may name."""
    position, alignment = 24, 32
    for _ in range(keys):
        key, position = _gguf_string(data, position)
        (kind,) = struct.unpack_from("<I", data, position)
        if key == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack_from("<I", data, position + 4)
        position = _gguf_skip(data, position + 4, kind)
    return position, alignment


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


def _tensor(data: bytes, position: int) -> tuple[bytes, int, tuple[int, ...], int, int, int]:
    """Name, ggml's type, sizes (innermost first), offset in the data section and bytes of a tensor; the position behind its entry."""
    name, position = _gguf_string(data, position)
    (dimensions,) = struct.unpack_from("<I", data, position)
    if len(name) > 63 or not 1 <= dimensions <= 4:
        raise Unsafe(f"a tensor has {dimensions} dimensions or a name of {len(name)} bytes")
    shape = struct.unpack_from(f"<{dimensions}Q", data, position + 4)
    kind, offset = struct.unpack_from("<IQ", data, position + 4 + 8 * dimensions)
    values = 1
    for n in shape:
        values *= n
    if not 1 <= values <= 1 << 42 or offset > 1 << 48:
        raise Unsafe(f"a tensor has {values} values at offset {offset}")
    per_block, block_bytes = _GGML_BLOCK.get(kind, (values, 1))
    if shape[0] % per_block and kind in _GGML_BLOCK:
        raise Unsafe("a tensor's rows do not fill its blocks")
    return name, kind, shape, offset, values // per_block * block_bytes, position + 16 + 8 * dimensions
