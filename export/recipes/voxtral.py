"""Voxtral (Liu et al. 2025): Whisper's tower over windows that are always full, four frames to a row, the Llama inside to GGUF.

A second of sound costs what 30 s cost: the tower was trained without masks. Prompt: mistral_common's, with the audio in front.
"""

from __future__ import annotations

from edge.features import HOP
from export.audio_lm import Family, audio_lm_recipe
from export.prompts import Prompts

PROMPTS = Prompts("<s>[INST][BEGIN_AUDIO]", "{question}[/INST]", again="</s>[INST]{question}[/INST]")

RECIPE = audio_lm_recipe(
    "voxtral",
    "Voxtral: speech and questions about it; every turn costs 30 s",
    Family("voxtral", "VoxtralForConditionalGeneration", PROMPTS, filled=True, row_hop=8 * HOP),
)
