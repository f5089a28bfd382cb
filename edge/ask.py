"""Questions about a clip: its rows stay in the language model, each question or text to be judged stands behind them.

A question is data: it takes its place in the bundle's prompt, and nothing in it can be read as one of the model's special tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from edge.bundle import Bundle
from edge.errors import AudioError, BundleError, EdgeError
from edge.ring import blocks
from edge.types import Answer, AudioBlock, Encoding, Gap, Samples, Source, TextModel

Audible = Source | Samples
"""A source that ends, or float32[n], mono, 16 kHz, in [-1, 1]."""
QUESTION_CHARACTERS = 800
"""What is longer is cut off: a question shares the context with the audio."""
SLOT = "{question}"
PIECE = 4096
"""Samples that are taken from a clip at a time; changes nothing else."""
# Special tokens are written <...>; without its brackets a name is text like any other.
_NO_BRACKETS = str.maketrans("", "", "<>")


def plain(question: str) -> str:
    """The question as it is put: without `<` and `>`, one space between words, at most 800 characters.

    Raises: TypeError unless it is text; ValueError where nothing is left.
    """
    if not isinstance(question, str):
        raise TypeError(f"a question is text, not {type(question).__name__}")
    # Half of a surrogate pair (from a command line that is no UTF-8) cannot be written.
    text = question.encode("utf-8", "replace").decode().translate(_NO_BRACKETS)
    text = " ".join(text.split())[:QUESTION_CHARACTERS].rstrip()
    if not text:
        raise ValueError("the question is empty; ask in a few words, such as 'What is heard?'")
    return text


def pieces(source: Audible) -> Iterator[Samples]:
    """All audio, float32[<= PIECE] at a time; what was lost is silent.

    Raises: TypeError or ValueError for an array of another kind; what source.fill raises.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.float32:
            raise TypeError(f"samples are float32, mono, 16 kHz, not {source.dtype}")
        if source.ndim != 1:
            raise ValueError(f"samples have the shape {source.shape}, expected [n]: one channel")
        if not np.isfinite(source).all():
            raise ValueError("some samples are not numbers (NaN or infinite)")
        whole = np.ascontiguousarray(source)
        yield from (whole[start : start + PIECE] for start in range(0, len(whole), PIECE))
        return
    for item in blocks(source, PIECE):
        if isinstance(item, AudioBlock):
            yield item.samples
        elif isinstance(item, Gap):
            yield from (np.zeros(min(PIECE, item.stop - start), np.float32) for start in range(item.start, item.stop, PIECE))


