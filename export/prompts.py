"""What stands around the rows of audio in an audio language model's context, and how a manifest says it; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONTEXT, ANSWER_TOKENS = 4096, 128


@dataclass(frozen=True, slots=True)
class Prompts:
    """before, after: what stands in front of the audio's rows and behind them; after holds {question}. caption: its question.

    again: what stands around a further question behind an answer, "" where each is put by itself. thought: the marks around what a model
    thinks before it answers, such as ("<think>", "</think>").
    """

    before: str
    after: str
    caption: str = "Describe the sounds and the speech in one sentence."
    again: str = ""
    thought: tuple[str, str] | None = None


def captioned(prompts: Prompts, context: int) -> dict[str, Any]:
    """The manifest's `caption` for a model with these prompts and so many positions."""
    opened, closed = prompts.thought or ("", "")
    unthought = f"{opened}\n\n{closed}\n\n" if prompts.thought else ""  # a caption is never thought over
    return {
        "before": prompts.before,
        "prompt": prompts.after.replace("{question}", prompts.caption) + unthought,
        **({"again_prompt": prompts.again} if prompts.again else {}),
        **({"thought": {"open": opened, "close": closed}} if prompts.thought else {}),
        "ask_prompt": prompts.after,
        "limit_tokens": min(ANSWER_TOKENS, context // 4),
        "ask_tokens": min(ANSWER_TOKENS, context // 4),
        "context": context,
    }
