"""Whisper (Radford et al. 2022), tiny to large-v3-turbo: encoder and decoder to ONNX, its tokenizer as it is.

Both graphs are written anew over the reference's weights: the encoder takes mels of any length up to 30 s (position embeddings are cut
to it, which is the same computation at full length) and gives the keys and values of the cross-attention; the decoder takes its own as
`past_key_values`. Names of the ports are those that hubs use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge.backends.onnx import OnnxModel
from edge.features import whisper_log_mel
from edge.seq2seq import PAST, PRESENT, Seq2Seq
from export.onnx_parts import audios, described, export, quantize, tokenizer_of
from export.recipes.recipe import LOGIT_LIMIT, BuildError, Recipe, Work
from export.whisper_text import text_of

MEASURED_S = (1.0, 2.3, 5.0, 11.0, 30.0)
GREEDY = 32


class Attention(nn.Module):
    """The reference's projections; keys and values come from outside."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = of.q_proj, of.k_proj, of.v_proj, of.out_proj
        self.heads, self.scale = of.num_heads, of.scaling

    def split(self, x: Tensor) -> Tensor:
        """[B, T, H d] -> [B, H, T, d]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k(x)), self.split(self.v(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.split(self.q(x) * self.scale) @ keys.transpose(2, 3)
        if mask is not None:
            scores = scores + mask
        return self.out((scores.softmax(dim=3) @ values).transpose(1, 2).flatten(2))


class EncoderGraph(nn.Module):
    """input_features [1, bands, F] -> last_hidden_state [1, F / 2, D], then keys and values for each layer of the decoder."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.of, self.cross = model.encoder, nn.ModuleList([Attention(layer.encoder_attn) for layer in model.decoder.layers])
        self.attention = nn.ModuleList([Attention(layer.self_attn) for layer in self.of.layers])

    def forward(self, input_features: Tensor) -> tuple[Tensor, ...]:
        gelu = nn.functional.gelu
        x = gelu(self.of.conv2(gelu(self.of.conv1(input_features)))).transpose(1, 2)
        x = x + self.of.embed_positions.weight[: x.shape[1]]
        for layer, attention in zip(self.of.layers, self.attention, strict=True):
            h = layer.self_attn_layer_norm(x)
            x = x + attention(h, *attention.keys(h))
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        x = self.of.layer_norm(x)
        return (x, *(part for cross in self.cross for part in cross.keys(x)))


