"""What an encoder-decoder model is told before a text begins: which language, which task, what was said before.

Source: Radford et al. 2022 (Whisper), section 2.3: the multitask format of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.bundle import Bundle
from edge.errors import BundleError
from edge.table import Table
from edge.types import Samples

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """language: its code, "auto" to hear it in each turn, None for the one that the bundle was built with. translate: into English.

    carry_tokens: of what was said in the turn before, given to the model as what came earlier; 0 for none. beam: hypotheses that a final
    text is looked for with, 1 for greedy. word_times: a final text says when each of its words was said.
    """

    language: str | None = None
    translate: bool = False
    carry_tokens: int = 0
    beam: int = 1
    word_times: bool = False


def ids_of(table: Table, key: str, least: int) -> tuple[int, ...]:
    """Token ids of a manifest's `caption`, at least so many. Raises: BundleError."""
    return tuple(table.items_of(key, int, least, 4096))


class Prompt:
    """ids: tokens before a text, the one that begins it first. before: tokens of what was said earlier. heard: the language, where known.

    Raises: BundleError where the bundle knows no such language or task, or takes nothing earlier.
    """

    def __init__(self, bundle: Bundle, options: SpeechOptions) -> None:
        text = bundle.caption
        self.ids = list(ids_of(text, "prompt_ids", 1))
        self.before: list[int] = []
        self._languages = _named(text, "languages")
        self._tasks = _named(text, "tasks")
        self._auto = options.language == AUTO
        self._place = next((at for at, id in enumerate(self.ids) if id in self._languages.values()), None)
        self._set_language(options.language, bundle.name)
        if options.translate:
            if "translate" not in self._tasks:
                raise BundleError(f"bundle {bundle.name} does not translate; leave --translate out, or take a multilingual Whisper")
            self.ids = [self._tasks["translate"] if id == self._tasks.get("transcribe") else id for id in self.ids]
        self._previous = text.integer("previous_id", 0, 1 << 30) if "previous_id" in text else None
        if options.carry_tokens and self._previous is None:
            raise BundleError(f"bundle {bundle.name} takes no earlier text; leave --carry-tokens out, or take a Whisper")
        room = text.integer("positions", 2, 4096, 4096) - text.integer("limit_tokens", 1, 4096) - len(self.ids) - 1
        self._most = max(0, min(options.carry_tokens, room))

    def _set_language(self, language: str | None, name: str) -> None:
        if language is None or self._auto:
            if self._auto and self._place is None:
                raise BundleError(f"bundle {name} knows one language; leave --language out, or take a multilingual Whisper")
            return
        if self._place is None or language not in self._languages:
            known = ", ".join(sorted(self._languages)) or "the one it was built with"
            raise BundleError(f"bundle {name} does not know the language {language!a}; it knows {known}")
        self.ids[self._place] = self._languages[language]

    @property
    def heard(self) -> str:
        """Code of the language that the next text is told in; "" where the bundle knows one only."""
        if self._place is None:
            return ""
        return next(name for name, id in self._languages.items() if id == self.ids[self._place])

    def listen(self, logits: Callable[[Sequence[int]], Samples]) -> None:
        """Takes the likeliest language where it is to be heard. logits: behind each of some tokens, float32[n, vocabulary]."""
        if not self._auto or self._place is None:
            return
        behind = logits(self.ids[: self._place])[-1]
        self.ids[self._place] = max(self._languages.values(), key=lambda id: float(behind[id]))

    def carry(self, said: Sequence[int]) -> None:
        """Takes the last tokens of a text as what came earlier."""
        kept = list(said[max(0, len(said) - self._most) :]) if self._most else []
        self.before = [self._previous, *kept] if kept and self._previous is not None else []


def _named(text: Table, key: str) -> dict[str, int]:
    table = text.table(key, {})
    return {name: table.integer(name, 0, 1 << 30) for name in table}
