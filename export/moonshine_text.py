"""What a manifest says of a Moonshine's windows and text, from the files beside its weights. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from export.alignment import alignment
from export.recipes.recipe import BuildError, Work

WINDOW_S = 30
LEAST_S = 0.1
"""The convolutions need 895 samples."""


def text_of(work: Work) -> dict[str, Any]:
    """The manifest's `caption`: one start token, one end token. Raises: BuildError."""
    if work.options.get("language", "en") != "en":
        raise BuildError(f"{work.source}: a Moonshine model knows the language it was trained for and takes no --language; leave it out")
    generation = work.json("generation_config.json", optional=True)
    ends = generation.get("eos_token_id") or work.setting("eos_token_id")
    return {
        "prompt_ids": [generation.get("decoder_start_token_id") or work.setting("decoder_start_token_id")],
        "end_ids": ends if isinstance(ends, list) else [ends],
        "limit_tokens": min(224, work.setting("max_position_embeddings") - 1),
    }


def aligned(layers: int, heads: int, outputs: Collection[str]) -> dict[str, Any]:
    """The manifest's alignment: words are followed by the mean of all heads. outputs: of the decoder."""
    return alignment([(layer, head) for layer in range(layers) for head in range(heads)], "rows", outputs)
