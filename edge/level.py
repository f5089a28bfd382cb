"""The lowest stair: how loud is a chunk, and does it stand out of the noise that is always there?

The level is the RMS around the mean of each 8 ms, so that DC, hum of the mains and rumble below about 55 Hz (the -3 dB point of
subtracting an 8 ms mean) neither open the gate nor hide what stands on them. A chunk is audible when its level is above a minimum and
any of twelve mel bands is 6 dB above that band's own floor: an alarm stands out of its band long before it stands out of the whole.

The floors are minima over time (Martin 2001, "Noise power spectral density estimation based on optimal smoothing and minimum
statistics", IEEE Trans. SAP 9(5), section III): the smallest mean of any 0.26 s within the last 12 s. They follow down within 0.26 s,
and up only once nothing quieter was heard for the whole window. So a steady sound that starts suddenly is a sound for 12 s, however
loud it is, and then it is background. A stream starts with an empty window, that is without any floor.
"""

from __future__ import annotations

import math

import numpy as np

from edge._native import LogMel, level_dbfs
from edge.types import SAMPLE_RATE, Samples

CHUNK = 512
"""Samples in a chunk: 32 ms, the step of Silero VAD at 16 kHz, and therefore of every stair of the gate."""

SILENCE_DBFS = -120.0
"""What the native meter gives for digital silence."""

_ROW = 128  # samples whose mean is taken away: 8 ms
_BLOCK = 8  # chunks in one mean: 0.26 s, shorter than the pauses between phrases, long enough to calm noise
# In ten minutes each of white, pink and brown noise, two chunks in a row never had one of 12 bands 6 dB above its floor; of 16 bands once.
_BANDS = 12
_LN_PER_DB = math.log(10) / 10
_SILENT_BAND = math.log(1e-10)  # the native log-mel's floor
_MEAN = np.full(_ROW, 1.0 / _ROW, dtype=np.float32)


class Level:
    """Level and noise floor of a stream, chunk by chunk; one thread.

    margin_db: how far above its floor a band is audible. click_db: how far above the floor of the whole a single chunk is a click.
    minimum_dbfs: below this nothing is audible, in whatever quiet; a click needs as much more as click_db is above margin_db.
    window_s: seconds after which a steady sound counts as background; rounded up to whole 0.26 s.
    """

    def __init__(self, margin_db: float = 6.0, click_db: float = 10.0, minimum_dbfs: float = -60.0, window_s: float = 12.0) -> None:
        if not (0 < margin_db <= click_db and window_s > 0 and SILENCE_DBFS <= minimum_dbfs < 0):
            raise ValueError(
                f"margin_db {margin_db} must be > 0, click_db {click_db} at least that, window_s {window_s} > 0, "
                f"minimum_dbfs {minimum_dbfs} in -120..0"
            )
        self.level_dbfs = self.floor_dbfs = SILENCE_DBFS
        self.audible = self.click = False
        self._minimum_dbfs, self._click_db, self._margin = minimum_dbfs, click_db, margin_db * _LN_PER_DB
        self._click_minimum_dbfs = minimum_dbfs + click_db - margin_db
        # A chunk whose plain RMS is this low is not looked at closer: even noise that swings by twice the margin is below the minimum.
        self._low_dbfs = minimum_dbfs - 2 * margin_db
        self._mel = LogMel(_BANDS, 100.0, 8000.0)
        self._followed = False  # the native log-mel holds the samples just before this chunk
        blocks = math.ceil(window_s * SAMPLE_RATE / (CHUNK * _BLOCK))
        self._powers = [0.0] * blocks
        self._bands = np.full((blocks, _BANDS), -np.inf)
        self._audible_bands = np.full(_BANDS, -np.inf)
        self._at = self._chunks = self._heard = 0  # heard: those of the chunks that were looked at closer
        self._power, self._band_sum = 0.0, np.zeros(_BANDS)
        self._work = np.zeros((CHUNK // _ROW, _ROW), dtype=np.float32)
        self._flat = self._work.reshape(-1)

    def measure(self, chunk: Samples) -> None:
        """Takes in the next chunk and sets level_dbfs, audible and click for it, floor_dbfs for the chunks before it.

        chunk: float32[512], contiguous, not modified.
        """
        if self._chunks == _BLOCK:
            self._adapt()
        self._chunks += 1
        level = level_dbfs(chunk)
        if level <= self._low_dbfs:
            self.audible = self.click = False
            self.interrupt()
        else:
            rows = chunk.reshape(-1, _ROW)
            np.subtract(rows, (rows @ _MEAN)[:, None], out=self._work)
            level = level_dbfs(self._flat)
            frames = self._mel.extend(chunk)
            self._followed = True
            bands = np.add.reduce(frames, axis=0) / len(frames)
            self._band_sum += bands
            self._heard += 1
            self.click = level > max(self.floor_dbfs + self._click_db, self._click_minimum_dbfs)
            self.audible = self.click or (level > self._minimum_dbfs and bool((bands > self._audible_bands).any()))
        self.level_dbfs = level
        self._power += 10.0 ** (level * 0.1)

    def interrupt(self) -> None:
        """The next chunk does not follow the last one in time."""
        if self._followed:
            self._mel.reset()
            self._followed = False

    def _adapt(self) -> None:
        self._powers[self._at] = self._power / _BLOCK
        self._bands[self._at] = self._band_sum / self._heard if self._heard else _SILENT_BAND
        self._at = (self._at + 1) % len(self._powers)
        self._power, self._chunks, self._heard = 0.0, 0, 0
        self._band_sum[:] = 0.0
        lowest = min(self._powers)
        self.floor_dbfs = 10.0 * math.log10(lowest) if lowest > 1e-12 else SILENCE_DBFS
        self._audible_bands = np.fmin.reduce(self._bands, axis=0) + self._margin
