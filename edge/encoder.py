"""Audio -> label scores and prefix vectors, streaming: only new samples are encoded, the model's state is carried.

The model takes one chunk of log-mels at a time and its own state, so what comes out does not depend on how the audio was cut
into hops. The state starts from nothing at each turn, except where a turn continues the one before it ("longest").
"""

from __future__ import annotations

import time

import numpy as np

from edge import _native
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError
from edge.types import SAMPLE_RATE, Encoding, Meter, Samples, TensorModel, Turn

FRAME, HOP = 400, 160
"""Samples in one log-mel frame and between two of them (25 ms, 10 ms)."""


def load_model(bundle: Bundle, threads: int) -> TensorModel:
    """The bundle's encoder on the runtime that its manifest names."""
    if bundle.model("encoder").runtime == "onnx":
        from edge.backends.onnx import OnnxModel

        return OnnxModel(bundle.read("encoder"), threads=threads)
    raise BundleError(f"bundle {bundle.name}: its streaming encoder is {bundle.model('encoder').runtime}; this version runs onnx encoders")


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
        self._mel = _native.LogMel(self._bands, front.number("low_hz", 0, 8000), front.number("high_hz", 1, 8000))
        self._frames = shape.integer("chunk_frames", 1, 3000)
        self.score_hop = shape.integer("score_hop", HOP, SAMPLE_RATE)
        self.vector_hop = shape.integer("vector_hop", HOP, 10 * SAMPLE_RATE)
        self.labels = bundle.labels
        self._model = model if model is not None else load_model(bundle, threads)
        self._states = sorted(name for name in self._model.inputs if name.startswith("state_"))
        self._check(bundle.name)
        self.meter = Meter()
        self._turn: Turn | None = None
        self._reset(0)

    def _check(self, name: str) -> None:
        wanted = {"mels", *self._states}, {"scores", "vectors", *(s.replace("state_", "next_") for s in self._states)}
        if set(self._model.inputs) != wanted[0] or set(self._model.outputs) != wanted[1]:
            raise BackendError(f"bundle {name}: the encoder's inputs or outputs are not those of a streaming encoder; export it again")
        if self._model.outputs["scores"][1][-1] != len(self.labels):
            scored = self._model.outputs["scores"][1][-1]
            raise BackendError(
                f"bundle {name}: the encoder scores {scored} labels, but the manifest names {len(self.labels)}; export it again"
            )

    def _reset(self, position: int) -> None:
        self._mel.reset()
        self._state = {s: np.zeros([d or 1 for d in self._model.inputs[s][1]], np.float32) for s in self._states}
        self._pending = np.zeros((0, self._bands), np.float32)
        self._next = position
        self._encoded = position

    def begin(self, turn: Turn) -> int:
        """The first sample that `extend` wants for this view of the turn; resets unless the turn continues the last one."""
        before = self._turn
        if before is None or turn.id != before.id:
            continues = before is not None and before.final and before.cause == "longest" and before.stop == turn.start
            if not continues:
                self._reset(turn.start)
        self._turn = turn
        return self._next

    @property
    def continued(self) -> int:
        """Samples before the turn's start that were not encoded with the turn before it (less than a chunk and a frame)."""
        assert self._turn is not None
        return max(0, self._turn.start - self._encoded)

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
            self._state = {s: found[s.replace("state_", "next_")] for s in self._states}
            scores.append(found["scores"][0])
            vectors.append(found["vectors"][0])
        self._pending = frames[whole * self._frames :]
        self._encoded += whole * self._frames * HOP
        stop = min(self._encoded, turn.stop) if ends else self._encoded
        self.meter.calls += 1
        self.meter.samples += len(samples)
        self.meter.cpu_s += time.thread_time() - cpu
        return Encoding(start, stop, _rows(vectors), self.vector_hop, _rows(scores), self.score_hop)


def _rows(parts: list[Samples]) -> Samples:
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
