"""Models that think before they answer: off unless asked for, and then within a budget of tokens.

Off, the thought is closed before it begins, as Qwen3's own template does with enable_thinking=False; over its budget it is closed for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.table import Table
from edge.types import TextModel

BREAK = "\n\n"


class Thought:
    """shape: a manifest's `caption`, whose table `thought` holds `open` and `close`, such as <think> and </think>; else nothing is done."""

    def __init__(self, shape: Table, model: TextModel, budget: int = 0) -> None:
        self._model, self._budget = model, budget
        self.text = ""
        """What was thought before the last answer; "" for nothing."""
        self._open: list[int] = []
        if "thought" not in shape:
            self.tokens = 0
            return
        marks = shape.table("thought")
        opening, closing = marks.text("open"), marks.text("close")
        self._open = model.tokenize(f"{opening}\n")
        self._close, self._closed = model.tokenize(closing), model.tokenize(f"{closing}{BREAK}")
        self._none = model.tokenize(f"{opening}{BREAK}{closing}{BREAK}")
        self.tokens = max(len(self._none), len(self._open) + budget + len(self._closed))
        """Positions that a thought may take between a question and its answer."""

    def over(self, prompt: Sequence[int]) -> list[int]:
        """Tokens from the end of the prompt to the beginning of the answer: a thought, or none."""
        self.text = ""
        if not self._open:
            return []
        if not self._budget:
            return self._none
        thought = self._model.decode([*prompt, *self._open], [], 0, self._budget)
        end = next((at for at in range(len(thought)) if thought[at : at + len(self._close)] == self._close), len(thought))
        self.text = self._model.detokenize(thought[:end]).strip()
        return [*self._open, *thought[:end], *self._closed]
