"""Where a sound was heard from: rooms, microphones, speed. Each takes and returns one event, float32 mono at 16 kHz."""

from __future__ import annotations

import numpy as np
from scipy import signal

from export.train.synth_parts import PEAK, RATE, band, chance, ramp, ratio, samples, sloped, span


def impulse_response(rng: np.random.Generator) -> np.ndarray:
    """A random room: direct sound, 4 to 12 early reflections, a noise tail whose treble dies first; RT60 0.1 to 1.2 s; float64[n].

    Source: exponential decay model of late reverberation, Moorer, About This Reverberation Business (1979).
    """
    rt60 = ratio(rng, 0.1, 1.2)
    n = samples(rt60)
    t = np.arange(n) / RATE
    tail = rng.standard_normal(n) * np.exp(-6.91 * t / rt60)
    dull = band(tail, 0, span(rng, 1_500, 4_000), 1)
    mix = np.minimum(1, t / (0.3 * rt60))
    tail = tail * (1 - mix) + dull * mix
    start = samples(span(rng, 0.003, 0.02))
    tail[: min(start, n)] = 0
    rir = tail * (ratio(rng, 0.15, 1.5) / (np.sqrt(np.sum(tail * tail)) + 1e-9))
    for _ in range(int(rng.integers(4, 13))):
        at = samples(span(rng, 0.001, 0.04))
        if at < n:
            rir[at] += span(rng, -0.5, 0.5)
    rir[0] += 1.0
    return rir


def room(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """x heard in a random room, its tail included (at most 0.8 s); float32[>= n], the peak of x kept."""
    rir = impulse_response(rng)
    y = signal.oaconvolve(x.astype(np.float64), rir)[: len(x) + min(len(rir), samples(0.8))]
    return _level(y, x)


def colour(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """x through a random microphone: tilt, one or two peaks or dips, and at times the band of a telephone; float32[n], peak kept."""
    y = x.astype(np.float64)
    corner, tilt = ratio(rng, 300, 3_000), span(rng, -0.75, 0.75)
    low = band(y, 0, corner, 1)
    y = low * (1 - tilt) + (y - low) * (1 + tilt)
    for _ in range(int(rng.integers(0, 3))):
        y = y + (10 ** (span(rng, -10, 10) / 20) - 1) * _bell(y, ratio(rng, 120, 6_500), ratio(rng, 0.7, 4))
    kind = rng.random()
    if kind < 0.12:
        y = band(y, span(rng, 200, 400), span(rng, 3_000, 3_800))  # telephone, ITU-T G.712
    elif kind < 0.3:
        y = band(y, 0, ratio(rng, 1_800, 6_000), int(rng.integers(1, 4)))  # far away or behind a door
    elif kind < 0.45:
        y = band(y, ratio(rng, 80, 500), 8_000)  # a small capsule
    if chance(rng, 0.08):
        drive = ratio(rng, 1.5, 6)
        y = np.tanh(drive * y / (np.abs(y).max() + 1e-9))
    return _level(y, x)


def warp(rng: np.random.Generator, x: np.ndarray, low: float = 0.8, high: float = 1.25) -> np.ndarray:
    """x played at a random speed between low and high, pitch and tempo together; float32[n / speed]."""
    speed = ratio(rng, low, high)
    n = max(1, int(len(x) / speed))
    if speed > 1:
        x = band(x.astype(np.float64), 0, 7_600 / speed, 4)
    return np.interp(np.arange(n) * speed, np.arange(len(x)), x).astype(np.float32)


def narrow(x: np.ndarray) -> np.ndarray:
    """x without what lies above 4 kHz: what a recording at 8 kHz holds; float32[n]."""
    return band(x.astype(np.float64), 0, 3_900, 6).astype(np.float32)


def _bell(y: np.ndarray, centre_hz: float, q: float) -> np.ndarray:
    # A peak as wide as half the sampling rate is an unstable filter.
    b, a = signal.iirpeak(centre_hz, max(q, centre_hz / 6_000), fs=RATE)
    return signal.lfilter(b, a, y)


def _level(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    peak = float(np.abs(x).max()) if len(x) else PEAK
    return (y * (peak / (np.abs(y).max() + 1e-9))).astype(np.float32)


def finish(rng: np.random.Generator, x: np.ndarray, wet: float = 0.35, hiss: float = 0.25) -> np.ndarray:
    """The last step of every synthesiser: sometimes a tail, sometimes a trace of noise, soft ends, peak 0.5.

    wet, hiss: probabilities of a room and of background noise (-60 to -32 dB below the event's rms).
    Returns: float32[n], finite, 0.2 to 6.5 s.
    """
    x = np.nan_to_num(np.asarray(x, dtype=np.float64))[: samples(6.5)]
    x = x - x.mean()
    x = np.concatenate([x, np.zeros(max(0, samples(0.2) - len(x)))])
    if chance(rng, wet):
        x = room(rng, x).astype(np.float64)[: samples(6.5)]
    if chance(rng, hiss):
        x = x + sloped(rng, len(x), span(rng, -1, 0.2)) * np.sqrt(np.mean(x * x)) * 10 ** (span(rng, -60, -32) / 20)
    x = x * ramp(len(x), 0.002, 0.006)
    return (x * (PEAK / (np.abs(x).max() + 1e-9))).astype(np.float32)
