"""Music Flamingo (Ghosh et al. 2025): Audio Flamingo 3's tower its rows turned by their time; the Qwen2 inside to GGUF."""

from __future__ import annotations

from export.audio_lm import Family, audio_lm_recipe
from export.prompts import Prompts

PROMPTS = Prompts(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|sound_bos|>",
    "<|sound_eos|>{question}<|im_end|>\n<|im_start|>assistant\n",
    "Describe this music in one sentence.",
    again="<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
)

RECIPE = audio_lm_recipe(
    "music-flamingo",
    "Music Flamingo: captions and questions about music",
    Family("musicflamingo", "MusicFlamingoForConditionalGeneration", PROMPTS, timed=True),
)
