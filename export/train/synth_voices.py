"""Throats: dog, baby, sneeze, rooster; and the coughs, laughs, cats and birds that the starter must not name."""

from __future__ import annotations

import numpy as np

from export.train.synth_parts import (
    RATE,
    add,
    band,
    chance,
    contour,
    falling,
    noise,
    play,
    ramp,
    ratio,
    resonate,
    samples,
    span,
    table,
)
from export.train.synth_place import finish

VOWELS = ((730, 1_090, 2_440), (570, 840, 2_410), (660, 1_720, 2_410), (530, 1_840, 2_480), (270, 2_290, 3_010), (300, 870, 2_240))
"""First three formants of a, o, ae, e, i, u of an adult (Peterson and Barney, 1952)."""


def glottis(rng: np.random.Generator, f: np.ndarray, tilt: float, breath: float, rough: float = 0.0) -> np.ndarray:
    """A voice source: harmonic pulses with jitter, subharmonic roughness and breath that follows the pulses."""
    n = len(f)
    f = f * (1 + ratio(rng, 0.001, 0.01) * contour(rng, n, 40) + rough * 0.08 * contour(rng, n, 150))
    count = max(2, min(60, int(7_600 / float(f.max()))))
    x = play(table(falling(count, tilt)), f)
    if rough > 0:
        x = x * (1 + rough * np.sin(np.pi * np.cumsum(f) / RATE))
    air = band(rng.standard_normal(n), 500, 7_900, 1)
    return x + breath * air * (0.5 + np.abs(x))


def tract(
    rng: np.random.Generator, x: np.ndarray, vowel: tuple[float, ...], scale: float, end: tuple[float, ...] | None = None
) -> np.ndarray:
    """A source through the formants of `vowel` times `scale` (short tracts > 1), gliding to `end` when given."""
    widths = [90 * scale, 120 * scale, 200 * scale, 300 * scale]
    gains = [1.0, span(rng, 0.4, 0.9), span(rng, 0.15, 0.5), span(rng, 0.1, 0.4)]

    def shaped(v: tuple[float, ...]) -> np.ndarray:
        return resonate(x, [f * scale for f in v] + [3_500 * scale], widths, gains) + 0.05 * x

    if end is None:
        return shaped(vowel)
    w = np.linspace(0, 1, len(x))
    return shaped(vowel) * (1 - w) + shaped(end) * w