class Questions:
    """A bundle's prompts for clips and its language model, which keeps the rows of one clip at a time. Main thread only.

    free: raises ValueError while the model serves something else. Raises: BundleError when the `caption` table does not fit.
    """

    def __init__(self, bundle: Bundle, model: TextModel, free: Callable[[], None]) -> None:
        shape = bundle.caption
        self._where = f"bundle {bundle.name}"
        self._model, self._free = model, free
        self._context = shape.integer("context", 16, 1 << 20)
        self._limit = shape.integer("limit_tokens", 1, 4096)
        self._before = len(model.tokenize(shape.text("before", "", empty=True)))
        prompt = shape.text("prompt")
        self._prompts = {"prompt": model.tokenize(prompt), "final": model.tokenize(shape.text("final_prompt", prompt))}
        self._answer_tokens = shape.integer("ask_tokens", 1, 4096, 48)
        self._frame: list[str] = []
        """What stands before and behind the question; empty where the bundle answers none."""
        self._held: tuple[Clip, int] | None = None
        """The clip whose rows are the model's prefix, and the first of them."""
        if "ask_prompt" in shape:
            self._frame = shape.text("ask_prompt").split(SLOT)
            if len(self._frame) != 2:
                shape.refuse("ask_prompt", f"text that holds {SLOT} exactly once")
            if self._room("?") < 1:
                raise BundleError(
                    f"{self._where}: a context of {self._context} has no room for audio beside ask_prompt and {self._answer_tokens} tokens "
                    "of answer; repair the manifest or export it again"
                )

    def _room(self, question: str) -> int:
        return self._context - self._before - self._answer_tokens - len(self._model.tokenize(question.join(self._frame)))

    def admit(self, question: str) -> str:
        """The question as it is put. Raises: ValueError, TypeError for none; BundleError where the bundle answers none; EdgeError."""
        text = plain(question)
        if not self._frame:
            raise BundleError(f"{self._where} answers no questions; choose one whose manifest has an ask_prompt in `caption`")
        if self._room(text) < 1:
            raise EdgeError(f"{self._where}: a question of {len(text)} characters leaves no room for audio; ask in fewer words")
        return text

    def answer(self, clip: Clip, question: str) -> Answer:
        """The greedy answer. Raises: as admit(); EdgeError when the model says nothing."""
        self._free()
        text = self.admit(question)
        first = self._hold(clip, self._room(text))
        tokens = self._model.decode(self._model.tokenize(text.join(self._frame)), [], 0, self._answer_tokens)
        said = self._model.detokenize(tokens).strip()
        if not said:
            raise EdgeError(f"the model gave no answer to {text!r}; ask in other words")
        return Answer(said, first * clip.hop, clip.stop)

    def score(self, clip: Clip, text: str, prompt: str) -> float:
        """See Clip.score."""
        self._free()
        if prompt not in self._prompts:
            raise ValueError(f"prompt is {prompt!r}, but must be one of {', '.join(self._prompts)}")
        tokens, before = self._model.tokenize(text), self._prompts[prompt]
        longest = max(len(tokens) for tokens in self._prompts.values())
        # The rows that a caption would rest on, so that texts of different lengths are judged by the same audio.
        context = self._context - self._before
        room = min(context - self._limit - longest, context - len(before) - len(tokens))
        if room < 1:
            raise ValueError(f"a text of {len(tokens)} tokens leaves no room for audio in a context of {self._context}")
        self._hold(clip, room)
        return self._model.score(before, tokens)

    def _hold(self, clip: Clip, most: int) -> int:
        """Makes the clip's last rows, at most `most`, the model's prefix, unless they are; the first of them."""
        first = max(0, len(clip.rows) - most)
        if self._held != (clip, first):
            self._held = None
            self._model.reset()
            self._model.extend(clip.rows[first:])
            self._held = (clip, first)
        return first

    def forget(self) -> None:
        """Somebody else fills the model from here on."""
        self._held = None


class Clip:
    """A clip that was encoded once, to be asked about as often as wanted while its line is open and runs no stream. Main thread only.

    rows: float32[T, D], T >= 1, one for each `hop` samples. stop: samples in the clip.
    """

    def __init__(self, questions: Questions, encoding: Encoding) -> None:
        """Raises: AudioError when nothing was encoded."""
        if not len(encoding.vectors):
            raise AudioError("the clip holds no audio; record or copy it again")
        self._questions = questions
        self.rows, self.hop, self.stop = encoding.vectors, encoding.hop, encoding.stop

    def ask(self, question: str) -> Answer:
        """The answer, and the span that it rests on: the whole clip, or the last part of it where the context holds no more.

        Raises: ValueError for an empty question, or while the line is closed or runs a stream; BundleError when the bundle answers no
        questions; EdgeError when there is no answer.
        """
        return self._questions.answer(self, question)

    def score(self, text: str, prompt: Literal["final", "prompt"] = "final") -> float:
        """Natural-log probability of `text` as the whole caption of the clip, its end included, behind final_prompt or prompt.

        Of a clip longer than the context holds, its last part counts. Raises: ValueError for a text that does not fit, another prompt,
        or while the line is closed or runs a stream.
        """
        return self._questions.score(self, text, prompt)
