"""Audio -> rows for a language model by a tower that hears in both directions (Qwen2-Audio, Audio Flamingo 3, Voxtral, GAMA).

The turn is encoded anew at each view. Windows of 30 s that are full are encoded once, the open one as long as it is; each view gives all
rows of the turn, which take the place of those before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from edge.bundle import Bundle
from edge.errors import BackendError, BundleError
from edge.features import HOP, whisper_log_mel
from edge.types import SAMPLE_RATE, Encoding, Meter, Samples, TensorModel, Turn

MARGIN = 4
"""Frames of silence behind the last: what the convolutions see there is silence, as in a window that is filled up."""
QUIET = 10 * HOP
FRONT_ENDS = ("whisper", "samples")
"""What the tower takes: `input_features`, Whisper's log-mels, or `samples` as they are (its spectrogram is part of the graph)."""
NOTHING = np.zeros((0, 0), np.float32)


def tower_input(audio: Samples, bands: int, window: int) -> dict[str, Samples]:
    """float32[n] -> input_features [1, bands, F + 4]: silence behind the sound, and zeros behind the window's end."""
    frames = -(-len(audio) // HOP)
    quiet = np.zeros(min(QUIET, window - len(audio)), np.float32)
    mels = np.zeros((1, bands, frames + MARGIN), np.float32)
    found = whisper_log_mel(np.concatenate((audio, quiet)), bands)[:, : frames + MARGIN]
    mels[0, :, : found.shape[1]] = found
    return {"input_features": mels}


def filled_inputs(audio: Samples, bands: int, window: int) -> list[dict[str, Samples]]:
    """float32[n] -> for each window of a tower that knows no length (Voxtral) input_features [1, bands, window / 160].

    Filled up with silence; scaled relative to the loudest of the whole, as its own processor does.
    """
    count = max(1, -(-len(audio) // window))
    mels = whisper_log_mel(np.pad(audio, (0, count * window - len(audio))), bands)
    return [{"input_features": part[None]} for part in np.split(mels, count, axis=1)]


class WholeEncoder:
    """One stream's encoder; same use as `edge.encoder.Encoder`, without scores. Main thread only."""

    def __init__(self, bundle: Bundle, model: TensorModel) -> None:
        """Raises: BundleError or BackendError when the encoder's description and its model disagree."""
        self._front = bundle.front_end.choice("kind", FRONT_ENDS, "whisper")
        self._bands = bundle.front_end.integer("bands", 1, 256) if self._front == "whisper" else 0
        self._window = round(bundle.encoder.number("window_s", 1, 60) * SAMPLE_RATE)
        self._row = bundle.encoder.integer("vector_hop", HOP, 10 * SAMPLE_RATE)
        self._filled = "pad_to_s" in bundle.encoder
        if self._filled and round(bundle.encoder.number("pad_to_s", 1, 60) * SAMPLE_RATE) != self._window:
            raise BundleError(f"bundle {bundle.name}: encoder.pad_to_s must be encoder.window_s; repair the manifest")
        self.labels = bundle.labels
        self._model = model
        self._placed = "window" in model.inputs
        """The tower wants to know which window of the turn it hears (Music Flamingo's time rotation)."""
        port = "input_features" if self._front == "whisper" else "samples"
        found = model.inputs.get(port)
        fits = found is not None and (self._front == "samples" or found[1][1] == self._bands)
        if set(model.inputs) - {"window"} != {port} or "vectors" not in model.outputs or not fits:
            what = f"log-mels of {self._bands} bands" if self._front == "whisper" else "samples"
            raise BackendError(f"bundle {bundle.name}: its encoder takes no {what}, or gives no rows; build it again")
        self.meter = Meter()
        self._turn: Turn | None = None
        self._open: list[Samples] = []
        self._full: list[Samples] = []
        """Rows of the windows that are full."""
        self._next = 0

    def begin(self, turn: Turn) -> int:
        """The first sample that `extend` wants for this view of the turn."""
        if self._turn is None or turn.id != self._turn.id:
            self._open, self._full, self._next = [], [], turn.start
        self._turn = turn
        return self._next

    def extend(self, samples: Samples) -> Encoding:
        """Takes float32[n]; all rows of the turn."""
        assert self._turn is not None, "begin() comes before extend()"
        cpu = time.thread_time()
        self._next += len(samples)
        audio = np.concatenate([*self._open, samples])
        while len(audio) > self._window:
            self._full.append(self.encode(audio[: self._window], len(self._full)))
            audio = audio[self._window :]
        self._open = [audio]
        rows = [*self._full, *([self.encode(audio, len(self._full))] if len(audio) >= self._row else [])]
        self.meter.calls += 1
        self.meter.samples += len(samples)
        self.meter.cpu_s += time.thread_time() - cpu
        return Encoding(self._turn.start, self._next, np.concatenate(rows) if rows else NOTHING, self._row, NOTHING, self._row)

    def encode(self, audio: Samples, index: int = 0) -> Samples:
        """Rows of one window, float32[n] with n at most the window's length -> float32[T, D]. index: its number in the turn."""
        if self._front == "samples":
            return self._rows({"samples": audio[None]}, index)
        if self._filled:
            return self._rows(filled_inputs(audio, self._bands, self._window)[0], index)
        return self._rows(tower_input(audio, self._bands, self._window), index)

    def _rows(self, given: dict[str, Samples], index: int) -> Samples:
        place = {"window": np.array([index], np.float32)} if self._placed else {}
        return np.asarray(self._model.run(given | place)["vectors"][0])

    def whole(self, parts: Iterable[Samples]) -> Encoding:
        """A clip from its first sample to its last as one turn. parts: float32[n] each."""
        audio = np.concatenate([np.zeros(0, np.float32), *parts])
        self._turn = None
        self.begin(Turn(1, 0, len(audio), True, "end", "sound"))
        if self._filled and len(audio) > self._window:
            rows = [self._rows(given, i) for i, given in enumerate(filled_inputs(audio, self._bands, self._window))]
            return Encoding(0, len(audio), np.concatenate(rows), self._row, NOTHING, self._row)
        return self.extend(audio)
