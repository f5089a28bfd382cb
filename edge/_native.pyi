"""Types of the native floor, built from native/bindings.cpp; the full contracts stand in native/include/auricle/*.hpp."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

Samples: TypeAlias = NDArray[np.float32] | Buffer
"""Contiguous, aligned, one-dimensional float32. Otherwise TypeError (not float32) or ValueError (shape, stride, read-only)."""

class Ring:
    """The newest `capacity` samples, addressed by an int64 index that never wraps: one writer thread, any number of readers."""

    def __init__(self, capacity: int) -> None:
        """capacity: samples, 1 to 2**30, rounded up to a power of two. Raises: ValueError, MemoryError."""
    @property
    def capacity(self) -> int: ...
    @property
    def head(self) -> int:
        """One past the newest sample."""
    @property
    def oldest(self) -> int:
        """The oldest sample that can still be read."""
    def write(self, samples: Samples) -> None:
        """Appends float32[n], n <= capacity (else ValueError), replacing the oldest. Writer thread only; keeps the GIL."""
    def skip(self, n: int) -> None:
        """Appends n zeros, n of any size: lost audio keeps the time line true. Writer thread only."""
    def read(self, start: int, out: Samples) -> int:
        """Copies samples [start, start + len(out)) to `out`; returns how many LEADING ones were lost, 0 for none.

        Lost samples are zeros in `out`, all others are exact. Any thread.
        Raises: ValueError when start < 0 or start + len(out) > head; `out` is then unchanged.
        """
    def portaudio(self, channels: int) -> PortAudioTap:
        """A callback that writes a device's interleaved frames into this ring. channels: 1 to 64."""

class PortAudioTap:
    """User data of a PaStreamCallback in C: interleaved float32 frames go into the ring as samples, index = frame * channels.

    Keep a reference until the stream is closed. While it runs, the device's thread is the ring's only writer.
    """

    @property
    def callback_address(self) -> int: ...
    @property
    def user_data_address(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def callbacks(self) -> int: ...
    @property
    def overflows(self) -> int:
        """Callbacks that came with paInputOverflow."""
    @property
    def last_callback_s(self) -> float:
        """time.monotonic() of the newest callback; 0.0 before the first."""
    @property
    def ring(self) -> Ring: ...

class TextDecoder:
    """The decoder of an encoder-decoder transformer over weights that stay in their arrays. One thread at a time, else RuntimeError."""

    def __init__(self, weights: dict[str, NDArray[Any]], layers: int, heads: int, gated: bool, threads: int) -> None:
        """weights: by the names that native/python_decoder.hpp reads, float32, or int8 with a float32 `.scale` a row; contiguous, and not
        changed while it lives. gated: see auricle/text_decoder.hpp. Raises: ValueError naming what is absent or of another shape.
        """
    def run(
        self, tokens: NDArray[np.int64], past: Sequence[NDArray[np.float32]], heard: Sequence[NDArray[np.float32]], logits_from: int
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """tokens: [1, n]. past: keys and values [1, H, P, d] of each layer; heard: keys [1, H, d, T] and values [1, H, T, d].

        Returns: logits [1, n - logits_from, vocabulary], past with what is new [1, H, P + n, d], attention [1, H, n, T] of each layer.
        Raises: ValueError for shapes that do not go together, IndexError for a token or a position that there is not.
        """

def level_dbfs(samples: Samples) -> float:
    """RMS in dBFS (0 dBFS is RMS 1.0, a square wave at full scale), at least -120; NaN and infinities count as 0."""

def clean(samples: Samples) -> int:
    """Sets NaN and infinities to 0 and clips to [-1, 1], in place; returns how many samples it changed."""

class LogMel:
    """Streaming log-mel energies; equal to log_mel() bit for bit for any division into calls. One thread at a time."""

    def __init__(self, bands: int = 80, low_hz: float = 0.0, high_hz: float = 8000.0) -> None:
        """bands: 1 to 128; 0 <= low_hz < high_hz <= 8000. Raises: ValueError."""
    @property
    def bands(self) -> int: ...
    def extend(self, samples: Samples) -> NDArray[np.float32]:
        """Takes float32[n]; returns float32[T, bands], every row that they complete. Releases the GIL from n = 8000 on."""
    def reset(self) -> None:
        """Forgets all samples: the next one is sample 0 of a new stream."""

def log_mel(samples: Samples, bands: int = 80, low_hz: float = 0.0, high_hz: float = 8000.0) -> NDArray[np.float32]:
    """Log-mel energies of one segment, natural log, floored at 1e-10.

    samples: float32[n], mono, 16 kHz; not modified.
    Returns: float32[T, bands], T = max(0, 1 + (n - 400) // 160); row t covers samples [160 t, 160 t + 400); always finite.
    Source: HTK mel scale, Young et al., The HTK Book 3.4, section 5.4.
    """
