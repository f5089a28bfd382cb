"""Figures of the float model while it is fitted; those of a packed bundle are export/evaluate's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from export.train import recordings
from export.train.labels import STARTER_LABELS, WORDS
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
