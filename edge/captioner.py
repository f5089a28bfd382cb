"""Vectors -> text, incremental: rows of audio stay in the language model, each revision re-checks the last text and decodes only its tail.

What two revisions in a row agree on is committed (local agreement, Polák et al. 2022) and never changes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.bundle import Bundle
from edge.errors import BundleError
from edge.types import SAMPLE_RATE, Caption, Encoding, Meter, Samples, Sound, TextModel, Turn

RESUME_S = 1.0
"""A turn that begins within this after the last one, with no other label, goes on with the same sound."""


@dataclass(slots=True)
class Open:
    """The caption of the turn that is open."""

    turn: int
    rows: int = 0
    revision: int = 0
    caption_id: int = 0
    tokens: Sequence[int] = ()
    committed: int = 0
    """Leading tokens that are committed."""
    metered: int = 0
    """Samples of the turn that the meter has counted."""
    waiting: list[Samples] = field(default_factory=list)
    """Rows of views that were not captioned."""
    decoded: tuple[int, bool] = (0, False)
    """Rows behind which `tokens` were decoded, and whether with the final prompt."""


def load_model(bundle: Bundle, threads: int) -> TextModel:
    """The bundle's language model on the runtime that its manifest names, with the text that stands before the audio."""
    context, before = bundle.caption.integer("context", 16, 1 << 20), bundle.caption.text("before", "", empty=True)
    if bundle.model("captioner").runtime == "gguf":
        from edge.backends.llama import LlamaModel

        return LlamaModel(bundle.file("captioner"), context=context, threads=threads, before=before)
    raise BundleError(f"bundle {bundle.name}: its captioner is {bundle.model('captioner').runtime}; this version runs gguf captioners")


def revised(turn: Turn, tokens: Sequence[int], state: Open, detokenize: Callable[[Sequence[int]], str]) -> Caption:
    """The next revision of the open caption, with what it and the one before agree on committed. Changes `state`."""
    state.revision += 1
    if turn.final:
        state.committed = len(tokens)
    else:
        agreed = 0
        for old, new in zip(state.tokens, tokens, strict=False):
            if old != new:
                break
            agreed += 1
        state.committed = max(state.committed, _whole_words(tokens, agreed, detokenize))
    state.tokens = tokens
    committed = len(detokenize(tokens[: state.committed]))
    return Caption(state.caption_id, state.revision, turn.start, turn.stop, detokenize(tokens), committed, turn.final)


def _whole_words(tokens: Sequence[int], count: int, detokenize: Callable[[Sequence[int]], str]) -> int:
    """The most leading tokens, at most `count`, after which a word has ended and no sentence has: its stop may still become a comma."""
    whole = detokenize(tokens)
    while count > 0:
        text = detokenize(tokens[:count])
        following = whole[len(text) : len(text) + 1]
        if text and text[-1].isalnum() and not following.isalnum():
            return count
        count -= 1
    return 0


