"""Sounds that the starter must leave unnamed: clicks, glass, steps, whistles, animals, water and the like."""

from __future__ import annotations

import numpy as np

from export.train.synth_parts import (
    BANDS_HZ,
    RATE,
    add,
    band,
    burst,
    chance,
    contour,
    noise,
    play,
    ramp,
    ratio,
    resonate,
    samples,
    sloped,
    span,
    sparks,
    strike,
    table,
)
from export.train.synth_place import finish
from export.train.synth_voices import VOWELS, _arc, glottis, tract


def _modes(rng: np.random.Generator, low: float, high: float, decay_s: float, modes: int, force: float) -> np.ndarray:
    hertz = np.exp(rng.uniform(np.log(low), np.log(high), modes))
    x = strike(rng, list(hertz), list(decay_s * rng.uniform(0.4, 1.5, modes)), list(rng.uniform(0.2, 1, modes)), samples(decay_s * 7))
    return x * force


def _blows(rng: np.random.Generator, low: float, high: float, decay_s: float, modes: int, force: float) -> np.ndarray:
    """A blow that is mostly noise between low and high, with a few modes in it."""
    centres = np.sqrt(np.array(BANDS_HZ[:-1]) * np.array(BANDS_HZ[1:]))
    outside = np.maximum(0, np.maximum(np.log2(low / centres), np.log2(centres / high)))
    x = burst(rng, list(rng.uniform(-8, 0, 5) - 14 * outside), list(decay_s * np.array([1.4, 1.2, 1, 0.8, 0.6]) * rng.uniform(0.6, 1.4, 5)))
    ring = _modes(rng, low, high, decay_s, modes, span(rng, 0, 0.4))
    add(x, ring / (np.abs(ring).max() + 1e-9), 0, span(rng, 0, 0.5))
    return x * force


def click(rng: np.random.Generator) -> np.ndarray:
    """One to three clicks of a switch, latch or pen."""
    out, at, decay = np.zeros(samples(span(rng, 0.2, 0.9))), 0.01, ratio(rng, 0.0008, 0.01)
    for _ in range(int(rng.integers(1, 4))):
        add(out, _blows(rng, 900, 7_000, decay, 6, span(rng, 0.4, 1)), samples(at))
        at += span(rng, 0.02, 0.3)
    return finish(rng, out, 0.5)


def glass(rng: np.random.Generator) -> np.ndarray:
    """Glasses that touch, or a pane that breaks: bell-like modes, then many small pieces."""
    n, broken = samples(span(rng, 0.4, 2)), chance(rng, 0.5)
    out = np.zeros(n)
    add(out, _modes(rng, 1_200, 6_500, ratio(rng, 0.03, 0.35), 7, 1.0), 20)
    if broken:
        out += band(rng.standard_normal(n), 2_000, 7_900) * np.exp(-np.arange(n) / RATE / span(rng, 0.03, 0.12)) * 0.7
        for _ in range(int(rng.integers(8, 40))):
            add(out, _modes(rng, 2_000, 7_500, ratio(rng, 0.005, 0.06), 3, ratio(rng, 0.05, 0.5)), samples(rng.exponential(0.25)))
    elif chance(rng, 0.5):
        add(out, _modes(rng, 1_200, 6_500, ratio(rng, 0.03, 0.35), 7, 0.6), samples(span(rng, 0.1, 0.6)))
    return finish(rng, out, 0.5)


def footsteps(rng: np.random.Generator) -> np.ndarray:
    """Three to nine steps, heel and sole, on a hard floor, wood or gravel."""
    pace, count, gravel = span(rng, 0.38, 0.75), int(rng.integers(3, 10)), chance(rng, 0.3)
    out = np.zeros(min(samples(6), samples(pace * count + 0.3)))
    low, high = span(rng, 60, 200), ratio(rng, 500, 3_000)
    for k in range(count):
        at = k * pace * span(rng, 0.97, 1.03) + 0.01
        if gravel:
            m = samples(span(rng, 0.15, 0.28))
            grit = band(sparks(rng, m, 900, 1.0), 800, 7_500, 1)
            add(out, grit / (grit.std() + 1e-9) * np.hanning(m) * 0.4, samples(at))
        else:
            add(out, _blows(rng, low, high, 0.018, 7, span(rng, 0.6, 1)), samples(at))
            add(out, _blows(rng, low * 2, high * 2, 0.012, 5, span(rng, 0.15, 0.4)), samples(at + span(rng, 0.05, 0.12)))
    return finish(rng, out, 0.7)


