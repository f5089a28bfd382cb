"""The straight line: blocks -> gate -> encoder -> sounds and captions, pulled by whoever wants records.

Offline it is one thread. Live, what precedes the encoder runs in a listen thread and `ahead` joins the two by one bounded
queue in which a newer view of an open turn replaces an older one; the functions, and so the captions, are the same.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace

import numpy as np

from edge import captioner as captioning
from edge import encoder as encoding
from edge import transcriber as transcribing
from edge.ahead import Event, Heard, ahead
from edge.ask import Audible, Clip, Questions, pieces
from edge.bundle import Bundle
from edge.captioner import Captioner
from edge.config import Config
from edge.encoder import AudioEncoder
from edge.errors import BackendError, BundleError, EdgeError
from edge.gate import Gate
from edge.memory import Memory
from edge.ring import blocks
from edge.sounds import SoundTracker, options_of
from edge.time_line import TimeLine
from edge.transcriber import Transcriber
from edge.types import (
    SAMPLE_RATE,
    Answer,
    AudioBlock,
    Caption,
    Device,
    Gap,
    Meter,
    Record,
    Session,
    Sound,
    Source,
    TensorModel,
    TextModel,
    Turn,
    Vitals,
)
from edge.vad import Silero

OFFLINE_BLOCK = 4096
"""Samples in a block where nobody waits for them; larger blocks cost less per sample, and change nothing else."""
PATIENCE_S = 3.0
"""Longer than the gate can look back for the beginning of a turn, apart from its pre-roll: speech is recognised up to 2 s late."""


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
        self._running = self._closed = False
        self._silero = Silero()
        self.text_model: TextModel | None = None
        self.decoder_model: TensorModel | None = None
        """Of a bundle that transcribes."""
        how = self.options.threads, self.options.providers_asked(), self.options.strict
        if bundle.has("decoder"):
            self.encoder_model, self.decoder_model = transcribing.load_models(bundle, *how)
        else:
            self.encoder_model = encoding.load_model(bundle, *how)
        self._speech: Bundle | None = None
        self.speech_models: tuple[TensorModel, TensorModel] | None = None
        """Of a second bundle, which transcribes."""
        self._questions: Questions | None = None
        self._memory: Memory | None = None
        self._beside: tuple[TextModel, Questions] | None = None
        """A second context of the language model, for questions while the first one captions; loaded when it is first wanted."""
        if bundle.has("captioner"):
            self.text_model = captioning.load_model(bundle, self.options.threads)
        try:
            self._add_speech(how)
            self.sound_options = options_of(bundle.sounds)
            self._check()
        except BaseException:
            self.close()
            raise

    def _add_speech(self, how: tuple[int, tuple[str, ...], bool]) -> None:
        if self.options.speech is None:
            return
        if self.decoder_model is not None:
            raise BundleError(f"bundle {self.bundle.name} transcribes by itself; leave --speech out, or take a --bundle that hears sounds")
        second = Bundle.open(self.options.speech)
        try:
            if not second.has("decoder"):
                raise BundleError(f"bundle {second.name} does not transcribe; name one for --speech that does (Whisper, Moonshine)")
            self.speech_models = transcribing.load_models(second, *how)
            Transcriber(second, self.speech_models).check()
        except BaseException:
            second.close()
            raise
        self._speech = second

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
            Captioner(self.bundle, model=self.text_model)
            self._questions = Questions(self.bundle, self.text_model, self._need_free)
            width = self.encoder_model.outputs["vectors"][1][-1] if "vectors" in self.encoder_model.outputs else None
            if width != self.text_model.width:
                raise BackendError(
                    f"bundle {self.bundle.name}: the encoder's rows have {width} values, the language model takes {self.text_model.width}; "
                    "export both again"
                )

    def upper_stairs(self) -> tuple[AudioEncoder, Captioner | Transcriber | TimeLine | None]:
        """Encoder and captioner of one stream; one and the same where the bundle transcribes."""
        if self.decoder_model is not None:
            transcriber = Transcriber(self.bundle, (self.encoder_model, self.decoder_model))
            return transcriber, transcriber
        encoder = encoding.open_encoder(self.bundle, self.encoder_model)
        if self._speech is not None and self.speech_models is not None:
            described = self.bundle.caption
            unspoken = described.items_of("unspoken", str, 0, 4096) if "unspoken" in described else ()
            return encoder, TimeLine(Transcriber(self._speech, self.speech_models), unspoken)
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
                gate = Gate(self._silero, self.options.gate)
                self._memory = Memory(self.options.memory_s, self.bundle.encoder.text("kind", "streaming") == "whole")
                told = _Telling(self, source, self._memory)
                self.meters = {**gate.meters, **told.meters}
                yield Session(source.name, self.bundle.name, self.bundle.version, source.anchor_ns)
                events = listen(source, gate, self.options.block_size or (512 if source.live else OFFLINE_BLOCK))
                with closing(ahead(events) if source.live else events) as heard_events:
                    for heard in heard_events:
                        yield from told.take(heard)
                yield from told.settle()
            finally:
                self._running = False

    def _need_free(self) -> None:
        if self._closed or self._running:
            raise ValueError("this line is closed; load it again" if self._closed else "this line is listening; close that stream first")

    def hear(self, source: Audible, question: str | None = None) -> Clip:
        """The whole of a source that ends, or of float32[n] (mono, 16 kHz), encoded once, to be asked about. Closes the source.

        question: one that must be admissible before anything is heard. Raises: ValueError as run(); TypeError or ValueError for an array
        of another kind; AudioError when there is no audio; BundleError when there is no language model; what Clip.ask raises.
        """
        with nullcontext() if isinstance(source, np.ndarray) else closing(source):
            self._need_free()
            if self._questions is None:
                raise BundleError(f"bundle {self.bundle.name} answers no questions; choose one that has a language model")
            if question is not None:
                self._questions.admit(question)
            return Clip(self._questions, self.upper_stairs()[0].whole(pieces(source)))

    def ask(self, source: Audible, question: str) -> Answer:
        """`hear` and one question about it."""
        return self.hear(source, question).ask(question)

    def recall(self, question: str, last_s: float = 60.0) -> Answer:
        """A question about the newest turn that was heard in the last seconds, while a stream runs or after it. Main thread.

        Asked of a second context of the language model, so that captions are not disturbed. The answer's span counts from the stream's
        beginning. Raises: ValueError after close() or for no question; EdgeError when nothing is kept or the model says nothing;
        BundleError when the bundle answers none.
        """
        if self._closed:
            raise ValueError("this line is closed; load it again")
        if self._questions is None:
            raise BundleError(f"bundle {self.bundle.name} answers no questions; choose one that has a language model")
        self._questions.admit(question)
        if self._memory is None:
            raise EdgeError("nothing has been heard yet; ask while the line listens, or name a file")
        start, heard = self._memory.newest(last_s)
        if self._beside is None:
            model = captioning.load_model(self.bundle, self.options.threads)
            self._beside = model, Questions(self.bundle, model, lambda: None)
        answer = Clip(self._beside[1], heard).ask(question)
        return replace(answer, start=start + answer.start, stop=start + answer.stop)

    def close(self) -> None:
        """Frees the models; may be called twice."""
        self._closed = True
        if self._beside is not None:
            self._beside[0].close()
            self._beside = None
        if self._speech is not None:
            self._speech.close()
        getattr(self.encoder_model, "close", lambda: None)()  # that of a GGUF pair holds memory of its own
        if self.text_model is not None:
            self.text_model.close()
            self.text_model = None


class _Telling:
    """The upper stairs of one stream: turns become sounds and captions. Main thread."""

    def __init__(self, line: Line, source: Source, memory: Memory) -> None:
        self._ring, self._memory = source.ring, memory
        self._encoder, self._captioner = line.upper_stairs()
        self._tracker = SoundTracker(line.bundle.labels, line.sound_options)
        self._last: Turn | None = None
        self._sounds: dict[int, Sound] = {}
        gate = line.options.gate
        self._patience = round((gate.pre_roll_s + gate.speech_pad_ms / 1000 + PATIENCE_S) * SAMPLE_RATE)
        self.meters = {"encoder": self._encoder.meter}
        if self._captioner is not None and self._captioner is not self._encoder:
            self.meters["captioner"] = self._captioner.meter

    def take(self, heard: Heard) -> Iterator[Record | Vitals]:
        """What one event of the lower stairs leads to."""
        event = heard.event
        if isinstance(event, Turn):
            if self._last is None or (event.id != self._last.id and not encoding.continues(self._last, event)):
                yield from self.settle()
            yield from self._tell(event, heard.available_s)
            return
        late = self._last is not None and isinstance(event, Vitals) and event.gate is None and event.at >= self._last.stop + self._patience
        if late or isinstance(event, Gap | Device):
            yield from self.settle()
        yield event

    def settle(self) -> list[Sound]:
        """Ends of the sounds that a turn of the longest length left open for the one that would continue it, once there is none."""
        return self._tracker.close() if self._last is not None and self._last.final else []

    def _tell(self, turn: Turn, available_s: float) -> Iterator[Record]:
        if self._last is None or turn.id != self._last.id:
            self._sounds = {sound.id: sound for sound in self._tracker.active}
        self._last = turn
        start = self._encoder.begin(turn)
        samples = np.empty(max(0, turn.stop - start), np.float32)
        lost = self._ring.read(start, samples) if len(samples) else 0
        if lost:
            yield Gap(start, start + lost, "overrun")
        encoded = self._encoder.extend(samples)
        self._memory.take(turn, encoded)
        if isinstance(self._captioner, TimeLine):
            self._captioner.listen(turn, samples)
        found = self._tracker.extend(encoded) if len(encoded.scores) else []
        if turn.final and turn.cause != "longest":
            found += self._tracker.close()
        for sound in found:
            self._sounds[sound.id] = sound
            yield sound
        if self._captioner is not None:
            caption = self._captioner.revise(turn, encoded, list(self._sounds.values()))
            if caption is not None:
                yield self._timed(caption, available_s)

    @staticmethod
    def _timed(caption: Caption, available_s: float) -> Caption:
        return replace(caption, latency=max(0.0, time.monotonic() - available_s))
