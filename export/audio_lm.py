"""Audio language models of one shape: Whisper's tower, a projector, and a language model (Qwen2-Audio, Audio and Music Flamingo, Voxtral).

Tower and projector become one ONNX file (export.audio_towers), for mels of any length up to 30 s, without a mask, where the model was made
to be told lengths; the language model becomes a GGUF. That a shorter sound gives the rows of the filled-up and masked window is measured
against the reference, not assumed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.backends.onnx import OnnxModel
from edge.features import HOP, whisper_log_mel
from edge.types import SAMPLE_RATE
from edge.whole import MARGIN, filled_inputs, tower_input
from export.audio_language import Heard, finish
from export.audio_towers import StackedTower, TimedTower, TowerGraph
from export.gguf_parts import tokenizer_of
from export.onnx_parts import audios, export, quantize
from export.prompts import Prompts
from export.recipes.recipe import Recipe, Work

WINDOW_S, WINDOW = 30.0, 480_000
MEASURED_S = (1.0, 2.34, 7.0, 30.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One family. kind: the class of transformers. filled: its windows are always full (Voxtral); timed: rows are turned by their time.

    row_hop: samples for which one row stands.
    """

    model_type: str
    kind: str
    prompts: Prompts
    filled: bool = False
    timed: bool = False
    row_hop: int = 4 * HOP

    def tower(self, model: Any) -> TowerGraph:
        """Tower and projector of the reference, to be exported."""
        parts = model.model.audio_tower, model.model.multi_modal_projector
        if self.timed:
            return TimedTower(*parts, model.model.pos_emb)
        return StackedTower(*parts) if self.filled else TowerGraph(*parts)


def mels_of(sound: NDArray[np.float32], bands: int, family: Family) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], int]:
    """What the runtime gives the tower, what the reference is given (filled up to 30 s), and how many frames of it count."""
    frames = -(-len(sound) // HOP)
    own = filled_inputs(sound, bands, WINDOW)[0] if family.filled else tower_input(sound, bands, WINDOW)
    if family.timed:
        own["window"] = np.zeros(1, np.float32)
    full = whisper_log_mel(np.concatenate((sound, np.zeros(WINDOW - len(sound), np.float32))), bands)[None]
    return own, full, frames


def audio_rows(model: Any, full: NDArray[np.float32], frames: int, family: Family) -> NDArray[np.float32]:
    """The reference's rows of the first window, masked as its own processor masks it: float32[T, D]."""
    if family.filled:
        with torch.inference_mode():
            return np.asarray(model.get_audio_features(torch.from_numpy(full)).pooler_output)
    tower = model.model.audio_tower
    count, rows = (int(n) for n in tower._get_feat_extract_output_lengths(torch.tensor(frames)))
    mask = torch.zeros(1, 3000, dtype=torch.long)
    mask[:, :frames] = 1
    with torch.inference_mode():
        if family.timed:
            ids = torch.full((1, rows), model.config.audio_token_id)
            return np.asarray(model.get_audio_features(torch.from_numpy(full), mask, ids).pooler_output)
        if model.config.model_type != "qwen2_audio":
            state = tower(torch.from_numpy(full), input_features_mask=mask)
        else:
            hidden = torch.zeros(1, 1, 1500, 1500).masked_fill(torch.arange(1500)[None, None, None] >= count, float("-inf"))
            state = tower(torch.from_numpy(full), attention_mask=hidden)
        return np.asarray(model.model.multi_modal_projector(state.last_hidden_state)[0, :rows])


def language_of(model: Any) -> tuple[Any, Any]:
    """The language model inside as a causal model of its own, sharing the weights; and its config."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(model.config.text_config)
    config.tie_word_embeddings = False
    causal = AutoModelForCausalLM.from_config(config).eval()
    causal.model, causal.lm_head = model.model.language_model, model.lm_head
    return causal, config


def audio_lm_recipe(name: str, about: str, family: Family) -> Recipe:
    """The recipe of one family."""
    llms = ("q4_k_m", "q8_0", "f16", "f32")
    make = partial(make_audio_lm, family)
    return Recipe(name, about, (family.model_type,), ("int8", "fp32", "int4"), llms, ("cpu", "pi5", "jetson"), make)


def make_audio_lm(family: Family, work: Work) -> dict[str, Any]:
    """Tower and projector, language model, measured alone and together."""
    import transformers

    tokenizer = tokenizer_of(work)
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(getattr(transformers, family.kind))
    bands = model.config.audio_config.num_mel_bins
    encoder = work.folder / "encoder.onnx"
    work.tell("exporting tower and projector")
    with torch.inference_mode():
        example = {"input_features": torch.randn(1, bands, 3000 if family.filled else 300 + MARGIN)}
        if family.timed:
            example["window"] = torch.zeros(1)
        free: dict[str, dict[int, str]] = {} if family.filled else {"input_features": {2: "frames"}}
        work.step(encoder, lambda: export(family.tower(model), example, free, ["vectors"], encoder))
    sounds = audios(MEASURED_S)
    work.layers(quantize(encoder, work.encoder, feeds=[mels_of(sound, bands, family)[0] for sound in sounds[:3]]))
    found, wanted, session = [], [], OnnxModel(encoder)
    for sound in sounds:
        own, full, frames = mels_of(sound, bands, family)
        found.append(session.run(own)["vectors"][0])
        wanted.append(audio_rows(model, full, frames, family))
    work.rows("encoder rows", work.encoder, found, wanted, f"{len(sounds)} synthetic sounds of 1 to 30 s, the reference masked")
    longest = mels_of(sounds[-1], bands, family)[0]
    work.timed("encoder", lambda: session.run(longest), len(sounds[-1]) / SAMPLE_RATE)
    causal, config = language_of(model)
    config.eos_token_id = model.generation_config.eos_token_id or config.eos_token_id
    described_encoder = {"kind": "whole", "window_s": WINDOW_S, "vector_hop": family.row_hop}
    heard = Heard([mels_of(sound, bands, family)[0] for sound in sounds], wanted, f"{len(sounds)} synthetic sounds of 1 to 30 s")
    return finish(work, encoder, causal, config, tokenizer, family.prompts, heard) | {
        "front_end": {"kind": "whisper", "bands": bands},
        "encoder": described_encoder | ({"pad_to_s": WINDOW_S} if family.filled else {}),
    }
