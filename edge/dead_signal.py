"""A microphone that delivers frames and hears nothing: zeros, a stuck level, or its last buffer over and over."""

from __future__ import annotations

import numpy as np

from edge.types import Samples

PATIENCE_S = 30.0
_WINDOW_S = 1.0
_STEP_S = 0.5
_SHORTEST_BUFFER = 64  # frames; a shorter period is a tone, not a repeated buffer
_SIGNATURE = 64


class DeadSignal:
    """Says what is wrong once the signal has been dead for `patience_s` (default PATIENCE_S). rate: frames per second of what is fed."""

    def __init__(self, rate: int, patience_s: float | None = None) -> None:
        self._rate = rate
        self._patience = int((PATIENCE_S if patience_s is None else patience_s) * rate)
        self._level = np.float32(np.nan)
        self._constant = 0  # frames at one level
        self._repeated = 0  # frames of an exactly repeated buffer
        self._window: Samples = np.empty(0, np.float32)
        self._unjudged: list[Samples] = []
        self._unjudged_frames = 0

    def feed(self, frames: Samples) -> str:
        """frames: float32[n], one channel as it came. Returns a clause while the signal is dead, else ""."""
        if not len(frames):
            return self._verdict()
        if frames[0] == frames.min() == frames.max():
            self._constant = self._constant + len(frames) if frames[0] == self._level else len(frames)
        else:
            self._constant = 0
        self._level = frames[-1]
        self._unjudged.append(frames.copy())
        self._unjudged_frames += len(frames)
        if self._unjudged_frames >= _STEP_S * self._rate:
            self._window = np.concatenate([self._window, *self._unjudged])[-int(_WINDOW_S * self._rate) :]
            self._repeated = self._repeated + self._unjudged_frames if not self._constant and _repeats(self._window) else 0
            self._unjudged.clear()
            self._unjudged_frames = 0
        return self._verdict()

    def _verdict(self) -> str:
        if self._constant >= self._patience:
            return "only zeros come" if self._level == 0 else f"the level is stuck at {self._level:.4f}"
        return "the last buffer is repeated" if self._repeated >= self._patience else ""


def _repeats(window: Samples) -> bool:
    """Whether the whole window repeats one buffer exactly, which no live microphone's noise does."""
    if len(window) <= 2 * _SIGNATURE:
        return False
    starts = np.ones(len(window) - _SIGNATURE, np.bool_)
    for offset in range(_SIGNATURE):
        starts &= window[offset : offset + len(starts)] == window[offset - _SIGNATURE]
        if not starts.any():
            return False
    period = len(starts) - int(np.flatnonzero(starts)[-1])
    return period >= _SHORTEST_BUFFER and np.array_equal(window[period:], window[:-period])
