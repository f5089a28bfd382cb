"""GAMA (Ghosh et al. 2024): filter bank, AST, multi-layer aggregator and Q-Former as one ONNX file, the Llama inside to GGUF.

The architecture is our own implementation (export.gama). A source is a folder with `model_type` "gama", `audio_config` (sizes) and
`text_config` (a Llama) in config.json, and the tensors by the published names. Windows of 10.24 s: the model hears no longer ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edge.backends.onnx import OnnxModel
from edge.types import SAMPLE_RATE
from export.audio_language import Heard, finish
from export.gama import GamaShape, GamaTower
from export.gguf_parts import tokenizer_of
from export.onnx_parts import audios, export, quantize
from export.prompts import Prompts
from export.recipes.recipe import BuildError, Recipe, Work
from export.spectrogram import KaldiBank, plain

MEAN, DEVIATION = -5.081, 4.4849
"""Of the filter bank, as the published code has them."""
MEASURED_S = (1.0, 2.34, 7.0, 10.24)
PROMPTS = Prompts("", "### Instruction:\n{question}\n\n### Response:\n")


def processor(shape: GamaShape) -> Any:
    """The filter bank of the published code: that of AST with another mean and deviation. Raises: BuildError."""
    from transformers import ASTFeatureExtractor

    return plain(ASTFeatureExtractor(num_mel_bins=shape.bands, max_length=shape.frames, mean=MEAN, std=DEVIATION / 2))


class Graph(nn.Module):
    """samples [1, n] -> vectors [1, queries + frames / patch, D]."""

    def __init__(self, tower: GamaTower, bank: KaldiBank) -> None:
        super().__init__()
        self.tower, self.bank = tower, bank

    def forward(self, samples: Tensor) -> Tensor:
        rows: Tensor = self.tower(self.bank(samples))
        return rows


def load(work: Work) -> tuple[GamaTower, Any]:
    """Tower and language model with the source's tensors. Raises: BuildError."""
    import safetensors.torch
    import transformers

    text = work.setting("text_config")
    try:
        config = transformers.LlamaConfig(**{k: v for k, v in text.items() if k != "model_type"})
        shape = GamaShape.of(work.setting("audio_config"), config.hidden_size)
    except (TypeError, ValueError) as error:
        raise BuildError(f"{work.source}: its config.json is not GAMA's ({error}); see the docstring of export/recipes/gama.py") from None
    work.need("weights (*.safetensors)", "*.safetensors")
    stored: dict[str, Tensor] = {}
    try:
        for path in sorted(work.source.glob("*.safetensors")):
            stored |= {name.removeprefix("model."): value.float() for name, value in safetensors.torch.load_file(path).items()}
    except Exception as error:  # safetensors' errors share no base class
        raise BuildError(f"{work.source}: its weights cannot be read ({error}); fetch the model again") from None
    tower, causal = GamaTower(shape).eval(), transformers.LlamaForCausalLM(config).eval()
    for module, prefix in ((tower, ""), (causal.model, "")):
        missing = _fill(module, stored, prefix)
        if missing:
            raise BuildError(f"{work.source}: it has no tensor {missing} of the right shape; this is not GAMA's architecture")
    head = stored.get("lm_head.weight", causal.model.embed_tokens.weight)
    causal.lm_head.weight.data.copy_(head)
    return tower, causal


def _fill(module: nn.Module, stored: dict[str, Tensor], prefix: str) -> str:
    """Copies tensors in by their names; returns the first that is missing or of another shape."""
    own = module.state_dict()
    for name, value in own.items():
        found = stored.get(prefix + name)
        if found is None or found.shape != value.shape:
            return prefix + name
        value.copy_(found)
    return ""


def make(work: Work) -> dict[str, Any]:
    """One graph from samples to rows, quantized and measured; the language model behind it."""
    tokenizer = tokenizer_of(work)
    tower, causal = load(work)
    shape, encoder = tower.audio_encoder.shape, work.folder / "encoder.onnx"
    window, extractor = shape.frames * KaldiBank.HOP, processor(shape)
    work.tell("exporting filter bank, tower, aggregator and Q-Former")
    with torch.inference_mode():
        example = {"samples": torch.randn(1, 3 * SAMPLE_RATE) * 0.1}
        graph = Graph(tower, KaldiBank(extractor))
        work.step(encoder, lambda: export(graph, example, {"samples": {1: "samples"}}, ["vectors"], encoder))
    sounds = audios([min(seconds, window / SAMPLE_RATE) for seconds in MEASURED_S])
    inputs = [{"samples": sound[None]} for sound in sounds]
    work.layers(quantize(encoder, work.encoder, keep=["bank.power.filters"], feeds=inputs[:3]))
    session = OnnxModel(encoder)
    with torch.inference_mode():
        banks = [extractor(sound, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_values"].float() for sound in sounds]
        wanted = [tower(bank)[0].numpy() for bank in banks]
    data = f"{len(sounds)} synthetic sounds of 1 to {window / SAMPLE_RATE:.4g} s"
    work.rows("encoder rows", work.encoder, [session.run(given)["vectors"][0] for given in inputs], wanted, data)
    work.timed("encoder", lambda: session.run(inputs[-1]), len(sounds[-1]) / SAMPLE_RATE)
    rows = shape.queries + shape.frames // shape.patch
    return finish(work, encoder, causal, causal.config, tokenizer, PROMPTS, Heard(inputs, wanted, data)) | {
        "front_end": {"kind": "samples"},
        "encoder": {"kind": "whole", "window_s": window / SAMPLE_RATE, "vector_hop": window // rows},
    }


RECIPE = Recipe(
    "gama",
    "GAMA's shape: AST, aggregator of its layers and Q-Former before a Llama",
    ("gama",),
    ("int8", "fp32", "int4"),
    ("q4_k_m", "q8_0", "f16", "f32"),
    ("cpu", "pi5", "jetson"),
    make,
)
