"""The pieces every synthesiser is made of: noise, wave tables, struck modes, formants, rooms. All float64 inside, 16 kHz, mono."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, signal

RATE = 16_000
"""Samples per second of everything in this package."""

PEAK = 0.5
"""Peak that `finish` gives every event."""


def span(rng: np.random.Generator, low: float, high: float) -> float:
    """One draw, uniform on [low, high)."""
    return float(rng.uniform(low, high))


def ratio(rng: np.random.Generator, low: float, high: float) -> float:
    """One draw, uniform on a logarithmic scale between low and high (both > 0): pitches, rates, decays."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def samples(seconds: float) -> int:
    """Seconds as a whole number of samples, at least 1."""
    return max(1, round(seconds * RATE))


def noise(rng: np.random.Generator, n: int, colour_name: str = "white") -> np.ndarray:
    """Stationary Gaussian noise with rms 1.

    colour_name: white, pink (-3 dB/octave), brown (-6), blue (+3), violet (+6); flat below 20 Hz.
    Returns: float64[n]. Raises: KeyError for another name.
    """
    slope = {"white": 0.0, "pink": -0.5, "brown": -1.0, "blue": 0.5, "violet": 1.0}[colour_name]
    return sloped(rng, n, slope)


def sloped(rng: np.random.Generator, n: int, slope: float) -> np.ndarray:
    """Gaussian noise whose amplitude goes with frequency ** slope (flat below 20 Hz), rms 1; float64[n]."""
    if slope == 0.0:
        return rng.standard_normal(n)
    length = int(2 ** np.ceil(np.log2(n + 256)))
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20.0)
    x = np.fft.irfft(spectrum * hertz**slope, length)[:n]
    return x / (np.sqrt(np.mean(x * x)) + 1e-12)


def band(x: np.ndarray, low_hz: float, high_hz: float, order: int = 2) -> np.ndarray:
    """Butterworth band-pass; low_hz <= 0 gives a low-pass, high_hz >= 7,900 a high-pass."""
    if high_hz >= 7_900:
        return x if low_hz <= 0 else signal.sosfilt(signal.butter(order, low_hz, "highpass", fs=RATE, output="sos"), x)
    if low_hz <= 0:
        return signal.sosfilt(signal.butter(order, high_hz, "lowpass", fs=RATE, output="sos"), x)
    return signal.sosfilt(signal.butter(order, (low_hz, max(high_hz, low_hz * 1.05)), "bandpass", fs=RATE, output="sos"), x)


def resonate(x: np.ndarray, hertz: Sequence[float], widths_hz: Sequence[float], gains: Sequence[float]) -> np.ndarray:
    """A bank of parallel two-pole resonators, each with gain about 1 at its centre times `gains`: formants, bodies, cavities."""
    out = np.zeros_like(x)
    for centre, width, gain in zip(hertz, widths_hz, gains, strict=True):
        if not 20 < centre < 7_800:
            continue
        r = np.exp(-np.pi * width / RATE)
        out += gain * signal.lfilter([1 - r, 0, -(1 - r) * r], [1, -2 * r * np.cos(2 * np.pi * centre / RATE), r * r], x)
    return out


def contour(rng: np.random.Generator, n: int, rate_hz: float, smooth: bool = True) -> np.ndarray:
    """A slow random line through uniform points in [-1, 1], `rate_hz` points a second; float64[n]."""
    points = max(4, int(n / RATE * rate_hz) + 4)
    places = np.linspace(0, points - 1.001, n)
    values = rng.uniform(-1, 1, points)
    if not smooth:
        return np.interp(places, np.arange(points), values)
    k = places.astype(int)
    t = places - k
    t = t * t * (3 - 2 * t)
    return values[k] * (1 - t) + values[np.minimum(k + 1, points - 1)] * t


