"""The decoder of an encoder-decoder model from a GGUF file, in our own C++: a TensorModel with the ports of `auricle-export`'s ONNX one.

A token costs one reading of the weights, and no library that we know reads them as fast (benchmarks/seq2seq_decode.py). Weights are F32, or
I8 with a scale for each row; activations are multiplied in 16 bits then, and what comes out for a token is the same to the last bit whether
it was run alone or in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge._native import TextDecoder as Native
from edge.errors import BackendError
from edge.gguf_header import gguf_numbers, gguf_tensors

ARCHITECTURE = "auricle-decoder"
LOGITS_FROM = "logits_from"
"""An input that ONNX files do not have: of the tokens given, the first whose logits are wanted."""
_TYPES: dict[int, type[np.float32 | np.int8]] = {0: np.float32, 24: np.int8}
"""Of ggml, those that are read."""
_MOST = 4_096
"""Layers, or heads of one: beyond anything that was ever trained."""
Ports = Mapping[str, tuple[str, tuple[int | None, ...]]]


class TextDecoder:
    """A TensorModel of such a file; one thread at a time.

    threads: of one run. Raises: BackendError where the file holds no such decoder.
    """

    def __init__(self, data: bytes, name: str, threads: int = 1) -> None:
        self.name = name
        try:
            shape, tensors = gguf_numbers(data), gguf_tensors(data)
            layers, heads, told = (shape[key] for key in ("block_count", "head_count", "attention_layers"))
            if not (0 < layers <= _MOST and 0 < heads <= _MOST):
                raise ValueError(f"it claims {layers} layers of {heads} heads")
            weights = {key: _array(data, *entry) for key, entry in tensors.items()}
            self._native = Native(weights, layers, heads, bool(shape["gated"]), threads)
            width, vocabulary = weights["token_embd.weight"].shape[1], weights["token_embd.weight"].shape[0]
        except (KeyError, ValueError) as error:
            raise BackendError(f"{name}: it is no decoder that this version runs ({error}); build the bundle again") from None
        own = {f"{i}.decoder.{part}": (1, heads, None, width // heads) for i in range(layers) for part in ("key", "value")}
        keys = {f"{i}.encoder.key": (1, heads, width // heads, None) for i in range(layers)}
        values = {f"{i}.encoder.value": (1, heads, None, width // heads) for i in range(layers)}
        self._own, self._heard = list(own), [n for pair in zip(keys, values, strict=True) for n in pair]
        self._told = [i for i in range(layers) if told >> i & 1]
        past = {f"past_key_values.{n}": ("float32", shape) for n, shape in {**own, **keys, **values}.items()}
        self.inputs: Ports = {"input_ids": ("int64", (1, None)), LOGITS_FROM: ("int64", ()), **past}
        attention = {f"cross_attentions.{i}": ("float32", (1, heads, None, None)) for i in self._told}
        grown = {f"present.{n}": ("float32", shape) for n, shape in own.items()}
        self.outputs: Ports = {"logits": ("float32", (1, None, vocabulary)), **grown, **attention}

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name; the arrays are new and owned by the caller. Raises: ValueError or IndexError for what does not fit."""
        if arrays.keys() != self.inputs.keys():
            raise ValueError(f"{self.name} takes {', '.join(self.inputs)}, not {', '.join(arrays) or 'nothing'}")
        past, heard = ([arrays[f"past_key_values.{n}"] for n in names] for names in (self._own, self._heard))
        for name, (dtype, _) in self.inputs.items():
            if arrays[name].dtype != dtype:
                raise ValueError(f"{self.name}: {name} is {arrays[name].dtype}, not {dtype}")
        try:
            logits, grown, looked = self._native.run(arrays["input_ids"], past, heard, arrays[LOGITS_FROM].item())
        except (ValueError, IndexError) as error:
            raise type(error)(f"{self.name}: {error}") from None
        told = {f"cross_attentions.{i}": looked[i] for i in self._told}
        return {"logits": logits, **dict(zip((f"present.{n}" for n in self._own), grown, strict=True)), **told}


def _array(data: bytes, kind: int, shape: tuple[int, ...], start: int) -> NDArray[Any]:
    """A tensor in memory of its own. Raises: ValueError for a type that is not read."""
    if kind not in _TYPES:
        raise ValueError(f"a tensor is of ggml's type {kind}, not F32 or I8")
    found: NDArray[Any] = np.frombuffer(data, _TYPES[kind], int(np.prod(shape)), start)
    return found.reshape(shape).copy()