def _arc(n: int, points: list[float]) -> np.ndarray:
    """A smooth frequency line through evenly spaced points."""
    t = np.linspace(0, len(points) - 1, n)
    y = np.interp(t, np.arange(len(points)), points)
    k = max(3, n // (4 * len(points)))
    smooth = np.cumsum(np.concatenate([np.full(k, y[0]), y, np.full(k, y[-1])]))
    return ((smooth[2 * k :] - smooth[: -2 * k]) / (2 * k))[:n]


def bark(rng: np.random.Generator) -> np.ndarray:
    """One to six barks of a dog, small and yapping to large and deep: a fast pitch arc, rough, through a short tract.

    Source: Yin and McCowan, Barking in domestic dogs (Animal Behaviour, 2004): 0.1-0.4 s, 160-2,630 Hz.
    """
    size = rng.random()
    base = np.exp(np.interp(size, [0, 1], np.log([1_050, 330]))) * span(rng, 0.85, 1.15)
    mouth = float(np.exp(np.interp(size, [0, 1], np.log([1_900, 800])))) * span(rng, 0.85, 1.15)
    count, gap = int(rng.integers(1, 7)), ratio(rng, 0.15, 0.8)
    rough, breath, tilt = span(rng, 0, 1.4), ratio(rng, 0.03, 0.9), span(rng, 0.0, 1.0)
    length = ratio(rng, 0.12, 0.34)
    out = np.zeros(min(samples(6.0), samples(count * (length * 1.3 + gap) + 0.1)))
    at, start_f, peak_f = 0.01, span(rng, 0.5, 0.9), span(rng, 1.0, 1.3)
    for _ in range(count):
        m = samples(length * float(np.exp(rng.normal(0, 0.15))))
        f0 = base * float(np.exp(rng.normal(0, 0.05)))
        x = glottis(rng, _arc(m, [f0 * start_f, f0 * peak_f, f0, f0 * span(rng, 0.4, 0.7)]), tilt, breath, rough)
        opening = [mouth * span(rng, 0.9, 1.1), mouth * 1.7, mouth * 2.8]
        y = resonate(
            x, [base, *opening], [base * 0.5, mouth * 0.35, mouth * 0.5, mouth * 0.8], [0.8, 1.0, span(rng, 0.2, 0.9), span(rng, 0.05, 0.4)]
        )
        t = np.arange(m) / m
        env = np.minimum(1, t / span(rng, 0.04, 0.2)) * np.exp(-span(rng, 1.0, 3.5) * np.clip(t - 0.25, 0, 1))
        y = band(np.tanh(y / (y.std() + 1e-9) * span(rng, 0.3, 0.8)), base * 0.6, 7_900, 1) * env
        add(out, y / (np.abs(y).max() + 1e-9) * ramp(m, 0.004, 0.04), samples(at), span(rng, 0.7, 1))
        at += length + gap * float(np.exp(rng.normal(0, 0.25)))
    out = band(out, 0, ratio(rng, 2_000, 7_000), int(rng.integers(1, 3)))
    return finish(rng, out, 0.85)


def baby_cry(rng: np.random.Generator) -> np.ndarray:
    """A crying baby: wails of 0.4 to 1.6 s with a rising-falling melody, vibrato, hoarse stretches, sobbed breaths between.

    Source: Wasz-Hockert et al., The Infant Cry (1968): F0 350-600 Hz, shifts to 1-2 kHz; tract about half an adult's.
    """
    base, scale = ratio(rng, 330, 620), span(rng, 1.35, 1.8)
    tilt, breath = span(rng, 0.5, 1.3), span(rng, 0.03, 0.3)
    total = span(rng, 1.5, 6)
    out, at = np.zeros(samples(total)), 0.02
    rate, depth = span(rng, 4, 9), span(rng, 0, 0.03)
    vowel, end = (900, 1_500, 2_700), VOWELS[int(rng.integers(0, 4))]
    while at < total - 0.3:
        m = samples(min(ratio(rng, 0.3, 1.7), total - at))
        points = [
            base * p for p in (span(rng, 0.7, 0.95), span(rng, 1.0, 1.25), span(rng, 0.95, 1.2), span(rng, 0.9, 1.1), span(rng, 0.55, 0.85))
        ]
        if chance(rng, 0.12):
            points = [p * 1.9 for p in points]  # hyperphonation
        f = _arc(m, points) * (1 + depth * np.sin(2 * np.pi * rate * np.arange(m) / RATE))
        hoarse = np.clip(contour(rng, m, 3), 0, 1) if chance(rng, 0.5) else np.zeros(m)
        x = glottis(rng, f, tilt, breath)
        x = x * (1 - 0.5 * hoarse) + hoarse * glottis(rng, f, tilt, 0.6, 0.9)
        y = tract(rng, x, vowel, scale, end if chance(rng, 0.6) else None)
        add(out, y / (np.abs(y).max() + 1e-9) * ramp(m, span(rng, 0.02, 0.12), span(rng, 0.05, 0.2)), samples(at), span(rng, 0.6, 1))
        at += m / RATE
        gap = ratio(rng, 0.1, 0.7)
        if chance(rng, 0.75):  # drawing breath, voiced at times
            g = samples(min(gap, 0.35) * 0.9)
            air = tract(
                rng, noise(rng, g) * 0.5 + (0.5 * glottis(rng, np.full(g, base * 1.3), 1.5, 0.5) if chance(rng, 0.3) else 0), vowel, scale
            )
            add(out, air / (np.abs(air).max() + 1e-9) * ramp(g, 0.06, 0.04), samples(at + 0.02), span(rng, 0.08, 0.3))
        at += gap
    return finish(rng, out, 0.55)


def sneeze(rng: np.random.Generator) -> np.ndarray:
    """A sneeze: one or two gasps in, then a burst "tch" that bends into a breathy "oo", at times voiced, at times twice.

    Source: expiratory phase 0.3-0.7 s after inspiration to full volume, Nishino (Anesthesiology, 2000).
    """
    scale = span(rng, 0.85, 1.5)
    base = ratio(rng, 110, 380)
    parts: list[np.ndarray] = []
    for _ in range(2 if chance(rng, 0.2) else 1):
        if chance(rng, 0.75):
            for _ in range(int(rng.integers(1, 3))):
                m = samples(span(rng, 0.12, 0.5))
                x = tract(
                    rng,
                    noise(rng, m) * 0.5 + span(rng, 0, 0.5) * glottis(rng, _arc(m, [base, base * 1.5]), 1.2, 0.5),
                    VOWELS[0],
                    scale,
                    VOWELS[2],
                )
                t = np.arange(m) / m
                parts += [
                    x / (np.abs(x).max() + 1e-9) * t**1.2 * ramp(m, 0.03, 0.03) * span(rng, 0.06, 0.35),
                    np.zeros(samples(span(rng, 0.03, 0.2))),
                ]
        m = samples(span(rng, 0.25, 0.65))
        t = np.arange(m) / RATE
        hiss = band(rng.standard_normal(m), ratio(rng, 1_200, 3_000), 7_900, 1) * np.exp(-t / span(rng, 0.05, 0.14))
        voice = glottis(rng, _arc(m, [base * 2, base * 1.6, base * 0.9]), 1.0, span(rng, 0.6, 2), span(rng, 0, 0.6))
        oo = (
            tract(rng, voice, VOWELS[int(rng.choice([0, 1, 2]))], scale, VOWELS[5])
            * np.minimum(1, t / span(rng, 0.02, 0.1))
            * np.exp(-t / span(rng, 0.08, 0.22))
        )
        blow = hiss / (np.abs(hiss).max() + 1e-9) * span(rng, 0.3, 1.3) + oo / (np.abs(oo).max() + 1e-9)
        parts += [np.tanh(blow * span(rng, 0.8, 2)) * ramp(m, 0.006, 0.05), np.zeros(samples(span(rng, 0.05, 0.6)))]
    return finish(rng, np.concatenate(parts), 0.6)


def crow(rng: np.random.Generator) -> np.ndarray:
    """A rooster: four or five syllables, short short long, the long one held and then drooping, harmonic, bright at 1 to 2.5 kHz.

    Source: five harmonics under one broad resonance of the tracheal tract, after Fletcher, Acoustic Systems in Biology (1992), chapter 14.
    """
    base = ratio(rng, 470, 930)
    plan = [(span(rng, 0.12, 0.3), 0.75, 1.0), (span(rng, 0.08, 0.2), 0.95, 1.1), (span(rng, 0.12, 0.4), 1.0, 1.25)]
    plan = plan if chance(rng, 0.7) else plan[1:]
    parts, tilt, breath = [], span(rng, 0.0, 0.7), ratio(rng, 0.05, 0.6)
    throat, width = ratio(rng, 1_350, 2_500), span(rng, 120, 480)
    top, hold = span(rng, 1.0, 1.3), span(rng, 0.7, 1.7)
    for seconds, a, b in [*plan, (hold, 1.0, top)]:
        m, long = samples(seconds), seconds == hold
        flat = [base * b * float(p) for p in rng.normal(1, 0.015, 5)]
        f = _arc(m, [base * a, *flat, base * b * (span(rng, 0.6, 0.95) if long else 0.97)])
        x = glottis(rng, f, tilt, breath, span(rng, 0, 0.8) if chance(rng, 0.4) else 0.0)
        y = resonate(
            x, [throat, throat * 1.9, throat * 3], [width, width * 1.5, width * 2], [1.0, span(rng, 0.15, 0.5), span(rng, 0.02, 0.2)]
        )
        y = y / (np.abs(y).max() + 1e-9) * ramp(m, 0.03, (0.3 if long else 0.15) * seconds)
        parts += [y * (1 if long else span(rng, 0.4, 0.9)), np.zeros(samples(span(rng, 0.01, 0.06)))]
    return finish(rng, np.concatenate(parts), 0.7)
