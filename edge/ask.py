"""Questions about a clip: its rows stay in the language model, each question or text to be judged stands behind them.

A question is data: it takes its place in the bundle's prompt, and nothing in it can be read as one of the model's special tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from edge.bundle import Bundle
from edge.errors import AudioError, BundleError, EdgeError, NoAnswerError
from edge.ring import blocks
from edge.thought import Thought
from edge.types import SAMPLE_RATE, Answer, AudioBlock, Encoding, Gap, Samples, Sound, Source, TextModel

Audible = Source | Samples
"""A source that ends, or float32[n], mono, 16 kHz, in [-1, 1]."""
QUESTION_CHARACTERS = 800
"""What is longer is cut off: a question shares the context with the audio."""
SLOT = "{question}"
PIECE = 4096
"""Samples that are taken from a clip at a time; changes nothing else."""
PAUSE_S = 1.0
"""Of silence between two clips that are heard as one."""
Said = tuple[str, str]
"""A question and what was answered."""
# Special tokens are written <...>, Mistral's [INST] or [control_8]; without its brackets a name is text like any other.
_NO_BRACKETS = str.maketrans("", "", "<>")
_NAMED = re.compile(r"\[(/?(?:[A-Z][A-Z0-9]*|[^\W_]*_\w*))\]")
_NESTED = 8
"""Brackets in brackets so deep are no text of anybody's, and looking on would take too long."""


def bare(text: str) -> str:
    """The text without what a tokenizer would take for one of its special tokens: `<`, `>`, and brackets around a NAME or a_name."""
    text = text.translate(_NO_BRACKETS)
    for _ in range(_NESTED):
        if text == (less := _NAMED.sub(r"\1", text)):
            return text
        text = less  # what stood around one may be another now
    return text.replace("[", "").replace("]", "")


def plain(question: str) -> str:
    """The question as it is put: `bare`, one space between words, at most 800 characters.

    Raises: TypeError unless it is text; ValueError where nothing is left.
    """
    if not isinstance(question, str):
        raise TypeError(f"a question is text, not {type(question).__name__}")
    # Half of a surrogate pair (from a command line that is no UTF-8) cannot be written.
    text = " ".join(bare(question.encode("utf-8", "replace").decode()).split())[:QUESTION_CHARACTERS].rstrip()
    if not text:
        raise ValueError("the question is empty; ask in a few words, such as 'What do you hear?'")
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


def joined(parts: Sequence[Audible], spans: list[tuple[int, int]]) -> Iterator[Samples]:
    """The audio of several clips with a pause between them. spans: gets [start, stop) of each, samples of the whole. Raises: as pieces."""
    at = 0
    for index, part in enumerate(parts):
        if index:
            pause = round(PAUSE_S * SAMPLE_RATE)
            yield np.zeros(pause, np.float32)
            at += pause
        start = at
        for samples in pieces(part):
            at += len(samples)
            yield samples
        if at == start:
            which = f" {getattr(part, 'name', f'number {index + 1}')}" if len(parts) > 1 else ""
            raise AudioError(f"the clip{which} holds no audio; record or copy it again")
        spans.append((start, at))


