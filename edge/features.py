"""Log-mel features of Whisper and the models that took them over (Qwen2-Audio, Voxtral, Audio Flamingo 3), in numpy.

Source: Radford et al. 2022 (Whisper), whisper/audio.py; bands on Slaney's scale with his areas (Auditory Toolbox, 1998).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from edge.types import SAMPLE_RATE, Samples

N_FFT, HOP = 400, 160
_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27.0


@cache
def whisper_filters(bands: int) -> Samples:
    """float32[bands, 201]: triangles between 0 and 8 kHz over the bins of 400 samples."""

    def to_hz(mel: np.ndarray) -> np.ndarray:
        linear = mel * _LINEAR_HZ
        edge = _BREAK_HZ / _LINEAR_HZ
        return np.where(mel < edge, linear, _BREAK_HZ * np.exp(_LOG_STEP * (mel - edge)))

    top = _BREAK_HZ / _LINEAR_HZ + np.log(SAMPLE_RATE / 2 / _BREAK_HZ) / _LOG_STEP
    corners = to_hz(np.linspace(0.0, top, bands + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    rising = (bins[None] - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins[None]) / np.diff(corners)[1:, None]
    area = 2.0 / (corners[2:] - corners[:-2])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)) * area[:, None], np.float32)


def whisper_log_mel(samples: Samples, bands: int) -> Samples:
    """float32[n] at 16 kHz, n >= 400 -> float32[bands, n // 160], scaled as Whisper scales it: relative to the loudest of these samples."""
    padded = np.pad(samples, N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: len(samples) // HOP]
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    logs = np.log10(np.maximum(whisper_filters(bands) @ power.T, 1e-10))
    return np.asarray((np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0, np.float32)
