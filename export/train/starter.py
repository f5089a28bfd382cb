"""The whole recipe of the starter bundle, stage by stage; every stage leaves a file and is skipped when the file is there.

    scenes    render training scenes (export.train.shards)            runs/starter/scenes-<folds>/shard_*.npz
    encoder   fit the encoder on them (export.train.fit)              runs/starter/encoder-<folds>.pt
    language  fit projector and decoder on the encoder's scores       runs/starter/language.pt
    pack      export to int8 ONNX and GGUF, measure, write a bundle   edge/bundles/starter (or --out)

First edition: folds 1-3 are learnt and fold 4 measured; then the same weights go on with folds 1-4 for the shipped edition.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from export.train import recordings
from export.train.fit import FitOptions, fit
from export.train.labels import STARTER_LABELS
from export.train.model import CHUNK_FRAMES, Encoder
from export.train.shards import front_end

TEN = tuple(recordings.ESC10_LABELS.values())


def clip_logits(model: Encoder, samples: np.ndarray) -> torch.Tensor:
    """Row logits [rows, L] of one recording, padded to a whole chunk with silence."""
    padded = np.concatenate([samples, np.zeros(-(len(samples) - 240) % (CHUNK_FRAMES * 160), np.float32)])
    with torch.inference_mode():
        return model(torch.from_numpy(front_end(padded))[None]).logits[0]


def clip_accuracy(held_out: Sequence[recordings.Recording]) -> Callable[[Encoder], dict[str, float]]:
    """Share of clips whose label is the strongest of all, and of the ten, by the best second of smoothed score."""

    def measure(model: Encoder) -> dict[str, float]:
        right_all = right_ten = 0
        ten = [STARTER_LABELS.index(label) for label in TEN]
        for clip in held_out:
            scores = torch.sigmoid(clip_logits(model, clip.samples))
            second = scores.unfold(0, 25, 1).mean(dim=2).amax(dim=0)
            right_all += STARTER_LABELS[int(second.argmax())] == clip.label
            right_ten += TEN[int(second[ten].argmax())] == clip.label
        return {"accuracy": right_all / len(held_out), "accuracy_of_ten": right_ten / len(held_out)}

    return measure


def render_beside(folder: Path, data: Path, folds: Sequence[int], seed: int, shards: range) -> subprocess.Popen[bytes]:
    """Renders shards in a process of its own while this one fits."""
    command = [sys.executable, "-m", "export.train.starter", "render", str(folder), str(data), ",".join(map(str, folds)), str(seed)]
    return subprocess.Popen([*command, str(shards.start), str(shards.stop)])


def fit_encoder(runs: Path, data: Path, folds: Sequence[int], options: FitOptions, begin: Path | None = None) -> Path:
    """Renders the scenes of these folds and fits on them; fold 4 is measured at each checkpoint (meaningless once it is learnt)."""
    name = "".join(map(str, folds))
    scenes, checkpoint = runs / f"scenes-{name}", runs / f"encoder-{name}.pt"
    runs.mkdir(parents=True, exist_ok=True)
    renderer = render_beside(scenes, data, folds, options.seed + len(folds), range(options.shards))
    model = Encoder(len(STARTER_LABELS))
    if begin is not None:
        model.load_state_dict(torch.load(begin, weights_only=False)["mean_model"])
    measure = clip_accuracy(recordings.esc10(data, [4]))
    try:
        history = fit(model, scenes, runs / f"fit-{name}.pt", options, measure, lambda line: print(line, flush=True))
    finally:
        renderer.terminate()
    torch.save({"mean_model": model.state_dict(), "history": history, "folds": list(folds)}, checkpoint)
    return checkpoint


def main(arguments: Sequence[str]) -> None:
    """`render FOLDER DATA FOLDS SEED START STOP` (used by fit_encoder) or `encoder RUNS DATA FOLDS STEPS SHARDS [BEGIN]`."""
    verb, *rest = arguments
    if verb == "render":
        from export.train.shards import make_shards

        folder, data, folds, seed, start, stop = rest
        make_shards(Path(folder), Path(data), [int(f) for f in folds.split(",")], int(seed), range(int(start), int(stop)))
    elif verb == "encoder":
        runs, data, folds, steps, shards, *begin = rest
        options = FitOptions(steps=int(steps), shards=int(shards), rate=1e-3 if begin else 3e-3)
        fit_encoder(Path(runs), Path(data), [int(f) for f in folds.split(",")], options, Path(begin[0]) if begin else None)


if __name__ == "__main__":
    main(sys.argv[1:])
