"""A bundle under examination: records, answers and scores for arrays of samples, all through the runtime."""

from __future__ import annotations

import hashlib
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge import Listener
from edge._native import Ring
from edge.bundle import Bundle
from edge.manifest import FILE_NAME
from edge.types import Device, Gap, Samples

Records = list[dict[str, Any]]
RING = 1 << 21
"""Two minutes: longer than the longest turn, so that nothing that is still wanted is overwritten."""


class Stream:
    """An `edge.types.Source` over pieces of float32[n], mono, 16 kHz, in [-1, 1]; they are taken as they are wanted."""

    live, anchor_ns = False, 0

    def __init__(self, pieces: Iterable[Samples], name: str = "exam") -> None:
        self.ring, self.name = Ring(RING), f"file:{name}"
        self.ended = False
        self._pieces = iter(pieces)

    def fill(self, until: int) -> int:
        while self.ring.head < until and not self.ended:
            piece = next(self._pieces, None)
            if piece is None:
                self.ended = True
            else:
                self.ring.write(piece)
        return int(self.ring.head)

    def events(self) -> list[Gap | Device]:
        return []

    def close(self) -> None:
        self.ended = True


class Ear:
    """A bundle, loaded. Use it as a context manager. Raises: BundleError, BackendError.

    captions, answers: whether it can. load_s: how long loading took. files: bytes by file name.
    """

    def __init__(self, bundle: str | Path) -> None:
        opened = Bundle.open(bundle)
        try:
            self.name, self.version, self.path = opened.name, opened.version, opened.path
            self.captions, self.answers = opened.has("captioner"), "ask_prompt" in opened.caption
            self.labels = opened.labels
            manifest = manifest_bytes(opened.path)
            self.files = {model.file: model.size_bytes for model in opened.manifest.models} | {FILE_NAME: len(manifest)}
            self.precisions = {model.role: model.precision for model in opened.manifest.models}
        finally:
            opened.close()
        self.sha256 = hashlib.sha256(manifest).hexdigest()
        began = time.perf_counter()
        self._listener = Listener(bundle)
        self.load_s = time.perf_counter() - began

    def listen(self, samples: Samples) -> Records:
        """Every record of a clip."""
        return list(self.stream([samples]))

    def stream(self, pieces: Iterable[Samples]) -> Iterator[dict[str, Any]]:
        """Records of a long stream, piece by piece (each at most a minute)."""
        return self._listener.listen(Stream(pieces))

    def ranked(self, samples: Samples) -> tuple[list[str], Records]:
        """Labels of a clip's sounds, the strongest first, with the records."""
        records = self.listen(samples)
        return ranked(records), records

    def hear(self, samples: Samples) -> Any:
        """The clip, to be asked about (edge.listener.Hearing)."""
        return self._listener.hear(samples)

    def about(self) -> dict[str, Any]:
        """What the evaluation says of the bundle."""
        return {"name": self.name, "version": self.version, "manifest_sha256": self.sha256, "precisions": self.precisions}

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def manifest_bytes(path: Path) -> bytes:
    """manifest.json of a folder or tar as it lies there; the bundle was opened before, so it is there and small."""
    if path.is_dir():
        return (path / FILE_NAME).read_bytes()
    with tarfile.open(path) as tar:
        member = next(m for m in tar if Path(m.name).name == FILE_NAME)
        file = tar.extractfile(member)
        assert file is not None
        return file.read()


def ranked(records: Sequence[dict[str, Any]]) -> list[str]:
    """Labels of the sound records, each once, by their highest scores; of equal scores the earlier record counts."""
    best: dict[str, float] = {}
    for record in records:
        if record["type"] == "sound":
            best[record["label"]] = max(record["score"], best.get(record["label"], 0.0))
    return sorted(best, key=lambda label: -best[label])


def strongest(records: Sequence[dict[str, Any]]) -> str:
    """Label of the sound record with the highest score, "" where there is none."""
    return next(iter(ranked(records)), "")


def final_text(records: Iterable[dict[str, Any]]) -> str:
    """The final captions, in order of time, as one text."""
    finals = [record for record in records if record["type"] == "caption" and record["final"]]
    return " ".join(record["text"] for record in sorted(finals, key=lambda record: record["start"])).strip()


def sounds(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each sound that was heard to its end: label, start and end in seconds; noise is none."""
    return [r for r in records if r["type"] == "sound" and r["state"] == "end" and r["label"] != "Noise"]
