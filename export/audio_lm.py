"""Audio language models of one shape: Whisper's tower, pooled by two, a projector, and a language model (Qwen2-Audio, Audio Flamingo 3).

Tower and projector become one ONNX file for mels of any length up to 30 s, without a mask; the language model becomes a GGUF. That a
shorter sound gives the rows of the filled-up and masked window is measured against the reference, not assumed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.backends.llama import LlamaModel
from edge.backends.onnx import OnnxModel
from edge.features import HOP, whisper_log_mel
from edge.whole import MARGIN, tower_input
from export.gguf_parts import measure as measure_language
from export.gguf_parts import write_gguf
from export.onnx_parts import audios, described, export, quantize
from export.recipes.recipe import LOGIT_LIMIT, BuildError, Recipe, Work
from export.seq2seq_parts import Attention

WINDOW_S, POOLED_HOP = 30.0, 4 * HOP
MEASURED_S = (1.0, 2.34, 7.0, 30.0)
CONTEXT, ANSWER_TOKENS = 4096, 128


@dataclass(frozen=True, slots=True)
class Prompts:
    """before, after: what stands in front of the audio's rows and behind them; after holds {question}. caption: its question."""

    before: str
    after: str
    caption: str = "Describe the sounds and the speech in one sentence."


class TowerGraph(nn.Module):
    """input_features [1, bands, F + 4] -> vectors [1, T, D], T = ((F - 1) // 2 + 1) // 2.

    The last four frames give no rows; see edge.whole.
    """

    def __init__(self, tower: Any, projector: nn.Module) -> None:
        super().__init__()
        self.of, self.projector = tower, projector
        self.attention = nn.ModuleList([Attention(layer.self_attn) for layer in tower.layers])

    def forward(self, input_features: Tensor) -> Tensor:
        gelu = nn.functional.gelu
        x = gelu(self.of.conv2(gelu(self.of.conv1(input_features)))).transpose(1, 2)[:, : -MARGIN // 2]
        x = x + self.of.embed_positions.weight[: x.shape[1]]
        for layer, attention in zip(self.of.layers, self.attention, strict=True):
            h = layer.self_attn_layer_norm(x)
            x = x + attention(h, *attention.keys(h))
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        x = self.of.avg_pooler(x.transpose(1, 2)).transpose(1, 2)
        projected: Tensor = self.projector(self.of.layer_norm(x))
        return projected


def mels_of(sound: NDArray[np.float32], bands: int) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], int]:
    """What the runtime gives the tower, what the reference is given (filled up to 30 s), and how many frames of it count."""
    frames = -(-len(sound) // HOP)
    own = tower_input(sound, bands, 480_000)
    full = whisper_log_mel(np.concatenate((sound, np.zeros(480_000 - len(sound), np.float32))), bands)[None]
    return own, full, frames


def audio_rows(model: Any, full: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """The reference's rows of one window, masked as its own processor masks it: float32[T, D]."""
    tower = model.model.audio_tower
    count, rows = (int(n) for n in tower._get_feat_extract_output_lengths(torch.tensor(frames)))
    mask = torch.zeros(1, 3000, dtype=torch.long)
    mask[:, :frames] = 1
    with torch.inference_mode():
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


def measure_whole(work: Work, model: Any, causal: Any, path: Any, sounds: Sequence[NDArray[np.float32]], prompts: Prompts) -> None:
    """The whole chain on the device's parts against the reference behind the same prompt: logits and greedy 32 tokens."""
    tower, lm = OnnxModel(work.folder / "encoder.onnx"), LlamaModel(path, context=CONTEXT, before=prompts.before)
    worst, same = 0.0, 0
    try:
        before = lm.tokenize(prompts.before)
        after = lm.tokenize(prompts.after.replace("{question}", prompts.caption))
        for sound in sounds:
            own, full, frames = mels_of(sound, model.config.audio_config.num_mel_bins)
            lm.reset()
            lm.extend(tower.run(own)["vectors"][0])
            said = lm.decode(after, [], 0, 32)
            found = lm.logits([*after, *said])[len(after) - 1 :]
            embed = causal.get_input_embeddings()
            with torch.inference_mode():
                rows = torch.from_numpy(audio_rows(model, full, frames))
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


def audio_lm_recipe(name: str, about: str, model_type: str, kind: str, prompts: Prompts) -> Recipe:
    """The recipe of one family. kind: the class of transformers."""

    def make(work: Work) -> dict[str, Any]:
        import transformers

        return make_audio_lm(work, getattr(transformers, kind), prompts)

    llms = ("q4_k_m", "q8_0", "f16", "f32")
    return Recipe(name, about, (model_type,), ("int8", "fp32", "int4"), llms, ("cpu", "pi5", "jetson"), make)


def make_audio_lm(work: Work, load: Any, prompts: Prompts) -> dict[str, Any]:
    """Tower and projector, language model, measured alone and together. load: the transformers class."""
    tokenizer = work.source / "tokenizer.json"
    work.need("tokenizer.json", "tokenizer.json")
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(load)
    bands = model.config.audio_config.num_mel_bins
    encoder, llm = work.folder / "encoder.onnx", work.folder / f"captioner.{work.llm}.gguf"
    work.tell("exporting tower and projector")
    graph = TowerGraph(model.model.audio_tower, model.model.multi_modal_projector)
    with torch.inference_mode():
        example = {"input_features": torch.randn(1, bands, 300 + MARGIN)}
        export(graph, example, {name: {2: "frames"} for name in example}, ["vectors"], encoder)
    sounds = audios(MEASURED_S)
    work.layers(quantize(encoder, work.encoder, feeds=[mels_of(sound, bands)[0] for sound in sounds[:3]]))
    found, wanted, session = [], [], OnnxModel(encoder)
    for sound in sounds:
        own, full, frames = mels_of(sound, bands)
        found.append(session.run(own)["vectors"][0])
        wanted.append(audio_rows(model, full, frames))
    work.rows("encoder rows", work.encoder, found, wanted, f"{len(sounds)} synthetic sounds of 1 to 30 s, the reference masked")
    work.tell(f"writing {llm.name}")
    causal, config = language_of(model)
    config.eos_token_id = model.generation_config.eos_token_id or config.eos_token_id
    write_gguf(config, causal.state_dict(), tokenizer, llm, work.llm, work.name)
    measure_language(work, llm, causal, tokenizer, work.llm)
    measure_whole(work, model, causal, llm, sounds, prompts)
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
    context = min(CONTEXT, config.max_position_embeddings)
    return {
        "licence": work.licence,
        "models": [described(encoder, "encoder", work.encoder, source), language],
        "front_end": {"kind": "whisper", "bands": bands},
        "encoder": {"kind": "whole", "window_s": WINDOW_S, "vector_hop": POOLED_HOP},
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
