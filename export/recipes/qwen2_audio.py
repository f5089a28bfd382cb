"""Qwen2-Audio (Chu et al. 2024): tower and projector to ONNX, the Qwen2 inside to GGUF. Prompt: the published chat template."""

from __future__ import annotations

from typing import Any

from export.audio_lm import Prompts, make_audio_lm
from export.recipes.recipe import Recipe, Work

PROMPTS = Prompts(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nAudio 1: <|audio_bos|>",
    "<|audio_eos|>\n{question}<|im_end|>\n<|im_start|>assistant\n",
)


def make(work: Work) -> dict[str, Any]:
    from transformers import Qwen2AudioForConditionalGeneration

    return make_audio_lm(work, Qwen2AudioForConditionalGeneration, PROMPTS)


RECIPE = Recipe(
    "qwen2-audio",
    "Qwen2-Audio: captions and questions about speech and sounds",
    ("qwen2_audio",),
    ("int8", "fp32", "int4"),
    ("q4_k_m", "q8_0", "f16", "f32"),
    ("cpu", "pi5", "jetson"),
    make,
)
