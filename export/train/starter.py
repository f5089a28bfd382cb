"""The whole recipe of the starter bundle, stage by stage; a stage whose file is there is skipped, an interrupted one goes on.

1. encoder: render scenes of folds 1-3 and fit on them; fold 4 is only measured (RUNS/scenes-123, RUNS/encoder-123.pt)
2. language: fit projector and decoder on that encoder's scores (RUNS/speaker.pt)
3. bundle: pack the edition that never heard fold 4, measure fold 4 through it (RUNS/without-fold-4, RUNS/fold-4.json)
4. finish: let the encoder go on with folds 1-4 (RUNS/scenes-1234, RUNS/encoder-1234.pt)
5. ship: pack again; the figures of fold 4 go into the receipt, with the edition that they belong to
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.train import card, recordings
from export.train.assemble import assemble
from export.train.fit import FitOptions, fit, rarity, temper
from export.train.fit_language import LanguageOptions, Speaker, fit_language, scene_logits, simulated_logits, timelines
from export.train.labels import STARTER_LABELS
from export.train.language import PHRASES, train_tokenizer
from export.train.measure import clip_accuracy, fold_figures
from export.train.model import Encoder
from export.train.shards import load_shard, shard_path
from export.train.tracking import SOUND_OPTIONS, SOUND_TABLE

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class StarterOptions:
    """Where things lie and how long each stage runs; the defaults take about two hours on two cores."""

    data: Path
    runs: Path
    out: Path
    encoder_steps: int = 2000
    finish_steps: int = 700
    language_steps: int = 5000
    shards: int = 72
    seed: int = 1
    threads: int = 0


def tell(line: str) -> None:
    """One line of progress."""
    print(f"auricle-export: {line}", flush=True)


def train(options: StarterOptions) -> None:
    """Runs every stage that has not run yet and writes the bundle. Deterministic for options and number of threads."""
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    first = encoder_of(options, (1, 2, 3), options.encoder_steps, options.shards)
    speaker = speaker_of(options, first)
    held = [load_shard(shard_path(options.runs / "scenes-123", i)) for i in range(min(options.shards, 12))]
    calibration = [m.astype(np.float32) for m in held[0].mels[:120]]
    weight = rarity(np.concatenate([shard.truth for shard in held]))
    without = options.runs / "without-fold-4"
    if not (without / "manifest.json").exists():
        tell("packing the edition without fold 4")
        about: dict[str, Any] = {"version": f"{VERSION}-without-fold-4"}
        assemble(temper(copy.deepcopy(first), weight), speaker, options.runs / "tokenizer.json", calibration, SOUND_TABLE, without, about)
    measured = options.runs / "fold-4.json"
    if not measured.exists():
        tell("measuring fold 4 through the runtime")
        measured.write_text(json.dumps(fold_figures(without, options.data, 4), indent=1))
    figures = json.loads(measured.read_text())
    final = encoder_of(options, (1, 2, 3, 4), options.finish_steps, options.shards * 2 // 3, begin=first)
    about = {"version": VERSION, "figures": figures, "card": card.text(figures)}
    assemble(temper(final, weight), speaker, options.runs / "tokenizer.json", calibration, SOUND_TABLE, options.out, about)
    tell(f"the bundle lies in {options.out}")


def encoder_of(options: StarterOptions, folds: Sequence[int], steps: int, shards: int, begin: Encoder | None = None) -> Encoder:
    """The encoder fitted on these folds, from its file if it is there. Fold 4 is measured at every checkpoint, never chosen by."""
    name = "".join(map(str, folds))
    scenes, kept = options.runs / f"scenes-{name}", options.runs / f"encoder-{name}.pt"
    options.runs.mkdir(parents=True, exist_ok=True)
    model = Encoder(len(STARTER_LABELS))
    if kept.exists():
        model.load_state_dict(torch.load(kept, weights_only=False)["mean_model"])
        return model.eval()
    tell(f"fitting the encoder on folds {', '.join(map(str, folds))}: {steps} batches, {shards} shards of scenes")
    if begin is not None:
        model.load_state_dict(begin.state_dict())
    renderer = render_beside(scenes, options.data, folds, options.seed + len(folds), shards)
    fitting = FitOptions(steps=steps, shards=shards, rate=1e-3 if begin is not None else 3e-3, seed=options.seed)
    try:
        history = fit(model, scenes, options.runs / f"fit-{name}.pt", fitting, clip_accuracy(recordings.esc10(options.data, [4])), tell)
    finally:
        renderer.terminate()
    torch.save({"mean_model": model.state_dict(), "history": history, "folds": list(folds)}, kept)
    (options.runs / f"history-{name}.json").write_text(json.dumps(history, indent=1))
    return model


def render_beside(folder: Path, data: Path, folds: Sequence[int], seed: int, shards: int) -> subprocess.Popen[bytes]:
    """Renders shards in a process of its own while this one fits."""
    command = [sys.executable, "-m", "export.train.starter", str(folder), str(data), ",".join(map(str, folds)), str(seed), str(shards)]
    return subprocess.Popen(command)


def speaker_of(options: StarterOptions, encoder: Encoder) -> Speaker:
    """Projector and decoder: two thirds of the examples from the encoder's scores, one third simulated."""
    kept, tokenizer = options.runs / "speaker.pt", options.runs / "tokenizer.json"
    if not tokenizer.exists():
        words = list(PHRASES.values())
        train_tokenizer([f"{a[0].upper()}{a[1:]}, then {b} while {c} again." for a in words for b in words for c in words], tokenizer)
    from tokenizers import Tokenizer

    if kept.exists():
        from export.train.decoder import DecoderShape

        speaker = Speaker(DecoderShape(vocabulary=Tokenizer.from_file(str(tokenizer)).get_vocab_size()))
        speaker.load_state_dict(torch.load(kept, weights_only=True))
        return speaker.eval()
    shape = LanguageOptions(steps=options.language_steps, seed=options.seed)
    tell(f"fitting the language model: {shape.steps} batches")
    real = scene_logits(encoder, options.runs / "scenes-123", min(options.shards, 40))
    made = simulated_logits(np.random.default_rng(options.seed), 3000)
    examples = timelines(real, SOUND_OPTIONS, shape.timelines * 2 // 3, options.seed)
    examples += timelines(made, SOUND_OPTIONS, shape.timelines // 3, options.seed + 1)
    check = timelines(real, SOUND_OPTIONS, 200, options.seed + 2)
    speaker, figures = fit_language(examples, check, tokenizer, shape, tell)
    tell(f"language model: {figures['sentences_right']:.1%} of 200 unseen sentences wholly right")
    torch.save(speaker.state_dict(), kept)
    return speaker


def _render(arguments: Sequence[str], make: Callable[..., None]) -> None:
    folder, data, folds, seed, shards = arguments
    make(Path(folder), Path(data), [int(f) for f in folds.split(",")], int(seed), range(int(shards)))


if __name__ == "__main__":
    from export.train.shards import make_shards

    _render(sys.argv[1:], make_shards)
