"""What encoder-decoder recipes share: attention over given keys and values, the decoder's ports, the measurement against the reference.

The encoder's file gives the keys and values of the cross-attention, once for each window; the decoder's takes its own as
`past_key_values`. Names of the ports are those that hubs use.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.backends.onnx import OnnxModel
from edge.backends.text_decoder import TextDecoder
from edge.seq2seq import ATTENTION, PAST, PRESENT, Seq2Seq
from edge.types import TensorModel
from export import decoder_gguf
from export.onnx_parts import described, export, quantize
from export.recipes.recipe import LOGIT_LIMIT, BuildError, Work

GREEDY = 32
Samples = NDArray[np.float32]


def scaled(projection: nn.Linear, scale: float) -> nn.Linear:
    """A projection whose output is already scaled. onnxruntime would fuse a scale of its own into the product with the keys, which then is
    no longer the one for a single row, more than twice as fast.
    """
    found = copy.deepcopy(projection)
    with torch.no_grad():
        found.weight *= scale
        if found.bias is not None:
            found.bias *= scale
    return found


class Attention(nn.Module):
    """The reference's projections; keys and values come from outside. heads: of queries, keys and values alike."""

    def __init__(self, of: Any, heads: int = 0, out: str = "out_proj") -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = scaled(of.q_proj, of.scaling), of.k_proj, of.v_proj, getattr(of, out)
        self.heads = heads or of.num_heads

    def split(self, x: Tensor) -> Tensor:
        """[B, T, H d] -> [B, H, T, d]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k(x)), self.split(self.v(x))

    def across(self, keys: Tensor) -> Tensor:
        """Keys as they come from outside -> [B, H, d, T]."""
        return keys.transpose(2, 3)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """queries [B, H, T, d] -> [B, T, D]."""
        return self.look(queries, keys, values, mask)[0]

    def look(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same, and what each query attends to [B, H, T, keys]."""
        scores = queries @ self.across(keys)
        if mask is not None:
            scores = scores + mask
        weights = scores.softmax(dim=3)
        return self.out((weights @ values).transpose(1, 2).flatten(2)), weights

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attend(self.split(self.q(x)), keys, values, mask)


class CrossAttention(Attention):
    """The same over an encoder's rows. Its keys lie as [B, H, d, T] from the beginning: a single query is multiplied with them for every
    token, which takes onnxruntime more than twice as long when it has to turn them.
    """

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k(x)).transpose(2, 3), self.split(self.v(x))

    def across(self, keys: Tensor) -> Tensor:
        return keys

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """As `look`."""
        return self.look(self.split(self.q(x)), keys, values)


def causal(before: int, count: int, at: Tensor) -> Tensor:
    """[count, before + count]: 0 for what a token may see, else -inf. at: positions of the tokens."""
    hidden = torch.arange(before + count)[None, :] > at[:, None]
    return torch.zeros(count, before + count).masked_fill(hidden, float("-inf"))


class Decoder(nn.Module, ABC):
    """A graph with the ports of `export_both`, which can be written for our own runtime too. heads: of attention.

    gated: see auricle/text_decoder.hpp.
    """

    heads: int
    gated: bool

    @abstractmethod
    def tensors(self) -> dict[str, Samples]:
        """What export.decoder_gguf writes, by the names in docs/bundle.md. Raises: BuildError where the runtime cannot compute it."""


def decoder_of(work: Work) -> Path:
    """Where the decoder lies. On a GPU and in 4 bits it is run by onnxruntime."""
    return work.folder / ("decoder.onnx" if work.target == "jetson" or work.encoder == "int4" else "decoder.gguf")


def beside(work: Work) -> str:
    """The decoder's precision. Its activations have no ranges that recordings could tell, so beside a static int8 encoder it is dynamic."""
    return "int8" if work.encoder == "int8-static" else work.encoder


def opened(path: Path) -> TensorModel:
    """The decoder of `decoder_of`, once it is written."""
    return TextDecoder(path.read_bytes(), path.name) if path.suffix == ".gguf" else OnnxModel(path)


def names(layers: int) -> tuple[list[str], list[str]]:
    """Of the caches, without prefix: the text's own, and the encoder's."""
    own = [f"{i}.decoder.{part}" for i in range(layers) for part in ("key", "value")]
    return own, [n.replace("decoder", "encoder") for n in own]


