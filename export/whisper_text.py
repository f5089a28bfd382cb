"""How a Whisper's text begins and ends, from its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from export.recipes.recipe import BuildError, Work

MULTILINGUAL = 51_865
"""Tokens of the smallest vocabulary with languages; those that know English only have one less."""


def alignment_heads(work: Work) -> list[tuple[int, int]]:
    """(layer, head) of those that follow the words, from generation_config.json; none where it names none. Raises: BuildError."""
    found = work.json("generation_config.json", optional=True).get("alignment_heads") or []
    layers, heads = work.setting("decoder_layers"), work.setting("decoder_attention_heads")
    try:
        pairs = [(int(layer), int(head)) for layer, head in found]
        if not all(0 <= layer < layers and 0 <= head < heads for layer, head in pairs):
            raise ValueError("there are no such heads")
    except (TypeError, ValueError) as error:
        raise BuildError(f"{work.source}: generation_config.json: alignment_heads cannot be read ({error}); leave them out") from None
    return pairs


def _spoken(work: Work, generation: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Tokens of languages ("<|en|>") and tasks ("transcribe"); none of one that knows English only.

    Old files, and many of those that were fine-tuned, do not list them: their tokenizer has them.
    """
    languages, tasks = dict(generation.get("lang_to_id") or {}), dict(generation.get("task_to_id") or {})
    if (languages and tasks) or work.setting("vocab_size") < MULTILINGUAL or generation.get("is_multilingual") is False:
        return languages, tasks
    added = _added(work)
    languages = languages or {name: id for name, id in added.items() if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)}
    return languages, tasks or {task: added[name] for task in ("transcribe", "translate") if (name := f"<|{task}|>") in added}


def _added(work: Work) -> dict[str, int]:
    return {entry["content"]: entry["id"] for entry in work.json("tokenizer.json", optional=True).get("added_tokens", [])}


def text_of(work: Work) -> dict[str, Any]:
    """The manifest's `caption`: how a text begins and ends and what may not be said, from generation_config.json. Raises: BuildError."""
    generation = work.json("generation_config.json", optional=True)
    start = generation.get("decoder_start_token_id") or work.setting("decoder_start_token_id")
    prompt = [start]
    languages, tasks = _spoken(work, generation)
    language = work.options.get("language", "en")
    if not languages and language != "en":
        raise BuildError(f"{work.source}: it knows English only, not {language!r}; leave --language out")
    if languages:
        if f"<|{language}|>" not in languages:
            raise BuildError(f"{work.source}: it does not know the language {language!r}; it knows {', '.join(k[2:-2] for k in languages)}")
        if "transcribe" not in tasks:
            raise BuildError(f"{work.source}: neither generation_config.json nor tokenizer.json has <|transcribe|>; fetch the model again")
        prompt += [languages[f"<|{language}|>"], tasks["transcribe"]]
    timeless = generation.get("no_timestamps_token_id")
    if timeless is None and languages and "lang_to_id" not in generation:  # old files list neither
        timeless = _added(work).get("<|notimestamps|>")
    if timeless is not None:
        prompt.append(timeless)
    ends = generation.get("eos_token_id") or work.setting("eos_token_id")
    return {
        "prompt_ids": prompt,
        "end_ids": ends if isinstance(ends, list) else [ends],
        "never_ids": [i for i in generation.get("suppress_tokens") or [] if i >= 0],
        "never_first_ids": generation.get("begin_suppress_tokens") or [],
        "limit_tokens": min(224, work.setting("max_target_positions") - len(prompt) - 1),
        "positions": work.setting("max_target_positions"),
        **({"languages": {name[2:-2]: id for name, id in languages.items()}, "tasks": tasks} if languages else {}),
        **_named(work),
    }


def _named(work: Work) -> dict[str, int]:
    """no_speech_id: the token by which the model says that nobody speaks, by either of its names; previous_id: the one before what was said
    earlier. Nothing where it has none.
    """
    tokens = {entry.get("content"): entry.get("id") for entry in work.json("tokenizer.json", optional=True).get("added_tokens") or []}
    names = {"no_speech_id": ("<|nospeech|>", "<|nocaptions|>"), "previous_id": ("<|startofprev|>",)}
    found = {key: [tokens[name] for name in known if name in tokens] for key, known in names.items()}
    return {key: ids[0] for key, ids in found.items() if ids}
