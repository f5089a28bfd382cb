"""Audio Flamingo 3 (Goel et al. 2025): AF-Whisper tower and projector to ONNX, the Qwen2 inside to GGUF. Windows of 30 s."""

from __future__ import annotations

from export.audio_lm import Family, audio_lm_recipe
from export.prompts import Prompts

PROMPTS = Prompts(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "{question}<|im_end|>\n<|im_start|>assistant\n",
    again="<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
)

RECIPE = audio_lm_recipe(
    "audio-flamingo-3",
    "Audio Flamingo 3: captions and questions about speech, sounds and music",
    Family("audioflamingo3", "AudioFlamingo3ForConditionalGeneration", PROMPTS),
)