def typing(rng: np.random.Generator) -> np.ndarray:
    """A keyboard: key down and key up, uneven, 3 to 10 keys a second."""
    n = samples(span(rng, 1, 5))
    out, at, rate = np.zeros(n), 0.02, span(rng, 3, 10)
    while at < n / RATE:
        add(out, _blows(rng, 400, 6_500, ratio(rng, 0.002, 0.008), 7, span(rng, 0.4, 1)), samples(at))
        add(out, _blows(rng, 1_000, 7_000, 0.002, 5, span(rng, 0.1, 0.4)), samples(at + span(rng, 0.05, 0.1)))
        at += float(rng.gamma(2.5, 1 / (2.5 * rate))) + 0.02
    return finish(rng, out, 0.5)


def whistle(rng: np.random.Generator) -> np.ndarray:
    """A person whistling: an almost pure gliding tone of 600 to 3,000 Hz with breath."""
    n, base = samples(span(rng, 0.3, 3)), ratio(rng, 700, 2_200)
    points = [base * 2 ** (s / 12) for s in rng.integers(-6, 8, int(rng.integers(2, 8)))]
    f = _arc(n, [float(p) for p in points]) * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * np.arange(n) / RATE))
    x = play(table([1, span(rng, 0.01, 0.08)]), f) * (0.8 + 0.2 * contour(rng, n, 5))
    return finish(rng, (x + span(rng, 0.01, 0.08) * band(noise(rng, n), 1_000, 5_000)) * ramp(n, 0.04, 0.06), 0.6)


def bird(rng: np.random.Generator) -> np.ndarray:
    """Small birds: sweeping chirps of 2 to 7 kHz in phrases."""
    n = samples(span(rng, 0.8, 4))
    out, at, base = np.zeros(n), 0.02, ratio(rng, 2_000, 4_800)
    shape, length, gap = rng.uniform(0.7, 1.35, 4), ratio(rng, 0.03, 0.22), ratio(rng, 0.03, 0.3)
    while at < n / RATE:
        m = samples(length)
        if chance(rng, 0.25):
            shape = rng.uniform(0.7, 1.35, 4)
        x = play(table([1, 0.12]), np.minimum(_arc(m, [float(base * s) for s in shape]), 7_500))
        add(out, x * np.hanning(m), samples(at), span(rng, 0.4, 1))
        at += length + gap * (span(rng, 3, 8) if chance(rng, 0.15) else 1)
    return finish(rng, out, 0.5)


def cat(rng: np.random.Generator) -> np.ndarray:
    """A meow: 400 to 900 Hz arching, mouth opening and closing."""
    m, base = samples(span(rng, 0.35, 1.3)), ratio(rng, 380, 850)
    f = _arc(m, [base * span(rng, 0.7, 1), base * 1.2, base * 1.1, base * span(rng, 0.6, 0.95)])
    x = glottis(rng, f, span(rng, 0.7, 1.4), span(rng, 0.02, 0.2), span(rng, 0, 0.2))
    half = m // 2
    y = np.concatenate([tract(rng, x[:half], VOWELS[4], 1.5, VOWELS[0]), tract(rng, x[half:], VOWELS[0], 1.5, VOWELS[5])])
    return finish(rng, y * ramp(m, 0.06, 0.15), 0.5)


def clap(rng: np.random.Generator) -> np.ndarray:
    """One to five claps of hands: short noise bursts around 1 to 2.5 kHz."""
    count, gap = int(rng.integers(1, 6)), ratio(rng, 0.15, 0.6)
    out, centre = np.zeros(samples(count * gap + 0.3)), ratio(rng, 700, 2_500)
    for k in range(count):
        m = samples(0.12)
        burst = rng.standard_normal(m) * np.exp(-np.arange(m) / RATE / span(rng, 0.004, 0.015))
        burst = resonate(burst, [centre * span(rng, 0.9, 1.1), centre * 2.3], [600, 1_500], [1, 0.5]) + 0.2 * burst
        add(out, burst, samples(k * gap * span(rng, 0.95, 1.05) + 0.01), span(rng, 0.6, 1))
    return finish(rng, out, 0.8)


