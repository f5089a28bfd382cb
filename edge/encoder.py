"""Audio -> label scores and prefix vectors, streaming: only new samples are encoded, the model's state is carried.

The model takes one chunk of log-mels at a time and its own state, so what comes out does not depend on how the audio was cut
into hops. The state starts from nothing at each turn, except where a turn continues the one before it ("longest").
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from edge import _native
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError
from edge.types import SAMPLE_RATE, Encoding, Meter, Samples, TensorModel, Turn

FRAME, HOP = 400, 160
"""Samples in one log-mel frame and between two of them (25 ms, 10 ms)."""
TURN = "turn_"
"""What the name of a state begins with that belongs to a turn."""


def load_model(bundle: Bundle, threads: int, providers: Sequence[str] = ("cpu",), strict: bool = False) -> TensorModel:
    """The bundle's encoder on the runtime that its manifest names. providers, strict: as configured. Raises: BundleError, BackendError."""
    if bundle.model("encoder").runtime == "onnx":
        from edge.backends.onnx import OnnxModel

        return OnnxModel.load(bundle.read("encoder"), f"bundle {bundle.name}: encoder", threads, providers, strict)
    if bundle.model("encoder").runtime == "tflite":
        from edge.backends.litert import LiteRtModel

        return LiteRtModel.load(bundle.read("encoder"), f"bundle {bundle.name}: encoder", threads, providers, strict)
    if strict and tuple(providers) != ("cpu",):
        raise BackendError(f"bundle {bundle.name}: its encoder runs on cpu alone; leave --providers or --strict out")
    if bundle.model("encoder").runtime == "gguf":
        from edge.backends.mtmd import MtmdTower

        return MtmdTower(bundle.file("encoder"), bundle.file("captioner"), threads)
    raise BundleError(f"bundle {bundle.name}: its encoder is {bundle.model('encoder').runtime}; this version runs onnx, tflite and gguf")


class AudioEncoder(Protocol):
    """What the line asks of an encoder: `begin(turn)` tells the sample wanted next, `extend` takes those from there to turn.stop."""

    labels: tuple[str, ...]
    meter: Meter

    def begin(self, turn: Turn) -> int: ...

    def extend(self, samples: Samples) -> Encoding: ...

    def whole(self, parts: Iterable[Samples]) -> Encoding: ...


KINDS = ("streaming", "windows", "whole")
"""What `encoder.kind` of a manifest may be: a model that carries its state from chunk to chunk, one of fixed windows of samples, or a tower
over the whole turn.
"""


def open_encoder(bundle: Bundle, model: TensorModel) -> AudioEncoder:
    """The encoder of that kind. Raises: BundleError, BackendError."""
    kind = bundle.encoder.choice("kind", KINDS, KINDS[0])
    if kind == "windows":
        from edge.windows import WindowEncoder

        return WindowEncoder(bundle, model)
    if kind == "whole":
        from edge.whole import WholeEncoder

        return WholeEncoder(bundle, model)
    return Encoder(bundle, model=model)


