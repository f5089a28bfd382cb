"""Questions about what was just heard, from any thread while the line listens: a second context of the language model answers them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

from edge import captioner as captioning
from edge.admission import admit
from edge.ask import Clip, Questions
from edge.bundle import Bundle
from edge.config import Config
from edge.errors import EdgeError, NoAnswerError
from edge.memory import Memory
from edge.types import Answer, Encoding, TextModel


class Recall:
    """memory: of the stream that runs or ran last, None before. One question at a time: further threads wait for their turn."""

    def __init__(self, bundle: Bundle, options: Config) -> None:
        self._bundle, self._options = bundle, options
        self.memory: Memory | None = None
        self._model: TextModel | None = None
        self._questions: Questions | None = None
        self._turn = threading.Lock()
        self._closed = False

    def newest(self, question: str, last_s: float) -> Answer:
        """About the newest turn of the last seconds; the span counts from the stream's beginning. Raises: as Line.recall."""
        with self._turn:
            return self._answer(question, *self._kept(question).newest(last_s))

    def through(self, question: str, last_s: float) -> Iterator[Answer]:
        """The same of each turn of the last seconds, the oldest first; one of which the model says nothing has an answer without text.

        Raises: as Line.recall.
        """
        with self._turn:
            turns = self._kept(question).turns(last_s)
        for start, heard in turns:
            with self._turn:
                try:
                    answer = self._answer(question, start, heard)
                except NoAnswerError:
                    answer = Answer("", start, start + heard.stop)
            yield answer  # outside: whoever takes it may ask again, or close

    def _kept(self, question: str) -> Memory:
        self._load().admit(question)
        if self.memory is None:
            raise EdgeError("nothing has been heard yet; ask while the line listens, or name a file")
        return self.memory

    def _load(self) -> Questions:
        if self._closed:
            raise ValueError("this line is closed; load it again")
        if self._questions is None:
            admit([self._bundle], self._options.memory_mb, again=True)
            self._model = captioning.load_model(self._bundle, self._options.threads)
            self._questions = Questions(self._bundle, self._model, lambda: None, self._options.think_tokens)
        return self._questions

    def _answer(self, question: str, start: int, heard: Encoding) -> Answer:
        answer = Clip(self._load(), heard).ask(question)
        return replace(answer, start=start + answer.start, stop=start + answer.stop)

    def close(self) -> None:
        """Waits for the question that is being answered, and frees the model; may be called twice."""
        with self._turn:
            self._closed = True
            if self._model is not None:
                self._model.close()
            self._model = self._questions = None
