"""Training scenes as a person would check them: WAV, and a picture of waveform, log-mel and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from edge.types import SAMPLE_RATE
from export.train import scenes
from export.train.labels import COUNTED, STARTER_LABELS, WORDS
from export.train.language import Fact, describe
from export.train.shards import front_end, gather
from export.train.truth import ROWS, SCENE_SAMPLES, UNSURE


def show_scenes(data: Path, out: Path, count: int, seed: int) -> None:
    """Writes scene_00.wav, scene_00.png … to `out`, drawn as for training from folds 1-3."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    out.mkdir(parents=True, exist_ok=True)
    sources = gather(data, (1, 2, 3), out / "made", seed=seed)
    for index in range(count):
        scene = scenes.render(np.random.default_rng([seed, index]), sources)
        soundfile.write(out / f"scene_{index:02d}.wav", scene.samples, SAMPLE_RATE)
        figure, (wave, mel, truth) = pyplot.subplots(3, 1, figsize=(10, 7), sharex=True, height_ratios=(1, 2, 2), layout="constrained")
        seconds = SCENE_SAMPLES / SAMPLE_RATE
        wave.plot(np.linspace(0, seconds, len(scene.samples)), scene.samples, linewidth=0.4)
        wave.set_ylabel("waveform")
        mel.imshow(front_end(scene.samples).T, origin="lower", aspect="auto", extent=(0, 5.12, 0, 64))
        mel.set_ylabel("log-mel band")
        columns = [(label, scene.truth[:, i]) for i, label in enumerate(STARTER_LABELS)]
        columns += [(f"onset: {label}", scene.onsets[:, i]) for i, label in enumerate(COUNTED)]
        columns += [(f"word: {word}", scene.words[:, i]) for i, word in enumerate(WORDS)]
        there = [(name, np.where(rows == UNSURE, 0.3, rows)) for name, rows in columns if (rows == 1).any()]
        shown = np.array([rows for _, rows in there]) if there else np.zeros((1, ROWS))
        truth.imshow(shown, aspect="auto", extent=(0, 5.12, len(shown), 0), vmin=0, vmax=1, cmap="Greens", interpolation="nearest")
        truth.set_yticks(np.arange(len(there)) + 0.5, [name for name, _ in there])
        truth.set_xlabel("seconds")
        figure.savefig(out / f"scene_{index:02d}.png", dpi=80)
        pyplot.close(figure)
        facts = [Fact(e.label, e.start, e.stop, e.count, e.words, e.dbfs) for e in scene.events]
        print(f"{out}/scene_{index:02d}.wav: {describe(facts, True) or 'nothing that has a name'}")