class Encoder:
    """One stream's encoder. Main thread only.

    The caller asks `begin(turn)` which sample is wanted next, reads from there to turn.stop, and hands it to `extend`.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, model: TensorModel | None = None) -> None:
        """Raises: BundleError or BackendError when the encoder's description and its model disagree."""
        front, shape = bundle.front_end, bundle.encoder
        given = (front.integer("sample_rate", 1, 1_000_000), front.integer("frame", 1, 10_000), front.integer("hop", 1, 10_000))
        if given != (SAMPLE_RATE, FRAME, HOP):
            raise BundleError(f"bundle {bundle.name}: its front end is not 16 kHz, 25 ms frames every 10 ms; this version has no other")
        self._bands = front.integer("bands", 1, 256)
        try:
            self._mel = _native.LogMel(self._bands, front.number("low_hz", 0, 8000), front.number("high_hz", 1, 8000))
        except ValueError as error:
            raise BundleError(f"{front.where}: {error}; repair the manifest") from None
        self._frames = shape.integer("chunk_frames", 1, 3000)
        self.score_hop = shape.integer("score_hop", HOP, SAMPLE_RATE)
        self.vector_hop = shape.integer("vector_hop", HOP, 10 * SAMPLE_RATE)
        self.labels = bundle.labels
        self._model = model if model is not None else load_model(bundle, threads)
        self._states = sorted(name for name in self._model.inputs if name.startswith(("state_", TURN)))
        self._check(f"bundle {bundle.name}")
        self.meter = Meter()
        self._turn: Turn | None = None
        self._reset(0)

    def _check(self, where: str) -> None:
        inputs, outputs = self._model.inputs, self._model.outputs
        wanted = {"mels", *self._states}, {"scores", "vectors", *map(next_name, self._states)}
        if set(inputs) != wanted[0] or set(outputs) != wanted[1]:
            raise BackendError(f"{where}: the encoder's inputs or outputs are not those of a streaming encoder; export it again")
        if outputs["scores"][1][-1] != len(self.labels):
            raise BackendError(
                f"{where}: the encoder scores {outputs['scores'][1][-1]} labels, the manifest names {len(self.labels)}; export it again"
            )
        chunk = self._frames * HOP
        if chunk % self.score_hop or chunk % self.vector_hop:
            raise BundleError(f"{where}: a chunk of {chunk} samples is no multiple of score_hop and vector_hop; repair the manifest")
        for port, shape, expected in (
            ("mels", inputs["mels"][1], (1, self._frames, self._bands)),
            ("scores", outputs["scores"][1][:-1], (1, chunk // self.score_hop)),
            ("vectors", outputs["vectors"][1][:-1], (1, chunk // self.vector_hop)),
        ):
            if len(shape) != len(expected) or any(found not in (None, size) for found, size in zip(shape, expected, strict=True)):
                raise BackendError(f"{where}: the encoder's {port} are {list(shape)}, by the manifest {list(expected)}; export it again")

    def _reset(self, position: int) -> None:
        self._mel.reset()
        self._state = {name: self._nothing(name) for name in self._states}
        self._pending = np.zeros((0, self._bands), np.float32)
        self._next = position
        self._encoded = position

    def _nothing(self, name: str) -> Samples:
        return np.zeros([d or 1 for d in self._model.inputs[name][1]], np.float32)

    def begin(self, turn: Turn) -> int:
        """The first sample that `extend` wants for this view of the turn; resets unless the turn continues the last one.

        A turn that continues another starts with that one's state, but for what belongs to the turn ("turn_…"): what has been told in it.
        """
        before = self._turn
        if before is None or turn.id != before.id:
            if continues(before, turn):
                self._state |= {name: self._nothing(name) for name in self._states if name.startswith(TURN)}
            else:
                self._reset(turn.start)
        self._turn = turn
        return self._next

    def extend(self, samples: Samples) -> Encoding:
        """Encodes float32[n] from `begin(turn)` on. What does not fill a chunk waits for the next view; a turn that ends in anything but
        "longest" is completed with silence, and rows wholly behind its end are left out.
        """
        assert self._turn is not None, "begin() comes before extend()"
        cpu = time.thread_time()
        turn, start = self._turn, self._encoded
        mels = [self._pending, self._mel.extend(samples)]
        self._next += len(samples)
        ends = turn.final and turn.cause != "longest"
        if ends:
            chunk = self._frames * HOP
            missing = -(self._next - self._encoded) % chunk + FRAME - HOP
            mels.append(self._mel.extend(np.zeros(missing, np.float32)))
        frames = np.concatenate(mels)
        vectors, scores = [], []
        whole = len(frames) // self._frames
        for index in range(whole):
            part = frames[index * self._frames : (index + 1) * self._frames]
            found = self._model.run({"mels": np.ascontiguousarray(part[None]), **self._state})
            self._state = {s: found[next_name(s)] for s in self._states}
            scores.append(found["scores"][0])
            vectors.append(found["vectors"][0])
        self._pending = frames[whole * self._frames :]
        self._encoded += whole * self._frames * HOP
        stop = min(self._encoded, turn.stop) if ends else self._encoded
        kept = _rows(scores)[: -(-(stop - start) // self.score_hop)], _rows(vectors)[: -(-(stop - start) // self.vector_hop)]
        self.meter.calls += 1
        self.meter.samples += len(samples)
        self.meter.cpu_s += time.thread_time() - cpu
        return Encoding(start, stop, kept[1], self.vector_hop, kept[0], self.score_hop)

    def whole(self, parts: Iterable[Samples]) -> Encoding:
        """A clip from its first sample to its last as one turn. parts: float32[n] each, one behind the other; without a sample no rows."""
        self._turn, stop = None, 0
        found = []
        for part in parts:
            stop += len(part)
            self.begin(Turn(1, 0, stop, False, "hop", "sound"))
            found.append(self.extend(part))
        if stop:
            self.begin(Turn(1, 0, stop, True, "end", "sound"))
            found.append(self.extend(np.empty(0, np.float32)))
        vectors, scores = [e.vectors for e in found if len(e.vectors)], [e.scores for e in found if len(e.scores)]
        return Encoding(0, stop, _rows(vectors), self.vector_hop, _rows(scores), self.score_hop)


def next_name(state: str) -> str:
    """The output that carries a state on: "state_00" -> "next_00", "turn_00" -> "next_turn_00"."""
    return "next_" + state.removeprefix("state_")


def continues(before: Turn | None, turn: Turn) -> bool:
    """Whether `turn` goes on where `before` was cut for its length, so that nothing was missed between them."""
    return before is not None and before.final and before.cause == "longest" and before.stop == turn.start


def _rows(parts: list[Samples]) -> Samples:
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
