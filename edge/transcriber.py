"""Speech -> text by a model that hears a window in both directions (Whisper, Moonshine): the open turn is encoded anew at each view, or
what of it can still change (Moonshine streaming).

Plays the encoder's part and the captioner's: `begin` and `extend` keep the audio, `revise` tells it. What a view and the last agree on
is committed and forced from then on; the rest of the last text is a draft that one run of the decoder checks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.text_decoder import TextDecoder
from edge.backends.tokens import Tokens
from edge.bundle import Bundle
from edge.captioner import Open, revised
from edge.errors import BackendError, BundleError
from edge.features import HOP, N_FFT, whisper_log_mel
from edge.growing import FIRST_ROW, Growing, Reach
from edge.guards import wordy_at
from edge.seq2seq import Seq2Seq
from edge.speech_prompt import Prompt, SpeechOptions, ids_of
from edge.types import SAMPLE_RATE, Caption, Encoding, Meter, Samples, Sound, TensorModel, Turn, Word
from edge.word_times import alignment_of, starts, timed, words_of

FRONT_ENDS = ("whisper", "samples")
NOTHING = np.zeros((0, 0), np.float32)


def load_models(bundle: Bundle, threads: int, providers: Sequence[str] = ("cpu",), strict: bool = False) -> tuple[TensorModel, TensorModel]:
    """Encoder and decoder of the bundle. Raises: BundleError, BackendError."""
    for role, runtimes in (("encoder", ("onnx",)), ("decoder", ("gguf", "onnx"))):
        if (found := bundle.model(role).runtime) not in runtimes:
            known = " and ".join(runtimes)
            raise BundleError(f"bundle {bundle.name}: its {role} is {found}; this version transcribes with {known} ones")
    from edge.backends.onnx import OnnxModel

    name, ours = f"bundle {bundle.name}: ", bundle.model("decoder").runtime == "gguf"
    if ours and strict and tuple(providers) != ("cpu",):
        raise BackendError(f"{name}its decoder runs on the processor alone; build it with --target jetson, or leave --strict out")
    encoder = OnnxModel.load(bundle.read("encoder"), name + "encoder", threads, providers, strict)
    if ours:
        return encoder, TextDecoder(bundle.read("decoder"), name + "decoder", threads)
    return encoder, OnnxModel.load(bundle.read("decoder"), name + "decoder", threads, providers, strict)


class Transcriber:
    """One stream's transcriber. Main thread only. Text is told of turns in which voice activity was found, and of no others."""

    def __init__(self, bundle: Bundle, models: tuple[TensorModel, TensorModel], options: SpeechOptions | None = None) -> None:
        """Raises: BundleError or BackendError when the manifest and the models disagree, or the bundle cannot do what the options say."""
        where, text = f"bundle {bundle.name}", bundle.caption
        self.labels = bundle.labels
        self._where = where
        self._front = bundle.front_end.choice("kind", FRONT_ENDS)
        self._bands = bundle.front_end.integer("bands", 1, 256) if self._front == "whisper" else 0
        self._window = round(bundle.encoder.number("window_s", 1, 60) * SAMPLE_RATE)
        self._least = round(bundle.encoder.number("pad_to_s", 0.1, 60, 0.1) * SAMPLE_RATE)
        self._frame = bundle.encoder.integer("frame", 1, SAMPLE_RATE, 2 * HOP if self._front == "whisper" else 1)
        self._encoder = models[0]
        self._growing = Growing(models[0], _reach(bundle) if FIRST_ROW in models[0].inputs else None)
        options = options or SpeechOptions()
        self._prompt, self._beam = Prompt(bundle, options), options.beam
        self._alignment = alignment_of(bundle) if options.word_times else None
        end = ids_of(text, "end_ids", 1)
        self._end, self._encoded = end[0], 0
        never, never_first = (ids_of(text, key, 0) if key in text else () for key in ("never_ids", "never_first_ids"))
        self._decoder = Seq2Seq(models[1], end, never, never_first, where)
        self._decoder.silence = text.integer("no_speech_id", 0, 1 << 30) if "no_speech_id" in text else None
        self._guard = ""
        self._limit = text.integer("limit_tokens", 1, 4096)
        self._tokenizer = Tokens(bundle.read("tokenizer"), f"{where}: {bundle.model('tokenizer').file}")
        wanted = "input_features" if self._front == "whisper" else "input_values"
        if wanted not in self._encoder.inputs:
            raise BackendError(f"{where}: its encoder takes {', '.join(self._encoder.inputs)}, not {wanted}; build it again")
        self._input = wanted
        self._audio: list[Samples] = []
        self._told: list[int] = []
        """Tokens of the windows of the turn that are full; they are not looked at again."""
        self._words: list[Word] = []
        """Those of texts that are told for good, where they are asked for."""
        self._open = Open(turn=0)
        self._turn: Turn | None = None
        self._next = 0
        self._next_id = 1
        self.meter = Meter()

    def check(self) -> None:
        """A second of silence through both models. Raises: BundleError where ids, bands or lengths of the manifest are not the models'."""
        try:
            self._decoder.begin(self.encode(np.zeros(SAMPLE_RATE, np.float32)))
            if self._limit + len(self._prompt.ids) > 4096:
                raise ValueError(f"{self._limit} tokens of text")
            self._decoder.decode(self._prompt.ids, (), 0, 1, guarded=True)
            if self._alignment is not None:
                self._decoder.attention(self._prompt.ids, self._alignment.heads)
        except (ValueError, IndexError, BackendError) as error:
            raise BundleError(f"{self._where}: its manifest and its models do not go together ({error}); build it again") from None

    def begin(self, turn: Turn) -> int:
        """The first sample that `extend` wants for this view of the turn."""
        if self._turn is None or turn.id != self._turn.id:
            self._prompt.carry(() if self._guard else self._open.tokens)
            self._audio, self._told, self._words, self._next = [], [], [], turn.start
            self._open = Open(turn=turn.id)
        self._turn = turn
        return self._next

    def extend(self, samples: Samples) -> Encoding:
        """Keeps float32[n]; there are no scores and no rows."""
        self._audio.append(samples)
        self._next += len(samples)
        self.meter.samples += len(samples)
        return Encoding(self._next - len(samples), self._next, NOTHING, self._window, NOTHING, self._window)

    def revise(self, turn: Turn, encoding: Encoding, sounds: Sequence[Sound]) -> Caption | None:
        """The next revision of the turn's text, or None where nobody speaks or nothing is understood."""
        if not turn.speech:
            return None
        cpu = time.thread_time()
        audio = np.concatenate(self._audio) if self._audio else np.zeros(0, np.float32)
        state = self._open
        fixed, self._guard = len(self._told), ""
        while len(audio) > self._window:  # a full window is told for good
            draft, forced = state.tokens[fixed:], max(0, state.committed - fixed)
            said = self.transcribe(audio[: self._window], draft, forced, final=True)
            self._words += self._word_times(said, self._next - len(audio), self._window)
            self._told += said
            self._prompt.carry(() if self._guard else self._told)
            audio, fixed = audio[self._window :], len(self._told)
        self._audio = [audio]
        said = self.transcribe(audio, state.tokens[fixed:], max(0, state.committed - fixed), turn.final)
        if turn.final:
            self._words += self._word_times(said, self._next - len(audio), len(audio))
        tokens = [*self._told, *said]
        self.meter.calls += 1
        self.meter.cpu_s += time.thread_time() - cpu
        if not tokens and state.revision == 0:
            return None
        if state.revision == 0:
            state.caption_id, self._next_id = self._next_id, self._next_id + 1
        words = tuple(self._words) if turn.final else ()
        return replace(revised(turn, tokens, state, self._tokenizer.text), guard=self._guard, language=self._prompt.heard, words=words)

    def wait(self, turn: Turn, encoding: Encoding) -> None:
        """A view for which there is no time: `extend` has its audio, and the next `revise` tells it."""

    def whole(self, parts: Iterable[Samples]) -> Encoding:
        """There are no rows to be asked about."""
        return Encoding(0, sum(map(len, parts)), NOTHING, self._window, NOTHING, self._window)

    def transcribe(self, audio: Samples, draft: Sequence[int] = (), forced: int = 0, final: bool = False) -> list[int]:
        """Tokens of one window, float32[n] with n at most the window's length, cut where they have come loose from the audio.

        final: they are told for good, and looked for with the beam that was asked for.
        """
        self._decoder.begin(self.encode(audio))
        if not forced:
            self._prompt.listen(self._decoder.logits)
        before = self._prompt.before
        prompt, lead = [*before, *self._prompt.ids], len(before)
        if final and self._beam > 1:
            tokens = self._decoder.search(prompt, draft[:forced], self._beam, self._limit, lead)
        else:
            tokens = self._decoder.decode(prompt, draft, forced, self._limit, guarded=True, lead=lead)
        self._guard = self._decoder.guard or self._guard
        at = wordy_at(tokens, self._tokenizer.text)
        if at is not None and at >= forced:
            self._guard = "compression"
            del tokens[at:]
        return tokens

    def _word_times(self, tokens: Sequence[int], start: int, count: int) -> list[Word]:
        """Words of a text about the `count` samples from `start` on that were encoded last, where they are asked for."""
        words = words_of(tokens, self._tokenizer.text) if self._alignment is not None else []
        if self._alignment is None or not words:
            return []
        prompt = self._prompt.ids
        looked = self._decoder.attention([*prompt, *tokens, self._end], self._alignment.heads)
        # A window that was filled up has rows about nothing at its end, to which a text does not belong.
        row = self._encoded / looked.shape[2]
        looked = looked[:, :, : max(1, round(count / row))]
        looked = looked / looked.sum(axis=2, keepdims=True)
        times = timed(words, starts(looked, len(prompt), self._alignment.over), row / SAMPLE_RATE)
        inside = ([start + min(count, round(s * SAMPLE_RATE)) for s in span] for span in times)
        return [Word(word.text, begin, stop) for word, (begin, stop) in zip(words, inside, strict=True)]

    def encode(self, audio: Samples) -> dict[str, NDArray[Any]]:
        """The encoder's outputs for one window; what is shorter than it can take is filled up with silence.

        A last frame that is not full is filled up for Whisper, which takes log-mels by twos, and left out for an encoder of samples, as its
        own processor masks it.
        """
        least, frame = max(self._least, N_FFT + HOP), self._frame
        count = max(least, len(audio))
        whole = count // frame * frame if self._front == "samples" and count > least else -(-count // frame) * frame
        audio = np.concatenate((audio, np.zeros(max(0, whole - len(audio)), np.float32)))[:whole]
        self._encoded = len(audio)
        given = whisper_log_mel(audio, self._bands)[None] if self._front == "whisper" else audio[None]
        feed: dict[str, NDArray[Any]] = {self._input: np.ascontiguousarray(given, np.float32)}
        if "attention_mask" in self._encoder.inputs:
            feed["attention_mask"] = np.ones((1, audio.shape[0]), np.int64)
        return self._growing.outputs(audio, feed, self._input)


def _reach(bundle: Bundle) -> Reach:
    left, right = (bundle.encoder.integer(key, 0, 1 << 20) for key in ("left_rows", "right_rows"))
    return Reach(bundle.encoder.integer("row", 1, SAMPLE_RATE), left, right)
