"""Figures of the starter: of the float model while it is fitted, and of the packed bundle through the runtime itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge import Listener
from export.train import recordings
from export.train.labels import STARTER_LABELS, WORDS
from export.train.language import PHRASES
from export.train.model import CHUNK_FRAMES, Encoder
from export.train.shards import front_end

TEN = tuple(recordings.ESC10_LABELS.values())


def clip_logits(model: Encoder, samples: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Row logits of labels [rows, L] and words [rows, W] of one recording, padded to a whole chunk with silence."""
    padded = np.concatenate([samples, np.zeros(-(len(samples) - 240) % (CHUNK_FRAMES * 160), np.float32)])
    with torch.inference_mode():
        heard = model(torch.from_numpy(front_end(padded))[None])
    return heard.labels[0], heard.words[0]


def clip_accuracy(clips: Sequence[recordings.Recording]) -> Callable[[Encoder], dict[str, float]]:
    """Share of clips whose label is the strongest of all but noise, and of the ten, by the best second of smoothed score."""

    def measure(model: Encoder) -> dict[str, float]:
        right_all = right_ten = 0
        ten = [STARTER_LABELS.index(label) for label in TEN]
        for clip in clips:
            second = torch.sigmoid(clip_logits(model, clip.samples)[0]).unfold(0, 25, 1).mean(dim=2).amax(dim=0)
            second[STARTER_LABELS.index("Noise")] = 0
            right_all += STARTER_LABELS[int(second.argmax())] == clip.label
            right_ten += TEN[int(second[ten].argmax())] == clip.label
        return {"accuracy": right_all / len(clips), "accuracy_of_ten": right_ten / len(clips)}

    return measure


def word_accuracy(clips: Sequence[recordings.Recording]) -> Callable[[Encoder], dict[str, float]]:
    """Share of words said alone that are the encoder's surest, half a second of silence before and behind."""

    def measure(model: Encoder) -> dict[str, float]:
        right = 0
        pause = np.random.default_rng(1).normal(0, 1e-3, 8000).astype(np.float32)
        for clip in clips:
            _, words = clip_logits(model, np.concatenate([pause, clip.samples, pause]))
            sure = torch.cat((torch.zeros(len(words), 1), words), dim=1).softmax(dim=1)[:, 1:].amax(dim=0)
            right += WORDS[int(sure.argmax())] == clip.word and float(sure.max()) > 0.5
        return {"word_accuracy": right / len(clips)}

    return measure


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, p = 1.96, right / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def strongest(records: Sequence[dict[str, Any]]) -> str:
    """Label of the sound record with the highest score, "" where there is none."""
    sounds = [record for record in records if record["type"] == "sound"]
    return max(sounds, key=lambda record: record["score"])["label"] if sounds else ""


def fold_figures(bundle: Path, data: Path, fold: int) -> list[dict[str, Any]]:
    """Receipt entries for a fold that the bundle has not heard: the class as strongest sound, and named in the final captions."""
    clips = [
        (path, label)
        for folder, label in recordings.ESC10_LABELS.items()
        for path in sorted((data / "esc10" / folder).glob(f"{fold}-*.ogg"))
    ]
    right = named = silent = 0
    with Listener(bundle) as listener:
        for path, label in clips:
            records = list(listener.listen(path))
            found = strongest(records)
            right += found == label
            silent += found == ""
            text = " ".join(r["text"] for r in records if r["type"] == "caption" and r["final"])
            named += PHRASES[label] in text.lower()
    n = len(clips)
    low, high = wilson(right, n)
    what = f"ESC-10 fold {fold} (real recordings), edition trained without it"
    return [
        _figure("class is the strongest sound", right / n, what, n),
        _figure("class is the strongest sound, 95 % interval from", low, what, n),
        _figure("class is the strongest sound, 95 % interval to", high, what, n),
        _figure("class is named in a final caption", named / n, what, n),
        _figure("clips without any sound record", silent / n, what, n),
    ]


def _figure(name: str, value: float, data: str, n: int) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "unit": "share", "data": data, "origin": "real", "n": n}
