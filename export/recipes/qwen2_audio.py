"""Qwen2-Audio (Chu et al. 2024): tower and projector to ONNX, the Qwen2 inside to GGUF. Prompt: the published chat template."""

from __future__ import annotations

from export.audio_lm import Family, audio_lm_recipe
from export.prompts import Prompts

PROMPTS = Prompts(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nAudio 1: <|audio_bos|>",
    "<|audio_eos|>\n{question}<|im_end|>\n<|im_start|>assistant\n",
    again="<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
)

RECIPE = audio_lm_recipe(
    "qwen2-audio",
    "Qwen2-Audio: captions and questions about speech and sounds",
    Family("qwen2_audio", "Qwen2AudioForConditionalGeneration", PROMPTS),
)