class Questions:
    """A bundle's prompts for clips and its language model, which keeps the rows of one clip at a time. Main thread only.

    free: raises ValueError while the model serves something else. think_tokens: that a model which thinks may think in before it answers.
    Raises: BundleError when the `caption` table does not fit.
    """

    def __init__(self, bundle: Bundle, model: TextModel, free: Callable[[], None], think_tokens: int = 0) -> None:
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
        self._again: list[str] = []
        """The same of a further question behind an answer; empty where each is put by itself."""
        self._thought = Thought(shape, model, think_tokens)
        self._held: tuple[Clip, int, int] | None = None
        """The clip whose rows are the model's prefix, the first of them and the one behind the last."""
        for key, frame in (("ask_prompt", self._frame), ("again_prompt", self._again)):
            if key in shape:
                frame += shape.text(key).split(SLOT)
                if len(frame) != 2:
                    shape.refuse(key, f"text that holds {SLOT} exactly once")
        if self._frame and self._room("?") < 1:
            raise BundleError(
                f"{self._where}: a context of {self._context} has no room for audio beside ask_prompt and {self._answer_tokens} tokens of "
                "answer; repair the manifest or export it again"
            )

    def _put(self, question: str, earlier: Sequence[Said]) -> str:
        """All that stands behind the rows: the questions so far with their answers, and this one."""
        text = ""
        for asked, said in earlier:
            text += plain(asked).join(self._again if text else self._frame) + bare(said)
        return text + question.join(self._again if text else self._frame)

    def _room(self, question: str, earlier: Sequence[Said] = ()) -> int:
        behind = len(self._model.tokenize(self._put(question, earlier))) + self._thought.tokens + self._answer_tokens
        return self._context - self._before - behind

    def admit(self, question: str, earlier: Sequence[Said] = ()) -> str:
        """The question as it is put. Raises: ValueError, TypeError for none; BundleError where the bundle answers none; EdgeError."""
        text = plain(question)
        if not self._frame:
            raise BundleError(f"{self._where} answers no questions; choose one whose manifest has an ask_prompt in `caption`")
        if earlier and not self._again:
            raise BundleError(f"{self._where} takes each question by itself; ask it without the earlier ones")
        if self._room(text, earlier) < 1:
            behind = f" behind {len(earlier)} earlier ones" if earlier else ""
            remedy = "ask in fewer words" + (", or leave some of the earlier ones out" if earlier else "")
            raise EdgeError(f"{self._where}: a question of {len(text)} characters{behind} leaves no room for audio; {remedy}")
        return text

    def answer(
        self,
        clip: Clip,
        question: str,
        earlier: Sequence[Said] = (),
        tell: Callable[[str], None] | None = None,
        rows: tuple[int, int] | None = None,
    ) -> Answer:
        """The greedy answer. rows: of the clip, usually its last ones that fit. tell: gets the answer so far whenever it has grown.

        Raises: as admit(); EdgeError when the model says nothing.
        """
        self._free()
        text = self.admit(question, earlier)
        room = self._room(text, earlier)
        first, stop = rows or (max(0, len(clip.rows) - room), len(clip.rows))
        first = max(first, stop - room)
        self._hold(clip, first, stop)
        prompt = self._model.tokenize(self._put(text, earlier))
        prompt += self._thought.over(prompt)

        def grown(tokens: Sequence[int]) -> None:
            if tell is not None:
                tell(self._model.detokenize(tokens).lstrip())

        tokens = self._model.decode(prompt, [], 0, self._answer_tokens, grown if tell is not None else None)
        said = self._model.detokenize(tokens).strip()
        if not said:
            raise NoAnswerError(f"the model gave no answer to {text!r}; ask in other words")
        return Answer(said, first * clip.hop, clip.stop if stop == len(clip.rows) else stop * clip.hop, self._thought.text)

    def windows(self, clip: Clip, question: str, window_s: float) -> list[tuple[int, int]]:
        """Rows of the clip in even windows of at most so many seconds, and no longer than the context holds."""
        most = max(1, min(self._room(self.admit(question)), int(window_s * SAMPLE_RATE / clip.hop)))
        count = -(-len(clip.rows) // most)
        edges = [len(clip.rows) * at // count for at in range(count + 1)]
        return list(pairwise(edges))

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
        self._hold(clip, max(0, len(clip.rows) - room), len(clip.rows))
        return self._model.score(before, tokens)

    def _hold(self, clip: Clip, first: int, stop: int) -> None:
        """Makes these rows of the clip the model's prefix, unless they are."""
        if self._held != (clip, first, stop):
            self._held = None
            self._model.reset()
            self._model.extend(clip.rows[first:stop])
            self._held = (clip, first, stop)

    def forget(self) -> None:
        """Somebody else fills the model from here on."""
        self._held = None


class Clip:
    """A clip that was encoded once, to be asked about as often as wanted while its line is open and runs no stream. Main thread only.

    rows: float32[T, D], T >= 1, one for each `hop` samples. stop: samples in the clip. parts: spans of the clips that it was joined from.
    sounds: what the encoder's labels tell of it, in order of onset.
    """

    def __init__(
        self, questions: Questions, encoding: Encoding, parts: Sequence[tuple[int, int]] = (), sounds: Sequence[Sound] = ()
    ) -> None:
        """Raises: AudioError when nothing was encoded."""
        if not len(encoding.vectors):
            raise AudioError("the clip holds no audio; record or copy it again")
        self._questions = questions
        self.rows, self.hop, self.stop = encoding.vectors, encoding.hop, encoding.stop
        self.parts, self.sounds = tuple(parts) or ((0, encoding.stop),), tuple(sounds)

    def ask(self, question: str, earlier: Sequence[Said] = (), tell: Callable[[str], None] | None = None) -> Answer:
        """The answer, and the span that it rests on: the whole clip, or the last part of it where the context holds no more.

        earlier: what was asked of the clip and answered before, for a bundle that takes further questions. tell: gets the answer so far
        whenever it has grown. Raises: ValueError for an empty question, or while the line is closed or runs a stream; BundleError when the
        bundle answers no questions, or takes each by itself; EdgeError when there is no answer.
        """
        return self._questions.answer(self, question, earlier, tell)

    def through(self, question: str, window_s: float = 30.0) -> Iterator[Answer]:
        """The same question of one window after another, so that a clip of any length is heard from its beginning.

        A window of which the model says nothing has an answer without text. Raises: as ask.
        """
        for rows in self._questions.windows(self, question, window_s):
            try:
                yield self._questions.answer(self, question, rows=rows)
            except NoAnswerError:
                yield Answer("", rows[0] * self.hop, self.stop if rows[1] == len(self.rows) else rows[1] * self.hop)

    def score(self, text: str, prompt: Literal["final", "prompt"] = "final") -> float:
        """Natural-log probability of `text` as the whole caption of the clip, its end included, behind final_prompt or prompt.

        Of a clip longer than the context holds, its last part counts. Raises: ValueError for a text that does not fit, another prompt,
        or while the line is closed or runs a stream.
        """
        return self._questions.score(self, text, prompt)
