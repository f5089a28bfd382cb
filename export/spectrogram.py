"""Spectrograms as part of a graph: for taggers whose own processors compute them in numpy, so that the device gives samples and no more.

Everything before the squaring is linear (window, mean removed, pre-emphasis, Fourier transform), so each is one convolution whose kernel
is multiplied out in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.recipes.recipe import BuildError

Doubles = NDArray[np.float64]


def fourier(window: Doubles, size: int) -> Doubles:
    """[2 (size / 2 + 1), frame]: real and imaginary parts of the transform of a windowed frame, filled up with zeros to `size`."""
    angles = -2.0 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(len(window))) / size
    return np.concatenate((np.cos(angles), np.sin(angles))) * window


def kaldi_frame(size: int, preemphasis: float) -> Doubles:
    """[size, size]: a frame's mean taken away, then each sample less a share of the one before it; the first less a share of itself."""
    centred = np.eye(size) - 1.0 / size
    shifted = np.roll(np.eye(size), -1, axis=1)
    shifted[0] = 0.0
    shifted[0, 0] = 1.0
    return np.asarray((np.eye(size) - preemphasis * shifted) @ centred)


class Power(nn.Module):
    """[1, N] -> [1, T, bands]: power of each frame in each band. kernel: as `fourier` gives it; filters [bins, bands]."""

    def __init__(self, kernel: Doubles, hop: int, filters: Doubles) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("kernel", torch.tensor(kernel, dtype=torch.float32).unsqueeze(1))
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32))

    def forward(self, samples: Tensor) -> Tensor:
        real, imaginary = functional.conv1d(samples.unsqueeze(1), self.get_buffer("kernel"), stride=self.hop).chunk(2, dim=1)
        return (real * real + imaginary * imaginary).transpose(1, 2) @ self.get_buffer("filters")


def plain(extractor: Any) -> Any:
    """The same AST processor, if it computes the filter bank in numpy. Raises: BuildError where torchaudio would."""
    if not hasattr(extractor, "mel_filters"):
        raise BuildError("torchaudio is installed and takes the place of the filter bank that this recipe was measured with; uninstall it")
    return extractor


class KaldiBank(nn.Module):
    """samples [1, N] -> [1, frames, bands] as transformers' AST processor computes it, normalized.

    What is missing of `frames` is filled up with zeros behind the logarithm, what is too much is left out. extractor: that processor.
    """

    FRAME, HOP, FFT, PREEMPHASIS = 400, 160, 512, 0.97
    FLOOR = 1.192092955078125e-07

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        kernel = fourier(np.asarray(extractor.window), self.FFT) @ kaldi_frame(self.FRAME, self.PREEMPHASIS)
        self.power = Power(kernel, self.HOP, np.asarray(extractor.mel_filters, np.float64))
        self.frames, self.bands = int(extractor.max_length), int(extractor.num_mel_bins)
        self.mean, self.scale = (float(extractor.mean), 0.5 / float(extractor.std)) if extractor.do_normalize else (0.0, 1.0)

    def forward(self, samples: Tensor) -> Tensor:
        bank = torch.log(self.power(samples).clamp(min=self.FLOOR))
        filled = torch.cat((bank, torch.zeros(1, self.frames, self.bands)), dim=1)[:, : self.frames]
        return (filled - self.mean) * self.scale


TAPS = 32
"""On either side of the filter that fills in samples, in samples of the slower rate."""


def interpolation(times: int) -> Doubles:
    """A low-pass for `times` as many samples a second: sinc in a Kaiser window, 100 dB down."""
    at = np.arange(-TAPS * times, TAPS * times + 1)
    found = np.sinc(at / times * 0.94) * 0.94 * np.kaiser(len(at), 10.0)
    return np.asarray(found / found.sum() * times)


class Faster(nn.Module):
    """[1, N] -> [1, N times]: the same sound with more samples a second, nothing above what there was."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.register_buffer("kernel", torch.tensor(interpolation(times), dtype=torch.float32)[None, None])

    def forward(self, samples: Tensor) -> Tensor:
        full = functional.conv_transpose1d(samples.unsqueeze(1), self.get_buffer("kernel"), stride=self.times)[:, 0]
        begin = TAPS * self.times
        return full[:, begin : begin + samples.shape[1] * self.times]


def faster(samples: NDArray[Any], times: int) -> Doubles:
    """What `Faster` computes, in float64: float[n] -> float64[n times]."""
    stuffed = np.zeros(len(samples) * times)
    stuffed[::times] = samples
    return np.convolve(stuffed, interpolation(times))[TAPS * times :][: len(stuffed)]