class Captioner:
    """Captions of one stream. Main thread only.

    remind_s: a sound that only goes on is captioned again after this long.
    """

    def __init__(self, bundle: Bundle, remind_s: float = 60.0, threads: int = 1, model: TextModel | None = None) -> None:
        shape = bundle.caption
        context = shape.integer("context", 16, 1 << 20)
        self._limit = shape.integer("limit_tokens", 1, 4096)
        self._unspoken = frozenset(shape.items_of("unspoken", str, 0, 4096)) if "unspoken" in shape else frozenset()
        """Labels that are told as sounds but are nothing to caption (noise)."""
        prompt = shape.text("prompt")
        final_prompt = shape.text("final_prompt", prompt)
        self._model = model if model is not None else load_model(bundle, threads)
        self._prompt, self._final_prompt = self._model.tokenize(prompt), self._model.tokenize(final_prompt)
        before = len(self._model.tokenize(shape.text("before", "", empty=True)))
        self.rows_held = context - before - self._limit - max(len(self._prompt), len(self._final_prompt))
        """Rows of audio that fit beside the text; of a longer turn the rest is not heard."""
        self._whole = bundle.encoder.text("kind", "streaming") == "whole"
        """Each encoding has all rows of the turn, and none of those before hold."""
        self._labelled = bool(bundle.labels)
        """Without labels the open gate is all the evidence there is."""
        spoken = bool(self._prompt and self._final_prompt)
        if not spoken or self.rows_held < 1:
            if model is None:
                self._model.close()
            fault = (
                f"a context of {context} has no room for audio beside prompt and {self._limit} tokens of text"
                if spoken
                else "its caption prompt has no tokens"
            )
            raise BundleError(f"bundle {bundle.name}: {fault}; repair the manifest or export it again")
        self._remind = int(remind_s * SAMPLE_RATE)
        self._open = Open(turn=0)
        self._next_id = 1
        self._told: frozenset[int] = frozenset()
        """Ids of the sounds that the last caption was about."""
        self._told_labels: frozenset[str] = frozenset()
        self._told_at = -int(RESUME_S * SAMPLE_RATE) - 1
        self.meter = Meter()

    def revise(self, turn: Turn, encoding: Encoding, sounds: Sequence[Sound]) -> Caption | None:
        """Takes the new rows; the next revision, or None while there is nothing to say.

        sounds: every sound heard in the turn so far. Where the bundle has labels nothing is decoded without any: it would be invented.
        A sound that began in an earlier turn and only goes on is not captioned again before `remind_s`.
        """
        cpu = time.thread_time()
        try:
            return self._revise(turn, encoding, [sound for sound in sounds if sound.label not in self._unspoken])
        finally:
            self.meter.cpu_s += time.thread_time() - cpu

    def wait(self, turn: Turn, encoding: Encoding) -> None:
        """Takes the rows of a view for which there is no time; the next `revise` of the turn has them."""
        if turn.id != self._open.turn:
            self._model.reset()
            self._open = Open(turn=turn.id)
        if not self._whole:
            self._open.waiting.append(encoding.vectors)

    def _revise(self, turn: Turn, encoding: Encoding, sounds: Sequence[Sound]) -> Caption | None:
        state = self._open
        if turn.id != state.turn:
            self._model.reset()
            state = self._open = Open(turn=turn.id)
        if self._whole and len(encoding.vectors):
            self._model.reset()
            self._model.extend(encoding.vectors[: self.rows_held])
            state.rows = len(encoding.vectors)
        for rows in (*state.waiting, encoding.vectors) if not self._whole else ():
            # Row by row, so that the cache holds the same numbers however the audio was cut into hops.
            for row in rows[: self.rows_held - state.rows]:
                self._model.extend(row[None])
                state.rows += 1
        state.waiting.clear()
        if state.rows == 0 or (self._labelled and (not sounds or (state.revision == 0 and not self._new(turn, sounds)))):
            return None
        behind = state.rows, turn.final and self._final_prompt != self._prompt
        tokens = state.tokens
        if behind != state.decoded or self._whole:  # nothing new to rest on: the model would say the same
            prompt = self._final_prompt if turn.final else self._prompt
            tokens = self._model.decode(prompt, state.tokens, state.committed, self._limit)
            state.decoded = behind
        if state.revision == 0:
            state.caption_id, self._next_id = self._next_id, self._next_id + 1
        caption = revised(turn, tokens, state, self._model.detokenize)
        self._told, self._told_labels, self._told_at = frozenset(s.id for s in sounds), frozenset(s.label for s in sounds), turn.stop
        self.meter.calls += 1
        self.meter.samples += turn.stop - turn.start - state.metered
        state.metered = turn.stop - turn.start
        return caption

    def _new(self, turn: Turn, sounds: Sequence[Sound]) -> bool:
        """Something to say: a sound that the last caption was not about, or the reminder is due.

        A gate that closes on a steady sound and opens on it again within a second tells nothing new by it.
        """
        if turn.stop - self._told_at >= self._remind:
            return True
        same = {s.id for s in sounds} <= self._told
        resumed = turn.start - self._told_at <= RESUME_S * SAMPLE_RATE and {s.label for s in sounds} <= self._told_labels
        return not same and not resumed

    def close(self) -> None:
        """Frees the language model."""
        self._model.close()
