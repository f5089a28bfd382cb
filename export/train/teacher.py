"""The published YAMNet as a teacher: its scores on our scenes are what the encoder's training-only head imitates.

Source: YAMNet, Google, Apache-2.0 (AudioSet classes, MobileNet v1 on 0.96 s log-mel patches), run unchanged from its TFLite file.
The shipped encoder holds none of its weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.train.labels import STARTER_LABELS

PATCH = 15_600
"""Samples that one evaluation looks at (0.975 s)."""
CHUNK = 5_120
FIRST_CHUNK = 3
"""Chunks before this one have less than a whole patch behind them and are not scored."""
EVERY = 2
"""Every second chunk is scored: a patch is as long as three."""


def columns(folder: Path) -> list[int]:
    """Of STARTER_LABELS among the teacher's classes. folder: of its files. Raises: FileNotFoundError."""
    if not (folder / "labels.txt").is_file():
        raise FileNotFoundError(f"{folder}/labels.txt is missing: it names the teacher's classes (docs/training.md)")
    names = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    return [names.index(label) for label in STARTER_LABELS]


class Teacher:
    """YAMNet over scenes. Not thread-safe."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(model), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def score(self, patch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[15600] -> float32[521] in 0..1."""
        self._interpreter.set_tensor(self._input, patch)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0], np.float32)

    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float16]:
        """float32[n] -> float16[C, 521]: for the chunks 3, 5, 7 … of n // 5120, the logits of the patch that ends with each."""
        rows = []
        for chunk in range(FIRST_CHUNK, len(samples) // CHUNK, EVERY):
            stop = (chunk + 1) * CHUNK
            p = np.clip(self.score(np.ascontiguousarray(samples[stop - PATCH : stop])), 1e-4, 1 - 1e-4)
            rows.append(np.log(p / (1 - p)))
        return np.asarray(rows, np.float16)
