"""HTS-AT (Chen et al. 2022): the authors' own checkpoints (.ckpt), 527 AudioSet labels or those of a fine-tuned one.

The network is the tower of transformers' CLAP, the weights are brought under its names, and the token-semantic classifier is put behind it.
Sizes are read off the weights. The spectrogram is part of the graph. The tower hears 32 kHz: the 16 kHz of the line are filled in, with
nothing above 8 kHz. A window is repeated up to the model's 10 s behind the spectrogram, as the authors' `infer_mode` does.
"""

from __future__ import annotations

import csv
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.types import SAMPLE_RATE
from export.recipes.recipe import BuildError, Recipe, Work
from export.spectrogram import Faster, Power, faster, fourier
from export.taggers import labels_of, tagger, window_of

RATE, SIZE, HOP, FLOOR = 32_000, 1024, 320, 1e-10
SPEC, WINDOW, PATCH = 256, 8, 4
"""Of the published configurations: side of the picture, of an attention window and of a patch."""
AUDIOSET = 527
THRESHOLDS = {"on": 0.3, "off": 0.15, "bridge_s": 1.0, "smooth_rows": 1}
LABELS = "class_labels_indices.csv"
NAMES = (
    ("bn0.", "batch_norm."),
    (".attn.proj.", ".attention.output.dense."),
    (".attn.relative_", ".attention.self.relative_"),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
)
"""The authors' names and those of transformers."""
Weights = dict[str, Tensor]