def water(rng: np.random.Generator) -> np.ndarray:
    """Drips or a pour: bubbles whose pitch rises as they close (Minnaert resonance)."""
    n, pour = samples(span(rng, 0.8, 5)), chance(rng, 0.5)
    out = np.zeros(n)
    for _ in range(int(n / RATE * (ratio(rng, 30, 120) if pour else ratio(rng, 0.7, 5))) + 1):
        m = samples(ratio(rng, 0.01, 0.09))
        t = np.arange(m) / RATE
        f = ratio(rng, 350, 3_500) * (1 + span(rng, 0.2, 5) * t)
        add(
            out,
            np.sin(2 * np.pi * np.cumsum(f) / RATE) * np.exp(-t * 5 / t[-1]) * ramp(m, 0.002, 0.002),
            int(rng.integers(0, n)),
            ratio(rng, 0.1, 1),
        )
    return finish(rng, out + (span(rng, 0.02, 0.3) * band(noise(rng, n), 300, 5_000, 1) if pour else 0), 0.5)


def cough(rng: np.random.Generator) -> np.ndarray:
    """One to four coughs: an explosive noise and a hoarse vowel, no gasp before (unlike a sneeze)."""
    out, at, base = np.zeros(samples(3.0)), 0.01, ratio(rng, 90, 300)
    scale = span(rng, 0.9, 1.4)
    for _ in range(int(rng.integers(1, 5))):
        m = samples(span(rng, 0.15, 0.35))
        t = np.arange(m) / RATE
        x = rng.standard_normal(m) * np.exp(-t / 0.04) + 0.6 * glottis(rng, _arc(m, [base * 1.3, base]), 0.8, 1.0, 0.8) * np.exp(-t / 0.09)
        y = tract(rng, x, VOWELS[1], scale, VOWELS[0])
        add(out, y / np.abs(y).max() * ramp(m, 0.003, 0.05), samples(at), span(rng, 0.6, 1))
        at += m / RATE + span(rng, 0.05, 0.5)
    return finish(rng, out[: min(len(out), samples(at))], 0.6)


def laugh(rng: np.random.Generator) -> np.ndarray:
    """Something like laughter: quick falling 'ha' syllables."""
    count, gap, base = int(rng.integers(3, 10)), span(rng, 0.16, 0.26), ratio(rng, 120, 400)
    out, scale = np.zeros(samples(count * gap + 0.2)), span(rng, 0.95, 1.3)
    for k in range(count):
        m = samples(gap * span(rng, 0.5, 0.8))
        f = base * (1 - 0.03 * k)
        y = tract(rng, glottis(rng, _arc(m, [f * 1.1, f * 1.2, f * 0.9]), 1.2, span(rng, 0.1, 0.5)), VOWELS[int(rng.choice([0, 2]))], scale)
        add(out, y / np.abs(y).max() * ramp(m, 0.03, 0.04), samples(k * gap), span(rng, 0.6, 1) * 0.95**k)
    return finish(rng, out, 0.6)


def rustle(rng: np.random.Generator) -> np.ndarray:
    """Paper, cloth or a bag: irregular bursts of bright noise and small crackles."""
    n = samples(span(rng, 0.5, 3.5))
    env = np.clip(contour(rng, n, span(rng, 3, 10)), 0, 1) ** 1.5 + 0.03
    x = band(noise(rng, n), ratio(rng, 500, 2_500), 7_900, 1) + span(rng, 0, 3) * band(sparks(rng, n, 300, 0.8), 1_000, 7_900, 1)
    return finish(rng, x * env * ramp(n, 0.03, 0.05), 0.3)


def thump(rng: np.random.Generator) -> np.ndarray:
    """One dull blow: something heavy falls, a body against a wall."""
    n = samples(span(rng, 0.25, 0.8))
    out = np.zeros(n)
    add(out, _modes(rng, 35, 130, ratio(rng, 0.06, 0.15), 5, 1.0), 10)
    add(out, _blows(rng, 60, 350, 0.05, 4, span(rng, 0.1, 0.6)), 10)
    return finish(rng, out, 0.7)


def whoosh(rng: np.random.Generator) -> np.ndarray:
    """Something passing through the air: noise that swells, brightens and fades."""
    n = samples(span(rng, 0.2, 1.5))
    bright = np.sin(np.pi * np.linspace(0, 1, n) ** span(rng, 0.6, 1.6)) ** span(rng, 1, 3)
    low, high = band(sloped(rng, n, -0.6), 80, 900, 1), band(noise(rng, n), ratio(rng, 700, 2_000), 6_000, 1)
    return finish(rng, low * bright**0.7 + high * bright**2 * span(rng, 0.2, 1.0), 0.3)
