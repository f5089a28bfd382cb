"""Will it fit? What a bundle needs in memory, estimated before anything is loaded, against what this process may have.

The estimate is coarse and meant to be: it keeps a device from being driven into swap or the out-of-memory killer by a bundle that is
several times too large for it. Factors: measured on onnxruntime 1.32 and llama.cpp as shipped in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from edge.backends.llama import BATCH
from edge.bundle import Bundle
from edge.errors import BackendError
from edge.gguf_header import gguf_numbers
from edge.manifest import Model

RUNTIME_BYTES = {"onnx": 34_000_000, "gguf": 13_000_000, "tflite": 12_000_000}
"""What a runtime takes before its first model."""
WEIGHTS = {"onnx": 1.9, "gguf": 1.0, "tflite": 1.1}
"""Bytes in memory for each byte of a file: onnxruntime keeps weights packed beside those that it has read, llama.cpp maps the file."""


@dataclass(frozen=True, slots=True)
class Room:
    """What this process may still take. source: what limits it."""

    bytes: int
    source: str


def needed(bundles: Sequence[Bundle]) -> int:
    """Bytes that the models of these bundles, loaded together, are estimated to take."""
    models = [(bundle, model) for bundle in bundles for model in bundle.manifest.models]
    runtimes = {model.runtime for _, model in models}
    return sum(RUNTIME_BYTES.get(runtime, 0) for runtime in runtimes) + sum(_model_bytes(bundle, model) for bundle, model in models)


def _model_bytes(bundle: Bundle, model: Model) -> int:
    return round(model.size_bytes * WEIGHTS.get(model.runtime, 1.0)) + _context_bytes(bundle, model)


def _context_bytes(bundle: Bundle, model: Model) -> int:
    """What each context of a language model takes beside its weights, which llama.cpp maps once."""
    if model.runtime != "gguf" or model.role != "captioner":
        return 0
    with bundle.file(model.role).open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        shape = gguf_numbers(data)
    width, heads = shape.get("embedding_length", 0), max(1, shape.get("head_count", 1))
    rows = shape.get("head_count_kv", heads) * shape.get("key_length", width // heads)
    context = bundle.caption.integer("context", 16, 1 << 20)
    keys_and_values = 2 * 4 * context * shape.get("block_count", 0) * rows  # F32
    return keys_and_values + 4 * min(BATCH, context) * shape.get("vocab_size", 0)


def room(root: Path = Path("/")) -> Room | None:
    """What is free: the least of the machine's available memory and what its control groups leave; None where the system tells neither.

    root: where proc and sys lie. Sources: proc(5) MemAvailable; Linux Documentation/admin-guide/cgroup-v2.rst, memory.max and
    memory.current of the process's group and those above it, without inactive_file of memory.stat: files that were read and are given
    up when memory is wanted.
    """
    found = []
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        found.append(Room(1024 * kib, "free on this machine"))
    except (OSError, StopIteration, ValueError):
        pass
    groups = root / "sys/fs/cgroup"
    try:
        own = next(line[3:] for line in (root / "proc/self/cgroup").read_text().splitlines() if line.startswith("0::")).strip("/")
    except (OSError, StopIteration):
        own = ""
    for group in [groups / own, *(groups / own).parents]:
        if groups not in (group, *group.parents):
            break
        try:
            left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()) + _inactive_file(group)
        except (OSError, ValueError):  # no limit reads "max"
            continue
        name = "" if group == groups else group.relative_to(groups)
        found.append(Room(max(0, left), f"left of the limit of the control group /{name}"))
    return min(found, key=lambda room: room.bytes, default=None)


def _inactive_file(group: Path) -> int:
    try:
        stat = (group / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in stat if line.startswith("inactive_file "))
    except (OSError, StopIteration, ValueError):
        return 0


def admit(bundles: Sequence[Bundle], budget_mb: int = 0, root: Path = Path("/"), again: bool = False) -> None:
    """Returns where the bundles fit. budget_mb: what the user grants them, 0 for what is free. again: they are loaded, and a second
    context of their language model is wanted.

    Raises: BackendError saying what is needed, what there is, and what to do.
    """
    have = Room(budget_mb * 1_000_000, "granted by memory_mb") if budget_mb else room(root)
    need = needed(bundles) if budget_mb or not again else 0
    if again:
        need += sum(_context_bytes(bundle, model) for bundle in bundles for model in bundle.manifest.models)
    if have is not None and need > have.bytes:
        names = " and ".join(bundle.name for bundle in bundles)
        remedy = "or raise memory_mb" if budget_mb else "end other programs, or set memory_mb to load it all the same"
        sizes = f"about {need / 1e6:.0f} MB of memory are needed and {have.bytes / 1e6:.0f} MB are {have.source}"
        raise BackendError(f"bundle {names}: {sizes}; take a smaller or further quantized bundle, {remedy}")