def export_both(
    work: Work,
    encoder: nn.Module,
    decoder: Decoder,
    layers: int,
    given: dict[str, Tensor],
    free: dict[int, str],
    told: Sequence[int] = (),
) -> list[str]:
    """Writes encoder.onnx in float and the decoder, which is a file of ours for a processor and ONNX in float else; returns its outputs.

    told: layers whose cross-attention the decoder gives as well.

    encoder: its inputs (`given`, free axes `free` of the first) -> rows [1, T, D], then keys [1, H, d, T] and values [1, H, T, d] for each
    layer of the decoder.
    decoder: input_ids [1, S], then for each layer own keys and values [1, H, P, d] and those of the encoder -> logits, own keys and
    values, attention [1, H, S, T] of the layers `told`.
    """
    own, cross = names(layers)
    name = next(iter(given))
    work.tell("exporting the encoder")
    found = ["logits", *(PRESENT + n for n in own), *(f"{ATTENTION}{layer}" for layer in told)]
    with torch.inference_mode():
        first, second = work.folder / "encoder.onnx", decoder_of(work)
        work.step(first, lambda: export(encoder, given, {name: free}, ["last_hidden_state", *(PRESENT + n for n in cross)], first))
        work.tell("exporting the decoder")
        if second.suffix == ".gguf":
            work.step(second, lambda: decoder_gguf.write(second, work.name, decoder, told, beside(work)))
            return found
        hidden = encoder(*given.values())[1:]
        examples: dict[str, Tensor] = {"input_ids": torch.tensor([[1, 2]])}
        varies: dict[str, dict[int, str]] = {"input_ids": {1: "tokens"}}
        for i in range(layers):
            for part in ("key", "value"):
                examples[f"{PAST}{i}.decoder.{part}"] = torch.randn(1, hidden[1].shape[1], 3, hidden[1].shape[3])
                varies[f"{PAST}{i}.decoder.{part}"] = {2: "past"}
            for at, part in enumerate(("key", "value")):
                examples[f"{PAST}{i}.encoder.{part}"] = hidden[2 * i + at]
                varies[f"{PAST}{i}.encoder.{part}"] = {3 - at: "rows"}
        work.step(second, lambda: export(decoder, examples, varies, found, second))
    return found


def measure(
    work: Work,
    model: Any,
    text: dict[str, Any],
    sounds: Sequence[Samples],
    feed: Callable[[Samples], dict[str, NDArray[Any]]],
    reference: Callable[[Samples], tuple[Any, Samples]],
) -> None:
    """Rows, logits and greedy texts of the exported parts against the reference. Raises: BuildError over a limit.

    feed: what the exported encoder takes for a sound; reference: the reference's own encoder output for it, and its rows.
    """
    encoder, decoder = OnnxModel(work.folder / "encoder.onnx"), opened(decoder_of(work))
    found, wanted, worst, same, agreed, count = [], [], 0.0, 0, 0, 0
    for sound in sounds:
        outputs = encoder.run(feed(sound))
        state, rows = reference(sound)
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
    given, longest, session = feed(sounds[-1]), len(sounds[-1]) / 16_000, Seq2Seq(decoder, ())
    work.timed("encoder", lambda: encoder.run(given), longest)
    session.begin(encoder.run(given))
    work.timed("decoder", lambda: session.decode(text["prompt_ids"], (), 0, limit), limit, "a token behind the longest sound")
    work.measured("decoder logits max abs", worst, "", data, count)
    work.measured("decoder top-1 agreement", 100.0 * agreed / count, "%", data, count)
    work.measured(f"greedy {GREEDY} tokens the same", 100.0 * same / len(sounds), "%", data, len(sounds))
    if work.encoder == "fp32" and (worst > LOGIT_LIMIT or same < len(sounds)):
        raise BuildError(
            f"{work.source}: the exported decoder differs from the reference (logits by {worst:.3g}); report this architecture"
        )


def finish(
    work: Work,
    model: Any,
    text: dict[str, Any],
    tokenizer: dict[str, Any],
    sounds: Sequence[Samples],
    calibrating: Sequence[Samples],
    feed: Callable[[Samples], dict[str, NDArray[Any]]],
    reference: Callable[[Samples], tuple[Any, Samples]],
) -> dict[str, Any]:
    """Quantizes and measures both parts; returns what their manifests have in common. feed, reference: as for `measure`.

    sounds: measured with, the shortest first; calibrating: for int8-static. Raises: BuildError over a limit.
    """
    encoder, decoder = work.folder / "encoder.onnx", decoder_of(work)
    work.layers(quantize(encoder, work.encoder, feeds=[feed(x) for x in sounds[:3]], calibration=[feed(x) for x in calibrating]))
    if decoder.suffix == ".onnx":
        quantize(decoder, beside(work))
    measure(work, model, text, sounds, feed, reference)
    entry = described(decoder, "decoder", beside(work), work.origin, opened(decoder), decoder.suffix.removeprefix("."))
    models = [described(encoder, "encoder", work.encoder, work.origin), entry, tokenizer]
    return {"licence": work.licence, "models": models, "caption": text}