class DecoderGraph(nn.Module):
    """input_ids [1, S], then for each layer own keys and values [1, H, P, d] and those of the encoder -> logits, own keys and values."""

    def __init__(self, model: Any, head: nn.Linear) -> None:
        super().__init__()
        self.of, self.head = model.decoder, head
        self.own = nn.ModuleList([Attention(layer.self_attn) for layer in self.of.layers])
        self.cross = nn.ModuleList([Attention(layer.encoder_attn) for layer in self.of.layers])

    def forward(self, input_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        before, count = past[0].shape[2], input_ids.shape[1]
        at = torch.arange(count, device=input_ids.device) + before
        x = self.of.embed_tokens(input_ids) + self.of.embed_positions.weight[at]
        hidden = torch.arange(before + count)[None, :] > at[:, None]
        mask = torch.zeros(count, before + count).masked_fill(hidden, float("-inf"))
        after = []
        for i, layer in enumerate(self.of.layers):
            h = layer.self_attn_layer_norm(x)
            keys, values = (torch.cat(pair, dim=2) for pair in zip(past[4 * i : 4 * i + 2], self.own[i].keys(h), strict=True))
            after += [keys, values]
            x = x + self.own[i](h, keys, values, mask)
            x = x + self.cross[i](layer.encoder_attn_layer_norm(x), past[4 * i + 2], past[4 * i + 3])
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        return (self.head(self.of.layer_norm(x)), *after)


def names(layers: int) -> tuple[list[str], list[str]]:
    """Of the caches, without prefix: the text's own, and the encoder's."""
    own = [f"{i}.decoder.{part}" for i in range(layers) for part in ("key", "value")]
    return own, [n.replace("decoder", "encoder") for n in own]


def export_parts(model: Any, work: Work) -> None:
    """Writes encoder.onnx and decoder.onnx in float."""
    config = model.config
    own, cross = names(config.decoder_layers)
    work.tell("exporting the encoder")
    frames = min(300, 2 * config.max_source_positions)
    with torch.inference_mode():
        encoder = EncoderGraph(model.model)
        features = torch.randn(1, config.num_mel_bins, frames)
        export(
            encoder,
            {"input_features": features},
            {"input_features": {2: "frames"}},
            ["last_hidden_state", *(PRESENT + n for n in cross)],
            work.folder / "encoder.onnx",
        )
        work.tell("exporting the decoder")
        hidden = encoder(features)[1:]
        heads, width = hidden[0].shape[1], hidden[0].shape[3]
        examples: dict[str, Tensor] = {"input_ids": torch.tensor([[1, 2]])}
        free: dict[str, dict[int, str]] = {"input_ids": {1: "tokens"}}
        for i in range(config.decoder_layers):
            for part in ("key", "value"):
                examples[f"{PAST}{i}.decoder.{part}"] = torch.randn(1, heads, 3, width)
                free[f"{PAST}{i}.decoder.{part}"] = {2: "past"}
            for at, part in enumerate(("key", "value")):
                examples[f"{PAST}{i}.encoder.{part}"] = hidden[2 * i + at]
                free[f"{PAST}{i}.encoder.{part}"] = {2: "rows"}
        outputs = ["logits", *(PRESENT + n for n in own)]
        export(DecoderGraph(model.model, model.proj_out), examples, free, outputs, work.folder / "decoder.onnx")


def reference(model: Any, features: np.ndarray) -> tuple[Any, np.ndarray]:
    """The reference itself over mels of any length: a copy of its encoder that was configured for that length. Returns it and its rows."""
    import copy

    encoder = copy.deepcopy(model.model.encoder)
    rows = (features.shape[2] - 1) // 2 + 1
    encoder.config = copy.deepcopy(encoder.config)
    encoder.config.max_source_positions = encoder.max_source_positions = rows
    weight = encoder.embed_positions.weight[:rows].clone()
    encoder.embed_positions = nn.Embedding.from_pretrained(weight)
    with torch.inference_mode():
        state = encoder(torch.from_numpy(features))
    return state, state.last_hidden_state.numpy()


def measure(model: Any, work: Work, text: dict[str, Any]) -> None:
    """Rows, logits and greedy texts of the exported parts against the reference. Raises: BuildError over a limit."""
    encoder, decoder = OnnxModel(work.folder / "encoder.onnx"), OnnxModel(work.folder / "decoder.onnx")
    config = model.config
    longest = config.max_source_positions * 2 * 160 / 16_000
    sounds = audios([s for s in MEASURED_S if s <= longest] or [longest])
    found, wanted, worst, same, agreed, count = [], [], 0.0, 0, 0, 0
    for sound in sounds:
        features = whisper_log_mel(sound, config.num_mel_bins)[None]
        outputs = encoder.run({"input_features": features})
        state, rows = reference(model, features)
        found.append(outputs["last_hidden_state"])
        wanted.append(rows)
        session = Seq2Seq(decoder, (), name=str(work.source))
        session.begin(outputs)
        prompt, limit = text["prompt_ids"], min(GREEDY, text["limit_tokens"])
        said = session.decode(prompt, (), 0, limit)
        with torch.inference_mode():
            ids = torch.tensor([[*prompt, *said[:-1]]])
            logits = model(encoder_outputs=state, decoder_input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].numpy()
        own = session.logits([*prompt, *said[:-1]])[len(prompt) - 1 :]
        worst = max(worst, float(np.abs(own - logits).max()))
        same += int(logits.argmax(axis=1).tolist() == said)
        agreed += int((logits.argmax(axis=1) == own.argmax(axis=1)).sum())
        count += len(logits)
    data = f"{len(sounds)} synthetic sounds of {sounds[0].size / 16_000:g} to {sounds[-1].size / 16_000:g} s"
    work.rows("encoder rows", work.encoder, found, wanted, data)
    work.measured("decoder logits max abs", worst, "", data, count)
    work.measured("decoder top-1 agreement", 100.0 * agreed / count, "%", data, count)
    work.measured(f"greedy {GREEDY} tokens the same", 100.0 * same / len(sounds), "%", data, len(sounds))
    if work.encoder == "fp32" and (worst > LOGIT_LIMIT or same < len(sounds)):
        raise BuildError(
            f"{work.source}: the exported decoder differs from the reference (logits by {worst:.3g}); report this architecture"
        )


def make(work: Work) -> dict[str, Any]:
    """Both graphs, quantized and measured, and the tokenizer."""
    from transformers import WhisperForConditionalGeneration

    source = work.origin
    tokenizer = tokenizer_of(work.source, work.folder, source)
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(WhisperForConditionalGeneration)
    text = text_of(work)
    export_parts(model, work)
    for part in ("encoder", "decoder"):
        quantize(work.folder / f"{part}.onnx", work.encoder)
    measure(model, work, text)
    return {
        "licence": work.licence,
        "models": [
            described(work.folder / "encoder.onnx", "encoder", work.encoder, source),
            described(work.folder / "decoder.onnx", "decoder", work.encoder, source),
            tokenizer,
        ],
        "front_end": {"kind": "whisper", "bands": model.config.num_mel_bins},
        "encoder": {"window_s": model.config.max_source_positions / 50},
        "caption": text,
        "card": f"# {work.name}\nWhisper, exported by auricle-export. Windows are as long as what was said: the position "
        "embeddings are cut to it. It tells speech, no sounds.",
    }


RECIPE = Recipe(
    "whisper", "Whisper tiny … large-v3-turbo: speech to text", ("whisper",), ("fp32", "int8", "int4"), (), ("cpu", "pi5", "jetson"), make
)
