"""AST (Gong et al. 2021): 527 AudioSet labels, or those of a fine-tuned one; its filter bank is part of the graph.

A window shorter than the model's 10 s is filled up as its own processor does it, behind the logarithm. Kaldi's filter bank as
transformers computes it without torchaudio.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.types import SAMPLE_RATE
from export.recipes.recipe import BuildError, Recipe, Work
from export.spectrogram import KaldiBank, plain
from export.taggers import tagger, window_of

THRESHOLDS = {"on": 0.3, "off": 0.15, "bridge_s": 1.0, "smooth_rows": 1}


def extractor_of(work: Work) -> Any:
    """The published processor. Raises: BuildError."""
    from transformers import ASTFeatureExtractor

    work.need("preprocessor_config.json", "preprocessor_config.json")
    found = ASTFeatureExtractor.from_pretrained(work.source)
    if found.sampling_rate != SAMPLE_RATE:
        raise BuildError(f"{work.source}: its processor takes {found.sampling_rate} Hz; the recipe is for {SAMPLE_RATE}")
    if found.max_length != work.setting("max_length") or found.num_mel_bins != work.setting("num_mel_bins"):
        raise BuildError(f"{work.source}: its processor makes {found.max_length} x {found.num_mel_bins} values, its model takes others")
    return plain(found)


class Graph(nn.Module):
    """samples [1, window] -> logits [1, L], scores [1, L]."""

    def __init__(self, model: Any, extractor: Any, exclusive: bool) -> None:
        super().__init__()
        self.model, self.exclusive = model, exclusive
        self.bank = KaldiBank(extractor)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(self.bank(samples)).logits
        return logits, logits.softmax(dim=1) if self.exclusive else logits.sigmoid()


def make(work: Work) -> dict[str, Any]:
    """One graph, quantized and measured."""
    from transformers import ASTForAudioClassification

    work.need("weights (*.safetensors)", "*.safetensors")
    extractor = extractor_of(work)
    window = window_of(work, ((work.setting("max_length") - 1) * KaldiBank.HOP + KaldiBank.FRAME) / SAMPLE_RATE)
    model = work.load(ASTForAudioClassification)
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    exclusive = model.config.problem_type == "single_label_classification"

    def reference(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        given = extractor(sound, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            return np.asarray(model(given["input_values"].float()).logits[0])

    def score(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        found = torch.from_numpy(logits)
        return np.asarray(found.softmax(dim=0) if exclusive else found.sigmoid())

    return tagger(work, Graph(model, extractor, exclusive), labels, window, reference, score) | {
        "sounds": {"default": THRESHOLDS},
        "card": f"# {work.name}\nAn audio spectrogram transformer, exported by auricle-export. It tells sounds in windows of "
        f"{window / SAMPLE_RATE:g} s and writes no captions. Its thresholds ({THRESHOLDS['on']}, {THRESHOLDS['off']}) were not tuned. "
        "Whatever the window, each costs as much as the model's whole length.",
    }


RECIPE = Recipe(
    "ast",
    "audio spectrogram transformer: labels of AudioSet",
    ("audio-spectrogram-transformer",),
    ("fp32", "int8", "int8-static", "int4"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
)
