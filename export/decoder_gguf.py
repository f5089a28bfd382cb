"""Decoders of encoder-decoder models -> GGUF for edge.backends.text_decoder: F32, or I8 with a scale for each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.backends.text_decoder import ARCHITECTURE, TextDecoder
from export.recipes.recipe import BuildError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from export.seq2seq_parts import Attention, Decoder

Floats = NDArray[np.float32]


def array(value: Tensor) -> Floats:
    return np.ascontiguousarray(value.detach().float().numpy())


def linear(name: str, *layers: nn.Linear) -> dict[str, Floats]:
    """One product for several: rows one below the other; a bias of zeros where only others have one."""
    found = {f"{name}.weight": np.concatenate([array(layer.weight) for layer in layers])}
    if any(layer.bias is not None for layer in layers):
        biases = [np.zeros(layer.out_features, np.float32) if layer.bias is None else array(layer.bias) for layer in layers]
        found[f"{name}.bias"] = np.concatenate(biases)
    return found


def norm(name: str, of: nn.LayerNorm) -> dict[str, Floats]:
    """Raises: BuildError where it is normed otherwise than the runtime does."""
    if of.eps != 1e-5:
        raise BuildError(f"{name}: its epsilon is {of.eps}, not 1e-5; build it with --target jetson, whose decoder is ONNX")
    return {f"{name}.weight": array(of.weight)} | ({} if of.bias is None else {f"{name}.bias": array(of.bias)})


def layer_of(at: int, own: Attention, cross: Attention, norms: Sequence[nn.LayerNorm], up: nn.Linear, down: nn.Linear) -> dict[str, Floats]:
    """norms: before the attention to itself, that to the encoder, and the feed-forward part."""
    name = f"blk.{at}."
    return {
        **norm(f"{name}attn_norm", norms[0]),
        **norm(f"{name}cross_attn_norm", norms[1]),
        **norm(f"{name}ffn_norm", norms[2]),
        **linear(f"{name}attn_qkv", own.q, own.k, own.v),
        **linear(f"{name}attn_output", own.out),
        **linear(f"{name}cross_attn_q", cross.q),
        **linear(f"{name}cross_attn_output", cross.out),
        **linear(f"{name}ffn_up", up),
        **linear(f"{name}ffn_down", down),
    }


def vocabulary(embedding: nn.Embedding, head: nn.Linear, last: nn.LayerNorm) -> dict[str, Floats]:
    """The first and the last step; one matrix where the head is the embedding."""
    found = {"token_embd.weight": array(embedding.weight), **norm("output_norm", last)}
    return found if head.weight is embedding.weight else found | linear("output", head)


def rounded(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A matrix in 8 bits, and a scale for each row."""
    scale = np.abs(weights).max(axis=1) / 127
    return np.rint(weights / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8), scale.astype(np.float32)


def write(path: Path, name: str, decoder: Decoder, told: Sequence[int], precision: str) -> None:
    """Writes the file and reads it once. told: layers whose attention is an output. precision: fp32 or int8.

    Raises: BuildError where the runtime does not take it.
    """
    import gguf

    tensors = decoder.tensors()
    layers = sum(key.endswith(".attn_qkv.weight") for key in tensors)
    out = gguf.GGUFWriter(str(path), ARCHITECTURE)
    out.add_name(name)
    out.add_block_count(layers)
    out.add_head_count(decoder.heads)
    out.add_uint32(f"{ARCHITECTURE}.gated", int(decoder.gated))
    out.add_uint64(f"{ARCHITECTURE}.attention_layers", sum(1 << at for at in told))
    for key, value in tensors.items():
        if precision == "int8" and value.ndim == 2 and key not in ("position_embd.weight", "rope_freqs.weight"):
            small, scale = rounded(value)
            out.add_tensor(key, small)
            out.add_tensor(f"{key.removesuffix('.weight')}.scale", scale)
        else:
            out.add_tensor(key, value)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    TextDecoder(path.read_bytes(), path.name)
