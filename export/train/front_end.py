"""The runtime's log-mels on whatever device the scenes lie on; the native code computes the same for the device that hears."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

FRAME, HOP, FFT = 400, 160, 512
RATE = 16_000
BATCH = 64
"""Scenes that are transformed at once: their spectra take 270 MB."""


class LogMel(nn.Module):
    """Samples float32[B, N] at 16 kHz -> natural logarithm of mel energies float32[B, 1 + (N - 400) // 160, bands], never below ln 1e-10.

    Hann window (periodic) of 25 ms every 10 ms, power of a transform over 512, triangles of height 1 on the HTK mel scale.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, bands: int, low_hz: float, high_hz: float) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FRAME, periodic=True, dtype=torch.float64))
        mel = 2595 * np.log10(1 + np.arange(FFT // 2 + 1) * (RATE / FFT) / 700)
        low, high = 2595 * np.log10(1 + np.array([low_hz, high_hz]) / 700)
        centres = np.linspace(low, high, bands + 2)[1:-1]
        filters = np.maximum(0, 1 - np.abs(mel[:, None] - centres) * (bands + 1) / (high - low))
        filters[0] = 0
        self.register_buffer("filters", torch.from_numpy(filters))

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        made = []
        for part in samples.split(BATCH):
            spectrum = torch.fft.rfft(part.double().unfold(1, FRAME, HOP) * self.window, FFT)
            made.append(((spectrum.real**2 + spectrum.imag**2) @ self.filters).clamp(min=1e-10).log().float())
        return torch.cat(made)
