"""Audio Flamingo 3 (Goel et al. 2025): AF-Whisper tower and projector to ONNX, the Qwen2 inside to GGUF. Windows of 30 s."""

from __future__ import annotations

from typing import Any

from export.audio_lm import Prompts, make_audio_lm
from export.recipes.recipe import Recipe, Work

PROMPTS = Prompts(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "{question}<|im_end|>\n<|im_start|>assistant\n",
)


def make(work: Work) -> dict[str, Any]:
    from transformers import AudioFlamingo3ForConditionalGeneration

    return make_audio_lm(work, AudioFlamingo3ForConditionalGeneration, PROMPTS)


RECIPE = Recipe(
    "audio-flamingo-3",
    "Audio Flamingo 3: captions and questions about speech, sounds and music",
    ("audioflamingo3",),
    ("int8", "fp32", "int4"),
    ("q4_k_m", "q8_0", "f16", "f32"),
    ("cpu", "pi5", "jetson"),
    make,
)
