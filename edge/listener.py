"""`Listener`: the line for a Python program; records come as dicts, exactly as the JSON Lines contract has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edge.ask import Audible, Clip, plain
from edge.bundle import Bundle
from edge.config import Config
from edge.pipeline import Line
from edge.types import Samples, Source, Vitals

Recording = str | Path | Samples
"""A file, or float32[n], mono, 16 kHz, in [-1, 1]."""


class Hearing:
    """A clip that was heard, from `Listener.hear`; of use while its listener is open and runs no stream."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def ask(self, question: str, earlier: Sequence[dict[str, Any]] = (), tell: Callable[[str], None] | None = None) -> dict[str, Any]:
        """{"type": "answer", "question", "text", "start", "end"}: the question as it was put (one line, no special token, at most 800
        characters), the answer, and the seconds of the clip that it rests on: the last part where the context holds no more.

        earlier: answers to what was asked of this clip before, as they were returned, where the bundle takes further questions. tell: gets
        the answer so far whenever it has grown. Raises: ValueError for an empty question, after close() or while a stream runs;
        BundleError when the bundle answers no questions, or takes each by itself; EdgeError when the model gives no answer.
        """
        from edge.sinks.record import answer_as_dict

        said = [(str(answer["question"]), str(answer["text"])) for answer in earlier]
        return answer_as_dict(plain(question), self._clip.ask(question, said, tell), self._clip.parts)

    def ask_through(self, question: str, window_s: float = 30.0) -> Iterator[dict[str, Any]]:
        """Answers to the same question of one window of the clip after another, each with its span. Raises: as ask."""
        from edge.sinks.record import answer_as_dict

        for answer in self._clip.through(question, window_s):
            yield answer_as_dict(plain(question), answer)

    @property
    def sounds(self) -> list[dict[str, Any]]:
        """What sounded in the clip, by the encoder's labels alone: records of type "sound" with start and end, in order of onset."""
        from edge.sinks.record import as_dict

        return [as_dict(sound) for sound in self._clip.sounds]

    def score(self, text: str) -> float:
        """Natural-log probability of `text` as the final caption of the clip, <= 0. Raises: ValueError as ask(), or for a text too long."""
        return self._clip.score(text)


class Listener:
    """A bundle, loaded and ready to listen. Use it as a context manager; one stream at a time.

    bundle: a name that ships with auricle ("starter"), a folder or a tar. config: options, defaults where None.
    Raises: BundleError, BackendError.
    """

    def __init__(self, bundle: str | Path = "starter", config: Config | None = None) -> None:
        self._bundle = Bundle.open(bundle)
        try:
            self._line = Line(self._bundle, config)
        except BaseException:
            self._bundle.close()
            raise

    def listen(self, source: str | Path | Source | None = None, realtime: bool = False) -> Iterator[dict[str, Any]]:
        """Records of a file (as fast as it goes, or at the speed of real time), of a `Source`, or of the microphone (None).

        A microphone never ends: close the iterator, or leave the loop, to stop. Raises: AudioError; TypeError for another kind of source;
        ValueError after close() or while another stream runs.
        """
        if not (
            source is None or isinstance(source, str | Path) or all(hasattr(source, name) for name in ("ring", "fill", "events", "close"))
        ):
            raise TypeError(f"a source is a path, an edge.types.Source or None for the microphone, not {type(source).__name__}")
        return self._records(source, realtime)

    def _records(self, source: str | Path | Source | None, realtime: bool) -> Iterator[dict[str, Any]]:
        from edge.sinks.record import as_dict

        with closing(self._line.run(self._source(source, realtime))) as records:
            for record in records:
                if not isinstance(record, Vitals):
                    yield as_dict(record)

    def _source(self, source: str | Path | Source | None, realtime: bool) -> Source:
        if source is None:
            from edge.capture import Microphone

            return Microphone(self._line.options.device)
        if isinstance(source, str | Path):
            from edge.capture import AudioFile

            return AudioFile(source, realtime=realtime)
        return source

    def hear(self, source: Recording | Sequence[Recording]) -> Hearing:
        """A whole clip, encoded once, to be asked about. source: a file, or float32[n], mono, 16 kHz, in [-1, 1], or several of them, which
        are heard as one with a pause of a second between them ("Which is louder, the bark or the bell?").

        Raises: AudioError when there is no audio to be had; BundleError without a language model; TypeError for another kind of source;
        ValueError for samples that are not one channel of numbers, after close() or while a stream runs.
        """
        return Hearing(self._line.hear(self._clips(source)))

    def ask(self, question: str, source: Recording | Sequence[Recording] | None = None, last_s: float = 60.0) -> dict[str, Any]:
        """A question about a clip, or without one about what this listener has just heard: between two records of `listen`, or after it.

        A clip: `hear(source).ask(question)`, refused before anything is heard where the question is empty or the bundle answers none.
        None: the newest turn of the last `last_s` seconds (at most `memory_s` are kept, in memory only); start and end are seconds of the
        stream. The first such question loads the language model a second time, so that captions are not disturbed. Raises: as Hearing.ask;
        EdgeError when nothing is kept.
        """
        if source is None:
            from edge.sinks.record import answer_as_dict

            return answer_as_dict(plain(question), self._line.recall(question, last_s))
        return Hearing(self._line.hear(self._clips(source), question)).ask(question)

    def ask_through(self, question: str, last_s: float = 60.0) -> Iterator[dict[str, Any]]:
        """Answers to the same question of each turn that was heard in the last seconds, the oldest first. Raises: as ask."""
        from edge.sinks.record import answer_as_dict

        for answer in self._line.recall_through(question, last_s):
            yield answer_as_dict(plain(question), answer)

    def _clips(self, source: Recording | Sequence[Recording]) -> list[Audible]:
        if isinstance(source, str | Path | np.ndarray) or not isinstance(source, Sequence):
            return [self._clip(source)]
        return [self._clip(each) for each in source]

    @staticmethod
    def _clip(source: Recording) -> Audible:
        if isinstance(source, str | Path):
            from edge.capture import AudioFile

            return AudioFile(source)
        if not isinstance(source, np.ndarray):
            raise TypeError(f"a clip is a path or a float32 array of samples, not {type(source).__name__}")
        return source

    def close(self) -> None:
        """Frees the models; the listener is of no use afterwards."""
        self._line.close()
        self._bundle.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