def table(amplitudes: Sequence[float] | np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """One period of 2,048 points with these harmonic amplitudes (first = fundamental); random phases when rng is given."""
    spectrum = np.zeros(1025, dtype=complex)
    count = min(len(amplitudes), 400)
    phases = np.zeros(count) if rng is None else rng.uniform(0, 2 * np.pi, count)
    spectrum[1 : count + 1] = np.asarray(amplitudes[:count]) * np.exp(1j * (phases - np.pi / 2))
    wave = np.fft.irfft(spectrum, 2048)
    return wave / (np.abs(wave).max() + 1e-12)


def play(wave: np.ndarray, hertz: np.ndarray | float, n: int | None = None, start: float = 0.0) -> np.ndarray:
    """A wave table read at a frequency (Hz, one number or one a sample); float64[n]."""
    f = np.full(n if n is not None else 1, float(hertz)) if np.ndim(hertz) == 0 else np.asarray(hertz)
    places = (start + np.cumsum(f) / RATE) % 1.0 * len(wave)
    k = places.astype(np.int64)
    t = places - k
    return wave[k % len(wave)] * (1 - t) + wave[(k + 1) % len(wave)] * t


def falling(count: int, tilt: float, even: float = 1.0) -> np.ndarray:
    """Harmonic amplitudes k ** -tilt, the even ones times `even` (0 leaves odd harmonics only); float64[count]."""
    k = np.arange(1.0, count + 1)
    return k**-tilt * np.where(k % 2 == 0, even, 1.0)


def tone(rng: np.random.Generator, hertz: np.ndarray | float, n: int, tilt: float, even: float = 1.0) -> np.ndarray:
    """A harmonic tone whose harmonics stop below 7.6 kHz; peak 1; float64[n]."""
    count = max(1, int(7_600 / float(np.max(hertz))))
    return play(table(falling(count, tilt, even), rng), hertz, n, rng.random())


def strike(rng: np.random.Generator, hertz: Sequence[float], decays_s: Sequence[float], gains: Sequence[float], n: int) -> np.ndarray:
    """Struck modes: decaying sines (time constants in seconds) with random phases; float64[n], cut n samples after the blow."""
    out = np.zeros(n)
    for f, decay, gain in zip(hertz, decays_s, gains, strict=True):
        if not 15 < f < 7_800:
            continue
        m = min(n, samples(decay * 7))
        t = np.arange(m) / RATE
        out[:m] += gain * np.exp(-t / decay) * np.sin(2 * np.pi * f * t + rng.uniform(0, 2 * np.pi))
    rise = min(n, 8 + int(rng.integers(0, 24)))
    out[:rise] *= np.linspace(0, 1, rise)
    return out


def ramp(n: int, attack_s: float, release_s: float) -> np.ndarray:
    """An envelope that rises and falls on raised cosines; float64[n]."""
    env = np.ones(n)
    a, r = min(n, samples(attack_s)), min(n, samples(release_s))
    env[:a] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(a) / a)
    env[n - r :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, r + 1) / r)
    return env


def add(out: np.ndarray, x: np.ndarray, at: int, gain: float = 1.0) -> None:
    """Mixes x into out from sample `at`, in place; what hangs over is cut."""
    stop = min(len(out), at + len(x))
    if at < stop:
        out[at:stop] += gain * x[: stop - at]


def sparks(rng: np.random.Generator, n: int, per_second: float, spread: float) -> np.ndarray:
    """A Poisson train of single-sample impulses with log-normal sizes (spread = sigma of the logarithm); float64[n]."""
    out = np.zeros(n)
    count = int(rng.poisson(max(per_second * n / RATE, 0.0)))
    if count:
        np.add.at(out, rng.integers(0, n, count), rng.choice([-1.0, 1.0], count) * np.exp(rng.normal(0, spread, count)))
    return out


def pulses(hertz: np.ndarray, jitter: np.ndarray | None = None) -> np.ndarray:
    """Sample indices at which the phase of a frequency contour (Hz a sample) passes a whole number; int64[k]."""
    phase = np.cumsum(hertz if jitter is None else hertz * (1 + jitter)) / RATE
    return np.flatnonzero(np.diff(np.floor(phase), prepend=-1.0) > 0)


BANDS_HZ = (60.0, 250.0, 700.0, 1_800.0, 4_000.0, 7_900.0)
"""Edges of the five bands in which `burst` lets noise die at different speeds."""


def burst(rng: np.random.Generator, gains_db: Sequence[float], decays_s: Sequence[float]) -> np.ndarray:
    """One blow as noise: five bands (see BANDS_HZ), each with its own level and decay; float64[7 longest decays], peak about 1.

    Source: dense modes are indistinguishable from decaying noise, van den Doel, Kry and Pai, FoleyAutomatic (SIGGRAPH 2001).
    """
    n = samples(max(decays_s) * 7)
    t = np.arange(n) / RATE
    padded = fft.next_fast_len(n + 64, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(padded))
    place = np.interp(np.log(np.fft.rfftfreq(padded, 1 / RATE) + 1), np.log(np.array(BANDS_HZ) + 1), np.arange(6) - 0.5)
    out = np.zeros(n)
    for k, (gain, decay) in enumerate(zip(gains_db, decays_s, strict=True)):
        share = np.clip(1 - np.abs(place - k), 0, 1)
        x = np.fft.irfft(spectrum * share, padded)[:n]
        out += 10 ** (gain / 20) * x / (np.abs(x).max() + 1e-9) * np.exp(-t / decay)
    return out / (np.abs(out).max() + 1e-9)


def voicing(rng: np.random.Generator, x: np.ndarray, depth_db: float) -> np.ndarray:
    """x through a smooth random curve of +-depth_db over nine octave points: no two rains or motors have one spectrum; rms kept."""
    n = fft.next_fast_len(len(x), real=True)
    spectrum = np.fft.rfft(x, n)
    octave = np.log2(np.maximum(np.fft.rfftfreq(n, 1 / RATE), 31.25) / 31.25)
    y = np.fft.irfft(spectrum * 10 ** (np.interp(octave, np.arange(9), rng.uniform(-depth_db, depth_db, 9)) / 20), n)[: len(x)]
    return y * (x.std() + 1e-12) / (y.std() + 1e-12)
