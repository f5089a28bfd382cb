"""Goes on with the language model of a bundle that is there: `auricle-export train language`.

What ships is all it needs beside the recordings: the weights come out of the bundle, its own int8 encoder hears new scenes, and encoder,
thresholds and everything else in it stay as they are. This is how 2.2.0 came from 2.1.0.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch

from export.train.evidence import Evidence
from export.train.fit_language import LanguageOptions, Pool, fit_language
from export.train.shards import SHARD_SCENES
from export.train.shipped import heard_by, speaker_from, tokenizer_from, with_speaker
from export.train.starter import render, simulated_turns, tell, write_history
from export.train.timelines import examples
from export.train.tracking import SOUND_TABLE

if TYPE_CHECKING:
    from export.train.starter import StarterOptions

SHARDS = 7
FOLDS = "1234"


def refine(options: StarterOptions) -> None:
    """Fits `settle_steps` more batches: half of the turns simulated, a fifth mostly speech, the rest as the bundle's encoder hears scenes.

    Goes on from its checkpoint. The bundle in options.out is replaced at the end; its receipt is that of the one before: evaluate it.
    """
    if not (options.out / "manifest.json").is_file():
        raise ValueError(f"{options.out}: there is no bundle to go on from; name one with --out")
    torch.set_num_threads(options.threads or 1)
    options.runs.mkdir(parents=True, exist_ok=True)
    begun, tokenizer = options.runs / "begun-with", options.runs / "tokenizer-shipped.json"
    if not begun.exists():  # what it goes on from must not change while it does
        shutil.copytree(options.out, begun)
    scenes = options.runs / f"scenes-{FOLDS}"
    render(scenes, options.data, FOLDS, options.seed + len(FOLDS), range(SHARDS))
    tokenizer_from(begun, tokenizer)
    tell(f"the encoder of {begun} hears {SHARDS * SHARD_SCENES} scenes")
    heard = heard_by(begun, scenes, range(SHARDS))
    turns = [
        *simulated_turns(options.seed + 100, options.turns // 2),
        *simulated_turns(options.seed + 101, options.turns * 7 // 32, 0.85),
        *examples(np.random.default_rng(options.seed + 102), heard, Evidence(SOUND_TABLE), options.turns * 9 // 32),
    ]
    shape = LanguageOptions(steps=options.settle_steps, rate=1e-3, seed=options.seed + 10, checkpoint_steps=50)
    weights = speaker_from(begun).state_dict()
    speaker, history = fit_language(Pool(turns), tokenizer, options.runs / "fit-refined.pt", shape, tell, weights)
    write_history(options, "language-refined", history)
    version = json.loads((begun / "manifest.json").read_text(encoding="utf-8"))["version"]
    with_speaker(begun, speaker, tokenizer, options.out, {"version": f"{version}+refined"})
    tell(f"the bundle lies in {options.out}; its receipt still tells the figures of {version}: `auricle-export evaluate` measures it")
