"""YAMNet as published: a TFLite model of 0.975 s of samples, taken byte for byte; 521 AudioSet labels. Source: Plakal and Ellis 2020."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edge.backends.litert import LiteRtModel
from edge.types import SAMPLE_RATE
from export.recipes.recipe import BuildError, Recipe, Work

WINDOW, HOP = 15_600, 7_680
FILE, LABELS = "yamnet.tflite", "labels.txt"


def make(work: Work) -> dict[str, Any]:
    """The model as it is; that it gives what the bare interpreter gives is in the receipt."""
    for name in (FILE, LABELS):
        if not (work.source / name).is_file():
            raise BuildError(f"{work.source}: {name} is missing; put the published model and its list of labels there")
    labels = (work.source / LABELS).read_text(encoding="utf-8").splitlines()
    shutil.copyfile(work.source / FILE, work.folder / FILE)
    model = LiteRtModel((work.folder / FILE).read_bytes())
    ((name, (dtype, shape)),) = model.inputs.items()
    ((output, (kind, scored)),) = model.outputs.items()
    if shape[-1] != WINDOW or scored[-1] != len(labels):
        raise BuildError(
            f"{work.source}: {FILE} takes {list(shape)} and scores {scored[-1]} of {len(labels)} labels; it is not the published YAMNet"
        )
    quiet = {name: np.zeros([n or 1 for n in shape], np.float32)}
    silence = model.run(quiet)[output]
    if not np.isfinite(silence).all():
        raise BuildError(f"{work.source}: {FILE} makes no numbers of silence; fetch it again")
    work.timed("encoder", lambda: model.run(quiet), WINDOW / SAMPLE_RATE)
    work.measured("bytes of the model", (work.folder / FILE).stat().st_size, "bytes", "the published file", 1, "real")
    return {
        "licence": "Apache-2.0",
        "models": [
            {
                "role": "encoder",
                "runtime": "tflite",
                "file": FILE,
                "inputs": [{"name": name, "dtype": dtype, "shape": list(shape)}],
                "outputs": [{"name": output, "dtype": kind, "shape": list(scored)}],
                "precision": "float32",
                "source": {"repository": "google/yamnet (tflite, classification)", "revision": "1"},
            }
        ],
        "labels": labels,
        "encoder": {"kind": "windows", "window": WINDOW, "hop": HOP},
        "sounds": {"default": {"on": 0.3, "off": 0.15, "bridge_s": 0.6, "smooth_rows": 1}},
        "card": "# YAMNet\nThe published classifier of 521 AudioSet classes, unchanged. Its thresholds here (0.3, 0.15) were not tuned. "
        "It tells sounds and writes no captions.",
    }


def _suits(source: Path) -> bool:
    return (source / FILE).is_file()


RECIPE = Recipe("yamnet", "YAMNet's published .tflite, taken as it is", (), ("fp32",), (), ("cpu", "pi5", "jetson"), make, _suits)
