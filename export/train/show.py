"""Training scenes as a person would check them: WAV, and a picture of waveform, log-mel and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from edge.types import SAMPLE_RATE
from export.train import recordings, scenes, speech
from export.train.labels import STARTER_LABELS
from export.train.shards import front_end


def show_scenes(data: Path, out: Path, count: int, seed: int) -> None:
    """Writes scene_00.wav, scene_00.png … to `out`, drawn as for training from folds 1-3."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    out.mkdir(parents=True, exist_ok=True)
    known = recordings.esc10(data, (1, 2, 3)) + recordings.speech(data) + recordings.music(data)
    sources = scenes.Sources.of(known, speech.bank(seed=seed, count=40, cache_dir=out))
    for index in range(count):
        scene = scenes.render(np.random.default_rng([seed, index]), sources)
        soundfile.write(out / f"scene_{index:02d}.wav", scene.samples, SAMPLE_RATE)
        figure, (wave, mel, truth) = pyplot.subplots(3, 1, figsize=(10, 7), sharex=True, height_ratios=(1, 2, 2), layout="constrained")
        seconds = scenes.SCENE_SAMPLES / SAMPLE_RATE
        wave.plot(np.linspace(0, seconds, len(scene.samples)), scene.samples, linewidth=0.4)
        wave.set_ylabel("waveform")
        mel.imshow(front_end(scene.samples).T, origin="lower", aspect="auto", extent=(0, 5.12, 0, 64))
        mel.set_ylabel("log-mel band")
        there = [i for i in range(len(STARTER_LABELS)) if (scene.truth[:, i] == 1).any()]
        shown = np.where(scene.truth[:, there] == scenes.UNSURE, 0.3, scene.truth[:, there]).T if there else np.zeros((1, scenes.ROWS))
        truth.imshow(shown, aspect="auto", extent=(0, 5.12, len(shown), 0), vmin=0, vmax=1, cmap="Greens", interpolation="nearest")
        truth.set_yticks(np.arange(len(there)) + 0.5, [STARTER_LABELS[i] for i in there])
        truth.set_xlabel("seconds")
        figure.savefig(out / f"scene_{index:02d}.png", dpi=80)
        pyplot.close(figure)
        print(f"{out}/scene_{index:02d}.wav: {', '.join(STARTER_LABELS[i] for i in there) or 'nothing that has a label'}")
