"""What recipes of taggers share: a graph from samples to scores of labels, run over windows, measured against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.backends.onnx import OnnxModel
from edge.types import SAMPLE_RATE
from export.onnx_parts import audios, calibration, described, export, quantize
from export.recipes.recipe import BuildError, Work

WINDOW_S = 2.0
SOUNDS = 8


def window_of(work: Work, longest_s: float, usual_s: float = WINDOW_S) -> int:
    """Samples in a window, by --window. Raises: BuildError."""
    given = work.options.get("window") or str(min(usual_s, longest_s))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= longest_s:
        raise BuildError(f"--window {given}: this model hears windows of 0.1 to {longest_s:g} s; choose one of those")
    return round(seconds * SAMPLE_RATE)


def labels_of(path: str) -> list[str]:
    """The lines of a file of labels. Raises: BuildError."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"--labels {path}: it cannot be read ({error}); name a text file with a label on each line") from None
    found = [line for line in lines if line]
    if len(found) < 2 or len(set(found)) < len(found):
        raise BuildError(f"--labels {path}: it must name at least two labels, each once; it has {len(found)} lines")
    return found


def tagger(
    work: Work,
    graph: nn.Module,
    labels: Sequence[str],
    window: int,
    reference: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> dict[str, Any]:
    """Writes encoder.onnx and returns the manifest's parts.

    graph: float32[1, window] -> logits [1, L] and scores [1, L]; reference: float32[window] -> its logits [L]; score: logits [L] to scores
    in 0 to 1. Raises: BuildError over a limit.
    """
    path = work.folder / "encoder.onnx"
    work.tell("exporting the tagger with its spectrogram")
    with torch.inference_mode():
        work.step(path, lambda: export(graph, {"samples": torch.randn(1, window) * 0.1}, {}, ["logits", "scores"], path))
    sounds = audios([window / SAMPLE_RATE] * SOUNDS)
    heard = [{"samples": np.resize(x, window)[None]} for x in calibration(work, window / SAMPLE_RATE)]
    judged = [{"samples": sound[None]} for sound in sounds[:3]]
    # The filter bank stays in float, and its Fourier transform as well where ranges are fixed.
    names = ("filters", "kernel") if work.encoder == "int8-static" else ("filters",)
    kept = [name for name, _ in graph.named_buffers() if name.split(".")[-2:] in [["power", part] for part in names]]
    work.layers(quantize(path, work.encoder, keep=kept, feeds=judged, calibration=heard, wide=True))
    session = OnnxModel(path)
    found = [session.run({"samples": sound[None]}) for sound in sounds]
    wanted = [reference(sound)[None] for sound in sounds]
    data = f"{SOUNDS} synthetic sounds of {window / SAMPLE_RATE:g} s"
    work.rows("logits", work.encoder, [f["logits"] for f in found], wanted, data)
    scores = [score(w[0]) for w in wanted]
    worst = max(float(np.abs(f["scores"][0] - s).max()) for f, s in zip(found, scores, strict=True))
    same = sum(int(f["scores"][0].argmax() == s.argmax()) for f, s in zip(found, scores, strict=True))
    work.timed("encoder", lambda: session.run({"samples": sounds[0][None]}), window / SAMPLE_RATE)
    work.measured("scores max abs", worst, "", data, SOUNDS)
    work.measured("strongest label the same", 100.0 * same / SOUNDS, "%", data, SOUNDS)
    return {
        "licence": work.licence,
        "models": [described(path, "encoder", work.encoder, work.origin)],
        "labels": list(labels),
        "encoder": {"kind": "windows", "window": window, "hop": window // 2},
    }
