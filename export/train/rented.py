"""Fits both editions of the encoder on a machine with a GPU, torch, scipy, soundfile, soxr and what `auricle-export train sources` wrote.

    python -m export.train.rented runs/starter [--minutes 6] [--finish-minutes 3]

leaves encoder-123.pt and encoder-1234.pt there; `auricle-export train starter` finds them and goes on with the rest on the CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.train import carried
from export.train.float_teacher import FloatTeacher
from export.train.gpu import FINISH_RATE, RATE, GpuOptions, fit_edition
from export.train.model import Encoder, go_on_from, keep
from export.train.recordings import without_of
from export.train.shards import gather

EDITIONS = {"123": ("", RATE), "1234": ("123", FINISH_RATE)}
"""Folds of each edition, in their order -> the one that it begins with, rate."""


def fit(runs: Path, folds: str, minutes: float, device: str, seed: int) -> None:
    """One edition, unless it is there. Raises: FileNotFoundError where the files are not, ValueError where the device is not."""
    begin, rate = EDITIONS[folds]
    made, out = runs / "made", runs / f"encoder-{folds}.pt"
    if out.exists():
        return
    for path in (*carried.files(made), carried.teacher_file(made)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; write it with `auricle-export train sources` where the recordings are")
    with np.load(carried.teacher_file(made)) as weights:
        teacher = FloatTeacher(dict(weights))
    model = Encoder()
    if begin:
        go_on_from(model, torch.load(runs / f"encoder-{begin}.pt", weights_only=False)["mean_model"])
    numbers = [int(fold) for fold in folds]
    options = GpuOptions(minutes=minutes, rate=rate, seed=seed + len(folds), device=device)
    history, weight = fit_edition(model, gather(made, numbers, made, without_of(numbers)), teacher, options)
    keep(out, model, history, folds, weight)


def _alone(*given: Any) -> None:
    """`fit` in a process of its own, whose errors are a sentence."""
    try:
        fit(*given)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"auricle: {error}", file=sys.stderr)
        sys.exit(1)


def main() -> int:
    """Each edition in a process of its own: those that render are forked, and must not inherit a GPU that is in use."""
    arguments = argparse.ArgumentParser(description="Fits both editions of the starter's encoder on a rented GPU.")
    arguments.add_argument("runs", type=Path, help="made/ in it holds what `auricle-export train sources` wrote")
    arguments.add_argument("--minutes", type=float, default=6.0, help="for folds 1-3 (6)")
    arguments.add_argument("--finish-minutes", type=float, default=3.0, help="further with fold 4 (3)")
    arguments.add_argument("--device", default="cuda", help="(cuda)")
    arguments.add_argument("--seed", type=int, default=1, help="(1)")
    args = arguments.parse_args()
    for folds, minutes in zip(EDITIONS, (args.minutes, args.finish_minutes), strict=True):
        process = multiprocessing.get_context("spawn").Process(target=_alone, args=(args.runs, folds, minutes, args.device, args.seed))
        process.start()
        process.join()
        if process.exitcode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