class Classifier(nn.Module):
    """Spectrogram in dB [1, T, bands] -> logits [1, L]: frames repeated, tower, token-semantic classifier, mean over time."""

    def __init__(self, tower: Any, tokens: nn.Conv2d) -> None:
        super().__init__()
        self.tower, self.tokens = tower, tokens

    def forward(self, bank: Tensor) -> Tensor:
        longest = SPEC * self.tower.freq_ratio
        repeated = bank.repeat(1, longest // bank.shape[1], 1).unsqueeze(1)
        hidden = self.tower(input_features=repeated).last_hidden_state
        found: Tensor = self.tokens(hidden).flatten(2).mean(dim=2)
        return found


class Graph(nn.Module):
    """samples [1, window] at 16 kHz -> logits [1, L], scores [1, L]."""

    def __init__(self, classifier: Classifier, filters: NDArray[np.float64]) -> None:
        super().__init__()
        self.classifier = classifier
        self.faster = Faster(RATE // SAMPLE_RATE)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
        self.power = Power(fourier(window, SIZE), HOP, filters)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        sound = nn.functional.pad(self.faster(samples).unsqueeze(1), (SIZE // 2, SIZE // 2), mode="reflect")[:, 0]
        logits = self.classifier(10.0 * torch.log10(self.power(sound).clamp(min=FLOOR)))
        return logits, told(logits)


def told(logits: Tensor) -> Tensor:
    """Scores: each label for itself where there are AudioSet's, else one of them (the authors' `clip_ce`)."""
    return logits.sigmoid() if logits.shape[-1] == AUDIOSET else logits.softmax(dim=-1)


def bank_of(sound: NDArray[np.float32], filters: NDArray[np.float64]) -> Tensor:
    """What the authors' torchlibrosa makes of a sound at 16 kHz, in float64: [1, T, bands] in dB."""
    from transformers.audio_utils import spectrogram, window_function

    quick = faster(sound, RATE // SAMPLE_RATE)
    found = spectrogram(
        quick, window_function(SIZE, "hann"), SIZE, HOP, power=2.0, mel_filters=filters, mel_floor=FLOOR, log_mel="log10", dtype=np.float64
    )
    return torch.from_numpy(10.0 * found.T[None]).float()


def weights_of(work: Work) -> Weights:
    """The checkpoint's tensors, by the authors' names. Raises: BuildError."""
    work.tell("reading the weights")
    path = sorted(work.source.glob("*.ckpt"))[0]
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise BuildError(
            f"{path}: it holds more than weights, or is damaged ({why}); save its state_dict alone with torch.save and take that"
        ) from None
    held = held.get("state_dict", held) if isinstance(held, dict) else {}
    found = {str(name).removeprefix("sed_model."): value for name, value in held.items() if isinstance(value, Tensor)}
    for name in ("bn0.weight", "patch_embed.proj.weight", "tscam_conv.weight", "logmel_extractor.melW"):
        if name not in found:
            raise BuildError(f"{path}: it has no {name}; the recipe is for HTS-AT with its token-semantic classifier (enable_tscam)")
    return found


def tower_of(weights: Weights) -> Any:
    """transformers' tower with these weights. Raises: ValueError where they are not of an HTS-AT."""
    from transformers import ClapAudioConfig
    from transformers.models.clap.modeling_clap import ClapAudioModel

    count: dict[int, int] = {}
    heads: dict[int, int] = {}
    for name, value in weights.items():
        if match := re.fullmatch(r"layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table", name):
            layer = int(match[1])
            count[layer], heads[layer] = count.get(layer, 0) + 1, value.shape[1]
    if sorted(count) != list(range(len(count))) or not count:
        raise ValueError("its layers are not numbered from 0")
    width, bands = weights["patch_embed.proj.weight"].shape[0], weights["bn0.weight"].shape[0]
    config = ClapAudioConfig(
        num_mel_bins=bands,
        spec_size=SPEC,
        window_size=WINDOW,
        patch_size=PATCH,
        patch_stride=[PATCH, PATCH],
        patch_embeds_hidden_size=width,
        depths=[count[i] for i in range(len(count))],
        num_attention_heads=[heads[i] for i in range(len(heads))],
        hidden_size=width * 2 ** (len(count) - 1),
        enable_fusion=False,
        attn_implementation="eager",
    )
    tower = ClapAudioModel(config).eval().audio_encoder
    given: Weights = {}
    for name, value in weights.items():
        if name.startswith(("spectrogram_extractor.", "logmel_extractor.", "tscam_conv.", "head.")) or name.endswith("attn_mask"):
            continue
        for old, new in NAMES:
            name = name.replace(old, new)
        if ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3, dim=0), strict=True):
                given[name.replace(".attn.qkv.", f".attention.self.{part}.")] = piece
        else:
            given[name] = value
    try:
        missing, foreign = tower.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise ValueError(str(error).strip().splitlines()[-1].strip()) from None
    missing = [name for name in missing if not name.endswith(("relative_position_index", "num_batches_tracked"))]
    if missing or foreign:
        raise ValueError(f"{(missing or foreign)[0]} is {'missing' if missing else 'not known'}")
    return tower


def names_of(work: Work, count: int) -> list[str]:
    """The labels, by --labels or AudioSet's own table in the folder. Raises: BuildError."""
    table = work.source / LABELS
    if given := work.options.get("labels", ""):
        found = labels_of(given)
    elif table.is_file():
        with table.open(encoding="utf-8", newline="") as lines:
            found = [row["display_name"] for row in csv.DictReader(lines) if row.get("display_name")]
    else:
        raise BuildError(f"{work.source}: a checkpoint names no labels; put AudioSet's {LABELS} beside it, or name them with --labels FILE")
    if len(found) != count:
        raise BuildError(f"{work.source}: the model tells {count} labels, the list names {len(found)}; take its own list")
    return found


def make(work: Work) -> dict[str, Any]:
    """One graph, quantized and measured."""
    weights = weights_of(work)
    try:
        tower = tower_of(weights)
    except ValueError as error:
        raise BuildError(f"{work.source}: its weights are not those of an HTS-AT ({error}); the recipe is for the authors' .ckpt") from None
    kernel = weights["tscam_conv.weight"]
    tokens = nn.Conv2d(kernel.shape[1], kernel.shape[0], tuple(kernel.shape[2:]), padding=(0, 1))
    tokens.load_state_dict({"weight": kernel, "bias": weights["tscam_conv.bias"]})
    filters = weights["logmel_extractor.melW"].double().numpy()
    labels = names_of(work, len(kernel))
    window = window_of(work, 10.0)
    classifier = Classifier(tower, tokens).eval()

    def reference(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(classifier(bank_of(sound, filters))[0])

    def score(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(told(torch.from_numpy(logits)))

    return tagger(work, Graph(classifier, filters), labels, window, reference, score) | {
        "sounds": {"default": THRESHOLDS},
        "card": f"# {work.name}\nHTS-AT with {len(labels)} labels, exported by auricle-export. It tells sounds in windows of "
        f"{window / SAMPLE_RATE:g} s and writes no captions. Its thresholds ({THRESHOLDS['on']}, {THRESHOLDS['off']}) were not tuned. The "
        "line's 16 kHz hold nothing above 8 kHz, which the model was trained with. Whatever the window, each costs as much as 10 s.",
    }


def _suits(source: Path) -> bool:
    return not (source / "config.json").is_file() and any(source.glob("*.ckpt"))


RECIPE = Recipe(
    "hts-at",
    "HTS-AT: the authors' checkpoints, labels of AudioSet",
    (),
    ("fp32", "int8", "int8-static"),
    (),
    ("cpu", "pi5", "jetson"),
    make,
    _suits,
)
