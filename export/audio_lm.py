"""Audio language models of one shape: Whisper's tower, a projector, and a language model (Qwen2-Audio, Audio and Music Flamingo, Voxtral).

Tower and projector become one ONNX file (export.audio_towers), for mels of any length up to 30 s, without a mask, where the model was made
to be told lengths; the language model becomes a GGUF. That a shorter sound gives the rows of the filled-up and masked window is measured
against the reference, not assumed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.backends.llama import LlamaModel
from edge.backends.onnx import OnnxModel
from edge.features import HOP, whisper_log_mel
from edge.whole import MARGIN, filled_inputs, tower_input
from export.audio_towers import StackedTower, TimedTower, TowerGraph
from export.gguf_parts import measure as measure_language
from export.gguf_parts import tokenizer_of, write_gguf
from export.onnx_parts import audios, described, export, quantize
from export.recipes.recipe import LOGIT_LIMIT, BuildError, Recipe, Work

WINDOW_S, WINDOW = 30.0, 480_000
MEASURED_S = (1.0, 2.34, 7.0, 30.0)
CONTEXT, ANSWER_TOKENS = 4096, 128


@dataclass(frozen=True, slots=True)
class Prompts:
    """before, after: what stands in front of the audio's rows and behind them; after holds {question}. caption: its question."""

    before: str
    after: str
    caption: str = "Describe the sounds and the speech in one sentence."


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


def measure_whole(work: Work, model: Any, causal: Any, path: Any, sounds: Sequence[NDArray[np.float32]], family: Family) -> None:
    """The whole chain on the device's parts against the reference behind the same prompt: logits and greedy 32 tokens."""
    prompts = family.prompts
    tower, lm = OnnxModel(work.folder / "encoder.onnx"), LlamaModel(path, context=CONTEXT, before=prompts.before)
    worst, same = 0.0, 0
    try:
        before = lm.tokenize(prompts.before)
        after = lm.tokenize(prompts.after.replace("{question}", prompts.caption))
        for sound in sounds:
            own, full, frames = mels_of(sound, model.config.audio_config.num_mel_bins, family)
            lm.reset()
            lm.extend(tower.run(own)["vectors"][0])
            said = lm.decode(after, [], 0, 32)
            found = lm.logits([*after, *said])[len(after) - 1 :]
            embed = causal.get_input_embeddings()
            with torch.inference_mode():
                rows = torch.from_numpy(audio_rows(model, full, frames, family))
                x = torch.cat((embed(torch.tensor(before)), rows, embed(torch.tensor([*after, *said]))))
                wanted = causal(inputs_embeds=x[None]).logits[0, len(x) - len(said) - 1 :].numpy()
            worst = max(worst, float(np.abs(found - wanted).max()))
            same += int(wanted.argmax(axis=1)[: len(said)].tolist() == said)
    finally:
        lm.close()
    data = f"{len(sounds)} synthetic sounds of {len(sounds[0]) / 16_000:g} to {len(sounds[-1]) / 16_000:g} s"
    work.measured("logits behind the audio max abs", worst, "", data, len(sounds))
    work.measured("greedy 32 tokens behind the audio the same", 100.0 * same / len(sounds), "%", data, len(sounds))
    if work.encoder == "fp32" and work.llm == "f32" and (worst > LOGIT_LIMIT or same < len(sounds)):
        raise BuildError(f"{work.source}: the parts together differ from the reference (logits by {worst:.3g}); report this architecture")


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
    encoder, llm = work.folder / "encoder.onnx", work.folder / f"captioner.{work.llm}.gguf"
    work.tell("exporting tower and projector")
    with torch.inference_mode():
        example = {"input_features": torch.randn(1, bands, 3000 if family.filled else 300 + MARGIN)}
        if family.timed:
            example["window"] = torch.zeros(1)
        export(family.tower(model), example, {} if family.filled else {"input_features": {2: "frames"}}, ["vectors"], encoder)
    sounds = audios(MEASURED_S)
    work.layers(quantize(encoder, work.encoder, feeds=[mels_of(sound, bands, family)[0] for sound in sounds[:3]]))
    found, wanted, session = [], [], OnnxModel(encoder)
    for sound in sounds:
        own, full, frames = mels_of(sound, bands, family)
        found.append(session.run(own)["vectors"][0])
        wanted.append(audio_rows(model, full, frames, family))
    work.rows("encoder rows", work.encoder, found, wanted, f"{len(sounds)} synthetic sounds of 1 to 30 s, the reference masked")
    work.tell(f"writing {llm.name}")
    causal, config = language_of(model)
    config.eos_token_id = model.generation_config.eos_token_id or config.eos_token_id
    write_gguf(config, causal.state_dict(), tokenizer, llm, work.llm, work.name)
    measure_language(work, llm, causal, tokenizer, work.llm)
    measure_whole(work, model, causal, llm, sounds, family)
    source = work.origin
    language = {
        "role": "captioner",
        "runtime": "gguf",
        "file": llm.name,
        "inputs": [],
        "outputs": [],
        "precision": work.llm,
        "source": source,
    }
    prompts = family.prompts
    context = min(CONTEXT, config.max_position_embeddings)
    return {
        "licence": work.licence,
        "models": [described(encoder, "encoder", work.encoder, source), language],
        "front_end": {"kind": "whisper", "bands": bands},
        "encoder": {"kind": "whole", "window_s": WINDOW_S, "vector_hop": family.row_hop} | ({"pad_to_s": WINDOW_S} if family.filled else {}),
        "caption": {
            "before": prompts.before,
            "prompt": prompts.after.replace("{question}", prompts.caption),
            "ask_prompt": prompts.after,
            "limit_tokens": min(ANSWER_TOKENS, context // 4),
            "ask_tokens": min(ANSWER_TOKENS, context // 4),
            "context": context,
        },
        "card": f"# {work.name}\nAn audio language model, exported by auricle-export: tower {work.encoder}, language model "
        f"{work.llm}. It captions and answers questions; it tells no sounds of its own.",
    }
