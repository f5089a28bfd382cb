"""The straight line: blocks -> gate -> encoder -> sounds and captions, pulled by whoever wants records.

Offline it is one thread. Live, what precedes the encoder runs in a listen thread and `ahead` joins the two by one bounded
queue in which a newer view of an open turn replaces an older one; the functions, and so the captions, are the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np

from edge import captioner as captioning
from edge import encoder as encoding
from edge import transcriber as transcribing
from edge.admission import admit
from edge.ahead import Backlog, Event, Heard, ahead
from edge.ask import Audible, Clip, Questions, joined
from edge.bundle import Bundle
from edge.captioner import Captioner
from edge.config import Config
from edge.encoder import AudioEncoder
from edge.errors import BackendError, BundleError
from edge.gate import Gate
from edge.memory import Memory
from edge.recall import Recall
from edge.ring import blocks
from edge.sounds import SoundTracker, options_of
from edge.speech_prompt import SpeechOptions
from edge.telling import AnyCaptioner, Condition, Telling
from edge.time_line import TimeLine
from edge.transcriber import Transcriber
from edge.types import (
    SAMPLE_RATE,
    Answer,
    AudioBlock,
    Meter,
    Record,
    Session,
    Source,
    TensorModel,
    TextModel,
    Vitals,
)
from edge.vad import Silero

LOOK_S = 0.16
"""How often a live stream's open turn is looked at for sounds alone: half of the starter's chunk."""
OFFLINE_BLOCK = 4096
"""Samples in a block where nobody waits for them; larger blocks cost less per sample, and change nothing else."""


def listen(source: Source, gate: Gate, block_size: int) -> Generator[Heard, None, None]:
    """The lower stairs: everything that the gate makes of the source, gaps and device changes in their places."""
    for item in blocks(source, block_size):
        now = time.monotonic()
        if isinstance(item, AudioBlock):
            events: Iterator[Event] = gate.push(item)
        else:
            # Whatever was open cannot go on across a hole; its final comes before the record of the hole.
            events = iter([*gate.interrupt(), item])
        for event in events:
            yield Heard(event, now)
    now = time.monotonic()
    for event in gate.finish():
        yield Heard(event, now)


class Line:
    """Everything loaded for one bundle; `run` may be called for one source after another.

    options: as read by edge.config. Raises: EdgeError when a part of the bundle or a backend cannot be loaded, or they do not fit together.
    """

    def __init__(self, bundle: Bundle, options: Config | None = None) -> None:
        self.bundle, self.options = bundle, options or Config()
        self.meters: dict[str, Meter] = {}
        self.notices: list[str] = []
        """How this line differs from what was asked for, one sentence each."""
        self._running = self._closed = False
        self.encoder_model: TensorModel
        self.text_model: TextModel | None = None
        self.decoder_model: TensorModel | None = None
        """Of a bundle that transcribes."""
        self._speech: Bundle | None = None
        self.speech_models: tuple[TensorModel, TensorModel] | None = None
        """Of a second bundle, which transcribes."""
        self._questions: Questions | None = None
        self._recall = Recall(bundle, self.options)
        try:
            self._load()
            self.sound_options = options_of(bundle.sounds)
            self._check()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        bundle, options = self.bundle, self.options
        self._speech = self._open_speech()
        admit([bundle] if self._speech is None else [bundle, self._speech], options.memory_mb)
        cores = len(os.sched_getaffinity(0))
        if options.threads > cores:
            self.notices.append(f"{options.threads} threads share {cores} cores: fewer are faster; set threads to {cores}")
        if self._speech is None and not bundle.has("decoder") and self._spoken() != SpeechOptions():
            self.notices.append(
                f"language, translate, carry_tokens, beam and word_times do nothing: {bundle.name} tells no words; add --speech"
            )
        self._silero = Silero()
        how = options.threads, options.providers_asked(), options.strict
        if bundle.has("decoder"):
            self.encoder_model, self.decoder_model = transcribing.load_models(bundle, *how)
        else:
            self.encoder_model = encoding.load_model(bundle, *how)
        if bundle.has("captioner"):
            self.text_model = captioning.load_model(bundle, options.threads)
        if self._speech is not None:
            self.speech_models = transcribing.load_models(self._speech, *how)
            Transcriber(self._speech, self.speech_models, self._spoken()).check()

    def _spoken(self) -> SpeechOptions:
        options = self.options
        return SpeechOptions(options.language, options.translate, options.carry_tokens, options.beam, options.word_times)

    def _open_speech(self) -> Bundle | None:
        if self.options.speech is None:
            return None
        if self.bundle.has("decoder"):
            raise BundleError(f"bundle {self.bundle.name} transcribes by itself; leave --speech out, or take a --bundle that hears sounds")
        second = Bundle.open(self.options.speech)
        if not second.has("decoder"):
            second.close()
            raise BundleError(f"bundle {second.name} does not transcribe; name one for --speech that does (Whisper, Moonshine)")
        return second

    def _hears_sounds(self) -> bool:
        """Whether a look between two hops is worth it: where the encoder tells sounds and takes only what is new."""
        return bool(self.bundle.labels) and self.decoder_model is None and self.bundle.encoder.text("kind", "streaming") != "whole"

    def _row_samples(self) -> int:
        key = "hop" if self.bundle.encoder.text("kind", "streaming") == "windows" else "vector_hop"
        return self.bundle.encoder.integer(key, 1, 60 * SAMPLE_RATE)

    def _hold_turns_short(self, capacity: int) -> None:
        """Turns are cut where the language model's context ends, as at the longest turn, so that nothing of them goes unheard."""
        gate = self.options.gate
        if gate.max_turn_s * SAMPLE_RATE > capacity:
            longest_s = capacity / SAMPLE_RATE
            try:
                self.options = replace(self.options, gate=replace(gate, max_turn_s=longest_s))
            except ValueError as error:
                raise BundleError(
                    f"bundle {self.bundle.name}: its language model's context holds {longest_s:.1f} s of audio, too little for these gate "
                    f"settings ({error}); lower hop_s, or export it with a longer context"
                ) from None
            self.notices.append(f"turns are cut at {longest_s:.1f} s: more does not fit into the context of bundle {self.bundle.name}")

    def _check(self) -> None:
        """The parts are put together once, so that a bundle that does not fit is refused before anything is heard."""
        encoder = self.upper_stairs()[0]
        if isinstance(encoder, Transcriber):
            encoder.check()
        try:
            SoundTracker(encoder.labels, self.sound_options)
        except ValueError as error:
            raise BundleError(f"bundle {self.bundle.name}: {error}; repair the manifest") from None
        if self.text_model is not None:
            self._hold_turns_short(Captioner(self.bundle, model=self.text_model).rows_held * self._row_samples())
            self._questions = Questions(self.bundle, self.text_model, self._need_free, self.options.think_tokens)
            width = self.encoder_model.outputs["vectors"][1][-1] if "vectors" in self.encoder_model.outputs else None
            if width != self.text_model.width:
                raise BackendError(
                    f"bundle {self.bundle.name}: the encoder's rows have {width} values, the language model takes {self.text_model.width}; "
                    "export both again"
                )

    def upper_stairs(self) -> tuple[AudioEncoder, AnyCaptioner | None]:
        """Encoder and captioner of one stream; one and the same where the bundle transcribes."""
        if self.decoder_model is not None:
            transcriber = Transcriber(self.bundle, (self.encoder_model, self.decoder_model), self._spoken())
            return transcriber, transcriber
        encoder = encoding.open_encoder(self.bundle, self.encoder_model)
        if self._speech is not None and self.speech_models is not None:
            described = self.bundle.caption
            unspoken = described.items_of("unspoken", str, 0, 4096) if "unspoken" in described else ()
            return encoder, TimeLine(Transcriber(self._speech, self.speech_models, self._spoken()), unspoken, self.options.remind_s)
        if self.text_model is None:
            return encoder, None
        return encoder, Captioner(self.bundle, remind_s=self.options.remind_s, model=self.text_model)

    def run(self, source: Source) -> Generator[Record | Vitals, None, None]:
        """Records of one source, its Session first, in the order of the audio that they rest on. Closes the source, also when left early.

        Raises: ValueError after close() or while another stream runs; EdgeError.
        """
        with closing(source):
            self._need_free()
            self._running = True
            if self._questions is not None:
                self._questions.forget()
            try:
                self._silero.reset()
                gate = Gate(self._silero, self.options.gate, LOOK_S if source.live and self._hears_sounds() else 0.0)
                memory = self._recall.memory = Memory(self.options.memory_s, self.bundle.encoder.text("kind", "streaming") == "whole")
                tracker = SoundTracker(self.bundle.labels, self.sound_options)
                told = Telling(source, self.upper_stairs(), tracker, self.options, memory)
                self.meters = {**gate.meters, **told.meters}
                backlog = Backlog()
                begin_ns, options = source.anchor_ns, self.options
                condition = Condition(told, backlog, self.meters, options.status_s, options.gate.hop_s, begin_ns) if source.live else None
                yield Session(source.name, self.bundle.name, self.bundle.version, begin_ns)
                events = listen(source, gate, self.options.block_size or (512 if source.live else OFFLINE_BLOCK))
                with closing(ahead(events, backlog=backlog) if source.live else events) as heard_events:
                    for heard in heard_events:
                        yield from told.take(heard)
                        if condition is not None and (status := condition.after(heard)) is not None:
                            yield status
                yield from told.settle()
            finally:
                self._running = False

    def _need_free(self) -> None:
        if self._closed or self._running:
            raise ValueError("this line is closed; load it again" if self._closed else "this line is listening; close that stream first")

    def hear(self, source: Audible | Sequence[Audible], question: str | None = None) -> Clip:
        """The whole of a source that ends, or of float32[n] (mono, 16 kHz), encoded once, to be asked about. Closes the source.

        Several are heard as one, with a pause between them. question: one that must be admissible before anything is heard. Raises:
        ValueError as run(); TypeError or ValueError for an array of another kind; AudioError when there is no audio; BundleError when
        there is no language model; what Clip.ask raises.
        """
        sources: Sequence[Audible] = source if isinstance(source, Sequence) else [source]
        with ExitStack() as stack:
            for each in sources:
                if not isinstance(each, np.ndarray):
                    stack.callback(each.close)
            self._need_free()
            questions = self._answering()
            if question is not None:
                questions.admit(question)
            spans: list[tuple[int, int]] = []
            encoding = self.upper_stairs()[0].whole(joined(sources, spans))
            tracker = SoundTracker(self.bundle.labels, self.sound_options)
            sounds = [*tracker.extend(encoding), *tracker.close()] if len(encoding.scores) else []
            ended = sorted((sound for sound in sounds if sound.stop is not None), key=lambda sound: (sound.start, sound.id))
            return Clip(questions, encoding, spans, ended)

    def _answering(self) -> Questions:
        if self._closed:
            raise ValueError("this line is closed; load it again")
        if self._questions is None:
            raise BundleError(f"bundle {self.bundle.name} answers no questions; choose one that has a language model")
        return self._questions

    def ask(self, source: Audible, question: str) -> Answer:
        """`hear` and one question about it."""
        return self.hear(source, question).ask(question)

    def recall(self, question: str, last_s: float = 60.0) -> Answer:
        """A question about the newest turn that was heard in the last seconds, while a stream runs or after it. Any thread.

        Asked of a second context of the language model, so that captions are not disturbed. The answer's span counts from the stream's
        beginning. Raises: ValueError after close() or for no question; EdgeError when nothing is kept or the model says nothing;
        BundleError when the bundle answers none.
        """
        self._answering()
        return self._recall.newest(question, last_s)

    def recall_through(self, question: str, last_s: float = 60.0) -> Iterator[Answer]:
        """The same question of each turn of the last seconds, the oldest first. As recall."""
        self._answering()
        return self._recall.through(question, last_s)

    def close(self) -> None:
        """Frees the models; may be called twice."""
        self._closed = True
        self._recall.close()
        if self._speech is not None:
            self._speech.close()
        getattr(getattr(self, "encoder_model", None), "close", lambda: None)()  # that of a GGUF pair holds memory of its own
        if self.text_model is not None:
            self.text_model.close()
            self.text_model = None
