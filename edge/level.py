"""The lowest stair: how loud is a chunk, and does it stand out of the noise that is always there?

The level is the RMS around the mean of each 8 ms, so that DC, hum of the mains and rumble below about 55 Hz (the -3 dB point of
subtracting an 8 ms mean) neither open the gate nor hide what stands on them.

The floor is a minimum over time (Martin 2001, "Noise power spectral density estimation based on optimal smoothing and minimum
statistics", IEEE Trans. SAP 9(5), section III): the smallest mean power of any 0.26 s within the last 12 s. It follows down within
0.26 s, and up only once nothing quieter was heard for the whole window. So a steady sound that starts suddenly is a sound for
12 s, however loud it is, and then it is background. A stream starts with an empty window, that is without any floor.
"""

from __future__ import annotations

import math

import numpy as np

from edge._native import level_dbfs
from edge.types import SAMPLE_RATE, Samples

CHUNK = 512
"""Samples in a chunk: 32 ms, the step of Silero VAD at 16 kHz, and therefore of every stair of the gate."""

SILENCE_DBFS = -120.0
"""What the native meter gives for digital silence."""

_ROW = 128  # samples whose mean is taken away: 8 ms
_BLOCK = 8  # chunks in one mean power: 0.26 s, shorter than the pauses between phrases, long enough to calm noise
_MEAN = np.full(_ROW, 1.0 / _ROW, dtype=np.float32)


class Level:
    """Level and noise floor of a stream, chunk by chunk; one thread.

    margin_db: how far above the floor a chunk is audible. minimum_dbfs: below this nothing is, in whatever quiet.
    window_s: seconds after which a steady sound counts as background; rounded up to whole 0.26 s.
    """

    def __init__(self, margin_db: float = 6.0, minimum_dbfs: float = -60.0, window_s: float = 12.0) -> None:
        if not (margin_db > 0 and window_s > 0 and SILENCE_DBFS <= minimum_dbfs < 0):
            raise ValueError(f"margin_db {margin_db} and window_s {window_s} must be > 0, minimum_dbfs {minimum_dbfs} in -120..0")
        self.margin_db = margin_db
        self.minimum_dbfs = minimum_dbfs
        self.level_dbfs = SILENCE_DBFS
        self.floor_dbfs = SILENCE_DBFS
        self.threshold_dbfs = minimum_dbfs
        # A chunk whose plain RMS is this low cannot matter, rumble or not: the threshold stays at the minimum.
        self._low_dbfs = minimum_dbfs - margin_db
        blocks = math.ceil(window_s * SAMPLE_RATE / (CHUNK * _BLOCK))
        self._window = [0.0] * blocks
        self._at = 0
        self._power = 0.0
        self._chunks = 0
        self._work = np.zeros((CHUNK // _ROW, _ROW), dtype=np.float32)
        self._flat = self._work.reshape(-1)

    def measure(self, chunk: Samples) -> float:
        """Takes in one chunk and returns its level in dBFS, rumble removed; compare it with threshold_dbfs.

        chunk: float32[512], contiguous, not modified. The threshold that a chunk meets rests on the chunks before it.
        """
        if self._chunks == _BLOCK:
            self._adapt()
        level = level_dbfs(chunk)
        if level > self._low_dbfs:
            rows = chunk.reshape(-1, _ROW)
            np.subtract(rows, (rows @ _MEAN)[:, None], out=self._work)
            level = level_dbfs(self._flat)
        self.level_dbfs = level
        self._power += 10.0 ** (level * 0.1)
        self._chunks += 1
        return level

    def _adapt(self) -> None:
        self._window[self._at] = self._power / self._chunks
        self._at = (self._at + 1) % len(self._window)
        self._power, self._chunks = 0.0, 0
        lowest = min(self._window)
        self.floor_dbfs = 10.0 * math.log10(lowest) if lowest > 1e-12 else SILENCE_DBFS
        self.threshold_dbfs = max(self.floor_dbfs + self.margin_db, self.minimum_dbfs)
