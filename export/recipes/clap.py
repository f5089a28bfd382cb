"""CLAP (Wu et al. 2023, LAION): sounds by any words. The words of --labels are embedded once, at export; the device has the audio tower.

The tower hears 48 kHz: the 16 kHz of the line are filled in inside the graph, with nothing above 8 kHz. A window is repeated up to 10 s,
as its own processor does it. Scores are those of zero-shot classification: they compete, and add up to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge.types import SAMPLE_RATE
from export.recipes.recipe import BuildError, Recipe, Work
from export.spectrogram import Faster, Power, faster, fourier
from export.taggers import labels_of, tagger, window_of
from export.train.labels import STARTER_LABELS

PROMPT = "This is a sound of {}."
COMPETING = ("Silence", "Noise")
"""In the usual list: told by nobody, so that the rest need not share the whole of 1."""
THRESHOLDS = {"on": 0.5, "off": 0.25, "bridge_s": 1.0, "smooth_rows": 1}
FLOOR = 1e-10


class Graph(nn.Module):
    """samples [1, window] at 16 kHz -> logits [1, L], scores [1, L]. words: normed embeddings [L, D] of the labels, already scaled."""

    def __init__(self, model: Any, extractor: Any, words: Tensor) -> None:
        super().__init__()
        self.audio, self.projection = model.audio_model, model.audio_projection
        self.faster = Faster(extractor.sampling_rate // SAMPLE_RATE)
        self.size, self.longest = extractor.fft_window_size, extractor.nb_max_samples
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.size) / self.size)
        self.power = Power(fourier(window, self.size), extractor.hop_length, extractor.mel_filters_slaney)
        self.register_buffer("words", words)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        sound = self.faster(samples)
        sound = torch.cat([sound] * max(1, self.longest // sound.shape[1]), dim=1)
        sound = functional.pad(sound, (0, self.longest - sound.shape[1]))
        sound = functional.pad(sound.unsqueeze(1), (self.size // 2, self.size // 2), mode="reflect")[:, 0]
        bank = 10.0 * torch.log10(self.power(sound).clamp(min=FLOOR))
        heard = self.projection(self.audio(input_features=bank.unsqueeze(1)).pooler_output)
        logits = functional.normalize(heard, dim=1) @ self.get_buffer("words").T
        return logits, logits.softmax(dim=1)


def embedded(work: Work, model: Any, labels: list[str]) -> Tensor:
    """[L, D]: the text tower's embedding of each label's prompt, times the scale of the logits. Raises: BuildError."""
    from transformers import AutoTokenizer

    work.need("tokenizer.json", "tokenizer.json")
    work.tell(f"embedding {len(labels)} labels")
    tokenizer = AutoTokenizer.from_pretrained(work.source)
    given = tokenizer([PROMPT.format(label.lower()) for label in labels], padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = model.get_text_features(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
        words = functional.normalize(getattr(found, "pooler_output", found), dim=1)
        return (words * model.logit_scale_a.exp()).clone()


def make(work: Work) -> dict[str, Any]:
    """One graph with the labels inside, quantized and measured."""
    from transformers import ClapFeatureExtractor, ClapModel

    work.need("weights (*.safetensors)", "*.safetensors")
    work.need("preprocessor_config.json", "preprocessor_config.json")
    extractor = ClapFeatureExtractor.from_pretrained(work.source)
    if work.json("config.json").get("audio_config", {}).get("enable_fusion") or extractor.truncation != "rand_trunc":
        raise BuildError(f"{work.source}: it fuses crops of long clips; take the unfused model (laion/clap-htsat-unfused)")
    if extractor.sampling_rate % SAMPLE_RATE or extractor.padding != "repeatpad":
        raise BuildError(
            f"{work.source}: its processor takes {extractor.sampling_rate} Hz, {extractor.padding}; the recipe is for 48000, repeatpad"
        )
    given = work.options.get("labels", "")
    labels = labels_of(given) if given else [*(x for x in STARTER_LABELS if x not in COMPETING), *COMPETING]
    window = window_of(work, extractor.nb_max_samples / extractor.sampling_rate)
    model = work.load(ClapModel)
    words = embedded(work, model, labels)

    def reference(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        quick = faster(sound, extractor.sampling_rate // SAMPLE_RATE)
        inputs = extractor(quick, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        with torch.inference_mode():
            heard = model.get_audio_features(input_features=inputs["input_features"].float(), is_longer=inputs["is_longer"])
            return np.asarray((functional.normalize(getattr(heard, "pooler_output", heard), dim=1) @ words.T)[0])

    def score(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(torch.from_numpy(logits).softmax(dim=0))

    quiet = {} if given else {"labels": {label: {"on": 1.0} for label in COMPETING}}
    return tagger(work, Graph(model, extractor, words), labels, window, reference, score) | {
        "sounds": {"default": THRESHOLDS, **quiet},
        "card": f"# {work.name}\nCLAP with {len(labels)} labels embedded as '{PROMPT.format('…')}', exported by auricle-export. It tells "
        f"sounds in windows of {window / SAMPLE_RATE:g} s and writes no captions. Scores compete: something is always likeliest. The "
        "line's 16 kHz hold nothing above 8 kHz, which the model was trained with.",
    }


RECIPE = Recipe(
    "clap", "CLAP: sounds by any words (--labels FILE)", ("clap",), ("fp32", "int8", "int8-static"), (), ("cpu", "pi5", "jetson"), make
)
