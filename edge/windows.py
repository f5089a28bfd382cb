"""Audio -> label scores by a model of fixed windows of samples (YAMNet and its kind): one run for each hop, no state.

A window's scores hold for the hop in its middle, so that a sound's onset is told where it is and not where the window begins.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from edge.bundle import Bundle
from edge.encoder import continues
from edge.errors import BackendError, BundleError
from edge.types import SAMPLE_RATE, Encoding, Meter, Samples, TensorModel, Turn

NOTHING = np.zeros((0, 0), np.float32)


class WindowEncoder:
    """One stream's encoder; same use as `edge.encoder.Encoder`, without rows for a language model. Main thread only."""

    def __init__(self, bundle: Bundle, model: TensorModel) -> None:
        """Raises: BundleError or BackendError when the encoder's description and its model disagree."""
        shape, where = bundle.encoder, f"bundle {bundle.name}"
        self._window = shape.integer("window", 1, 60 * SAMPLE_RATE)
        self.score_hop = self.vector_hop = shape.integer("hop", 1, self._window)
        self.labels = bundle.labels
        self._model = model
        if len(model.inputs) != 1 or not (len(model.outputs) == 1 or "scores" in model.outputs):
            raise BackendError(
                f"{where}: an encoder of windows has one input, and one output or one called scores, not {len(model.inputs)} and "
                f"{', '.join(model.outputs)}; build it again"
            )
        ((self._input, (dtype, found)),) = model.inputs.items()
        self._output = next(iter(model.outputs)) if len(model.outputs) == 1 else "scores"
        scored = model.outputs[self._output][1]
        if dtype != "float32" or not found or found[-1] not in (None, self._window) or any(n not in (None, 1) for n in found[:-1]):
            raise BackendError(f"{where}: the encoder takes {dtype}{list(found)}, by the manifest float32[{self._window}]; build it again")
        if scored[-1] not in (None, len(self.labels)):
            raise BundleError(f"{where}: the encoder scores {scored[-1]} labels, the manifest names {len(self.labels)}; build it again")
        self._leading = (1,) * (len(found) - 1)
        self.meter = Meter()
        self._turn: Turn | None = None
        self._reset(0)

    def _reset(self, position: int) -> None:
        self._pending = np.zeros(0, np.float32)
        self._begin = position
        """First sample of the next window."""
        self._next = position
        self._first = True

    def begin(self, turn: Turn) -> int:
        """The first sample that `extend` wants for this view of the turn; starts anew unless the turn continues the last one."""
        if (self._turn is None or turn.id != self._turn.id) and not continues(self._turn, turn):
            self._reset(turn.start)
        self._turn = turn
        return self._next

    def extend(self, samples: Samples) -> Encoding:
        """Encodes float32[n] from `begin(turn)` on; a turn that ends in anything but "longest" is completed with silence."""
        assert self._turn is not None, "begin() comes before extend()"
        cpu = time.thread_time()
        turn, lead, start = self._turn, (self._window - self.score_hop) // 2, self._begin
        self._next += len(samples)
        self._pending = np.concatenate((self._pending, samples))
        ends = turn.final and turn.cause != "longest"
        scores: list[Samples] = []
        while len(self._pending) >= self._window or (ends and self._wanted()):
            window = self._pending[: self._window]
            if len(window) < self._window:
                window = np.concatenate((window, np.zeros(self._window - len(window), np.float32)))
            found = self._model.run({self._input: np.ascontiguousarray(window.reshape(*self._leading, self._window))})
            scores.append(found[self._output].reshape(-1)[: len(self.labels)].astype(np.float32))
            self._pending = self._pending[self.score_hop :]
            self._begin += self.score_hop
            self._first = False
        self.meter.calls += 1
        self.meter.samples += len(samples)
        self.meter.cpu_s += time.thread_time() - cpu
        start = min(start + lead, max(turn.start, turn.stop - 1))  # of what is shorter than that, where there is sound at all
        stop = max(start + 1, min(self._begin + lead, turn.stop)) if scores else start
        return Encoding(start, stop, NOTHING, self.vector_hop, np.stack(scores) if scores else NOTHING, self.score_hop)

    def whole(self, parts: Iterable[Samples]) -> Encoding:
        """A clip from its first sample to its last as one turn. parts: float32[n] each."""
        audio = np.concatenate([np.zeros(0, np.float32), *parts])
        self._turn = None
        self.begin(Turn(1, 0, len(audio), True, "end", "sound"))
        return self.extend(audio)

    def _wanted(self) -> bool:
        """Whether a window that is not full is run at the end: the first, and one with samples that no window before it has had."""
        return len(self._pending) > (0 if self._first else self._window - self.score_hop)
