"""The door: a device's or a file's frames become mono float32 samples at 16 kHz in [-1, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge._native import clean
from edge.types import SAMPLE_RATE, Samples


class Door:
    """Converts one unbroken run of frames; how the run is cut into pieces does not change a bit of the result.

    rate: frames per second. channels: averaged into one. A run of n frames gives `position(n)` samples once flushed.
    Resampler: soxr, quality HQ, streaming; left out at 16 kHz, where samples pass unchanged. Not thread-safe.
    """

    def __init__(self, rate: int, channels: int) -> None:
        if rate < 1 or channels < 1:
            raise ValueError(f"rate and channels must be at least 1, not {rate} and {channels}")
        self.rate = rate
        self.channels = channels
        self.frames = 0  # taken in since the run began
        self.samples = 0  # given out since the run began
        self.cleaned = 0  # NaN, Inf and values outside [-1, 1] replaced, counted per channel
        self._soxr: Any = None
        if rate != SAMPLE_RATE:
            import soxr

            self._soxr = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def position(self, frames: int) -> int:
        """Samples that `frames` frames make: frames * 16000 / rate, rounded to the nearest, halves up."""
        return (2 * frames * SAMPLE_RATE + self.rate) // (2 * self.rate)

    def feed(self, frames: Samples) -> Samples:
        """frames: float32[n, channels], contiguous, cleaned in place. Returns float32[m]: what is ready."""
        self.frames += len(frames)
        self.cleaned += clean(frames.reshape(-1))
        mono = frames[:, 0].copy()
        for channel in range(1, self.channels):  # one by one: numpy's mean may add in another order for another n
            mono += frames[:, channel]
        if self.channels > 1:
            mono /= np.float32(self.channels)
        return self._convert(mono, last=False)

    def flush(self) -> Samples:
        """Ends the run: returns the samples that the resampler still held. Afterwards a new run may begin."""
        tail = self._convert(np.empty(0, np.float32), last=True)
        missing = self.position(self.frames) - self.samples
        if missing < 0:  # soxr rounds the same way; this holds the promise if a version of it does not
            tail = tail[:missing]
        elif missing > 0:
            tail = np.concatenate([tail, np.zeros(missing, np.float32)])
        self.frames = self.samples = 0
        if self._soxr is not None:
            self._soxr.clear()
        return tail

    def _convert(self, mono: Samples, last: bool) -> Samples:
        if self._soxr is not None:
            mono = self._soxr.resample_chunk(mono, last)
            clean(mono)  # the filter overshoots steep edges by a few per cent: clipped, but not the input's fault
        self.samples += len(mono)
        return mono
