"""Sounds without edges: noise, wind, rain, surf, fire; and music."""

from __future__ import annotations

import numpy as np
from scipy import signal

from export.train.synth_parts import (
    RATE,
    add,
    band,
    burst,
    chance,
    contour,
    falling,
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
    tone,
    voicing,
)
from export.train.synth_place import finish
from export.train.synth_struck import chord_tables, note


def plain_noise(rng: np.random.Generator) -> np.ndarray:
    """Stationary noise: sloped, band-limited, mains hum with harmonics, fan, static; nearly always without any change in time.

    Source: IEC 60050-801 (white, pink noise); 50 and 60 Hz mains and their even harmonics.
    """
    n = samples(span(rng, 1.5, 6))
    kind = rng.choice(["sloped", "band", "hum", "fan", "static"], p=[0.45, 0.2, 0.12, 0.15, 0.08])
    x = sloped(rng, n, span(rng, -1.1, 1.0) if chance(rng, 0.5) else float(rng.choice([0.0, -0.5, -1.0, 0.5])))
    if kind == "band":
        low = ratio(rng, 60, 3_000)
        x = band(x, low, min(7_500, low * ratio(rng, 1.5, 20)), int(rng.integers(1, 4)))
    elif kind in ("hum", "fan"):
        f = float(rng.choice([50.0, 60.0])) * (1 if kind == "hum" else span(rng, 0.4, 3))
        hum = play(table(falling(20, span(rng, 0.8, 2)) * rng.uniform(0.1, 1, 20), rng), f, n)
        if kind == "fan":
            x = band(sloped(rng, n, span(rng, -1, -0.3)), 0, ratio(rng, 600, 6_000), 1)
            x, hum = x / (x.std() + 1e-9), hum * span(rng, 0.02, 0.5)
        else:
            x = x * ratio(rng, 0.003, 0.3)
        x = x + hum / (hum.std() + 1e-9) * (1.0 if kind == "hum" else 0.3)
    elif kind == "static":
        x = 0.3 * x + band(sparks(rng, n, ratio(rng, 200, 4_000), 0.6), 300, 7_900, 1) * 4
    if chance(rng, 0.1):
        x = x * (1 + 0.4 * contour(rng, n, span(rng, 0.3, 2)))
    return finish(rng, x * ramp(n, ratio(rng, 0.003, 0.5), ratio(rng, 0.003, 0.5)), 0.05, 0.0)


def wind(rng: np.random.Generator) -> np.ndarray:
    """Wind: gusts of low noise buffeting the microphone, at times howling round an edge, little treble.

    Source: turbulence spectrum f ** (-5/3) (Kolmogorov 1941); aeolian tones follow the gusts' speed (Strouhal 0.2).
    """
    n = samples(span(rng, 2.5, 6))
    gust = 0.55 + 0.45 * contour(rng, n, ratio(rng, 0.3, 1.5))
    buffet = 1 + span(rng, 0.1, 0.9) * contour(rng, n, ratio(rng, 3, 16))
    out = sloped(rng, n, span(rng, -1.4, -0.55)) * gust**2 * buffet
    leaves = voicing(rng, band(sloped(rng, n, -0.8), 150, ratio(rng, 500, 2_000), 1), 5)
    out = out / out.std() + span(rng, 0.05, 1.0) * leaves * gust**2
    if chance(rng, 0.65):  # howl: narrow noise whose centre goes with the gust
        centre = ratio(rng, 220, 900)
        stack = [resonate(rng.standard_normal(n), [centre * r], [span(rng, 25, 120)], [1.0]) for r in (0.75, 1.0, 1.35)]
        howl = sum(s / (s.std() + 1e-9) * np.clip(1 - np.abs(gust * 2 - k), 0, 1) for k, s in enumerate(stack))
        out = out / (out.std() + 1e-9) + span(rng, 0.1, 1.0) * howl * gust
    return finish(rng, band(out, span(rng, 30, 120), ratio(rng, 1_500, 7_000), 1) * ramp(n, 0.3, 0.3), 0.1, 0.1)


def rain(rng: np.random.Generator) -> np.ndarray:
    """Rain: the merged hiss of very many drops, and single drops on leaves, roof, puddle or street nearby.

    Source: drop sizes fall exponentially (Marshall and Palmer 1948); bubbles under puddle drops ring at 1 to 8 kHz (Minnaert 1933).
    """
    n = samples(span(rng, 2.5, 6))
    hiss = voicing(rng, sloped(rng, n, span(rng, -0.8, 0.1)), span(rng, 1, 9))
    patter = band(sparks(rng, n, ratio(rng, 1_500, 8_000), 0.7), ratio(rng, 200, 1_500), 7_900, 1)
    out = hiss / hiss.std() + patter / (patter.std() + 1e-9) * span(rng, 0, 0.8)
    low, high = {"leaves": (800, 6_000), "roof": (150, 2_500), "puddle": (700, 6_000), "street": (1_000, 7_000)}[
        str(rng.choice(["leaves", "roof", "puddle", "street"]))
    ]
    density, loud = ratio(rng, 3, 300), ratio(rng, 0.05, 1.5)
    for _ in range(5):
        m = samples(ratio(rng, 0.002, 0.02))
        drop = rng.standard_normal(m) * np.exp(-5 * np.arange(m) / m) * span(rng, 0.3, 1)
        drop += 2 * strike(rng, [ratio(rng, low, high)], [m / RATE / 5], [1.0], m)
        hits = signal.oaconvolve(sparks(rng, n, density / 5, span(rng, 0.4, 0.9)), voicing(rng, drop, 6))[:n]
        out += hits / (np.abs(drop).max() + 1e-9) * loud * 2
    return finish(rng, out * (1 + 0.1 * contour(rng, n, 0.7)) * ramp(n, 0.1, 0.1), 0.1, 0.0)


def waves(rng: np.random.Generator) -> np.ndarray:
    """Surf: a low swell, a bright break with splashes, a hissing run-out, every 2 to 7 s, over a far roar.

    Source: breaking-wave noise grows towards the break and its spectrum falls 5 dB an octave (Deane, JASA 1997).
    """
    n = samples(span(rng, 4, 6.4))
    t = np.arange(n) / RATE
    swell, foam = np.zeros(n), np.zeros(n)
    at, period = span(rng, -2, 0.5), span(rng, 2, 7)
    while at < n / RATE + 1:
        rise, fall, size = span(rng, 0.4, 2.0), span(rng, 0.5, 2.0), span(rng, 0.4, 1)
        peak = at + rise
        swell += size * np.where(t < peak, np.clip((t - at) / rise, 0, 1) ** 2, np.exp(-np.maximum(t - peak, 0) / fall))
        late = np.clip((t - at - 0.4 * rise) / (0.6 * rise), 0, 1) ** 3
        foam += size * np.where(t < peak, late, np.exp(-np.maximum(t - peak, 0) / (fall * 1.4)))
        at += period * span(rng, 0.6, 1.4)
    low = voicing(rng, band(sloped(rng, n, -0.7), 40, ratio(rng, 500, 1_500), 1), 4)
    high = voicing(rng, band(sloped(rng, n, span(rng, -0.5, 0)), ratio(rng, 300, 1_000), 7_900, 1), 5)
    splash = (
        band(sloped(rng, n, -0.3), ratio(rng, 250, 900), ratio(rng, 1_500, 5_000), 1)
        * np.clip(contour(rng, n, span(rng, 5, 16)), 0, 1) ** 2
    )
    far = voicing(rng, band(sloped(rng, n, -0.6), 60, ratio(rng, 600, 2_500), 1), 4)
    out = low / low.std() * (0.15 + swell) * span(rng, 0.6, 1.3) + high / high.std() * (0.03 + foam) * span(rng, 0.2, 0.9)
    out += splash / splash.std() * foam * span(rng, 0, 0.6) + far / far.std() * span(rng, 0.05, 0.5)
    return finish(rng, band(out, 0, ratio(rng, 2_500, 7_900), 1) * ramp(n, 0.15, 0.15), 0.1, 0.0)


def crackle(rng: np.random.Generator) -> np.ndarray:
    """A fire: broad pops of every size, singly and in bursts, over a soft roar and hiss.

    Source: three layers, lapping, crackling and hissing, Farnell, Designing Sound (MIT Press 2010), chapter 34.
    """
    n = samples(span(rng, 2.5, 6))
    out = np.zeros(n)
    rate, groups = ratio(rng, 6, 90), 8
    busy = np.clip(0.25 + contour(rng, n, span(rng, 0.7, 5)), 0.03, 1)
    for _ in range(groups):
        hits = sparks(rng, n, rate / groups * 2, span(rng, 0.8, 1.5)) * (rng.random(n) < busy)
        short = ratio(rng, 0.0006, 0.006)
        pop = burst(rng, list(rng.uniform(-24, 0, 2)) + list(rng.uniform(-12, 0, 3)), list(short * rng.uniform(0.5, 2, 5)))
        if chance(rng, 0.3):
            add(pop, strike(rng, [ratio(rng, 500, 3_500)], [short], [0.6], len(pop)), 0)
        out += signal.oaconvolve(hits, pop)[:n]
    out = np.sign(out) * np.minimum(np.abs(out), span(rng, 3, 8))
    flame = band(sloped(rng, n, -0.9), 30, ratio(rng, 150, 800), 1) * (1 + 0.7 * contour(rng, n, span(rng, 4, 14)))
    hiss = voicing(rng, band(sloped(rng, n, span(rng, -0.4, 0.1)), 500, 7_900, 1), 5) * (1 + 0.5 * contour(rng, n, 2))
    size = max(np.abs(out).max(), 0.5)
    out += size * (flame / flame.std() * ratio(rng, 0.005, 0.15) + hiss / hiss.std() * ratio(rng, 0.003, 0.06))
    return finish(rng, out, 0.3, 0.0)


PROGRESSIONS = ((0, 5, 7, 0), (0, 9, 5, 7), (9, 5, 0, 7), (0, 7, 9, 5), (2, 7, 0, 9), (0, 10, 5, 0))


def music(rng: np.random.Generator) -> np.ndarray:
    """A bar or two of invented music: chords, a tune, a bass and drums in changing parts and timbres.

    Source: equal temperament, ISO 16 tuning (A = 440 Hz, here 415 to 466).
    """
    beat = 60 / ratio(rng, 66, 175)
    n = samples(span(rng, 3, 6.2))
    out, key = np.zeros(n), span(rng, 415, 466) * 2 ** (int(rng.integers(-9, 3)) / 12) / 2
    roots, minor = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))], chance(rng, 0.4)
    parts = [p for p, odds in (("chords", 0.75), ("tune", 0.75), ("bass", 0.55), ("drums", 0.5)) if chance(rng, odds)] or ["tune", "chords"]
    voices = {p: (chord_tables(rng), ratio(rng, 0.15, 2.5), ratio(rng, 0.003, 0.12)) for p in parts}
    steps = [0, 3 if minor else 4, 7]
    scale = np.array([0, 2, 3, 5, 7, 8, 10] if minor else [0, 2, 4, 5, 7, 9, 11])
    degree, swing = int(rng.integers(0, 7)), span(rng, 0, 0.15)
    for k in range(int(n / RATE / (beat / 2)) + 1):
        at, root = samples((k / 2 + (swing if k % 2 else 0)) * beat), roots[k // 8 % 4]
        if "chords" in parts and k % (2 if voices["chords"][1] < 0.5 else 8) == 0:
            tables, decay, attack = voices["chords"]
            for s in steps:
                add(out, note(rng, tables, key * 2 ** ((root + s) % 12 / 12), samples(min(decay * 3, beat * 4)), decay, attack), at, 0.3)
        if "tune" in parts and chance(rng, 0.65):
            tables, decay, attack = voices["tune"]
            degree = int(np.clip(degree + rng.integers(-2, 3), -3, 11))
            f = key * 2 ** (1 + (scale[degree % 7] + 12 * (degree // 7)) / 12)
            add(out, note(rng, tables, f, samples(min(decay * 3, beat * rng.choice([0.5, 1, 1, 2]))), decay, attack), at, 0.6)
        if "bass" in parts and (k % 2 == 0 or chance(rng, 0.3)):
            tables, decay, _ = voices["bass"]
            add(out, note(rng, tables, key / 2 * 2 ** (root / 12), samples(beat * 0.9), decay, 0.006), at, 0.7)
        if "drums" in parts:
            _drum(rng, out, at, k)
    return finish(rng, np.tanh(out * span(rng, 0.4, 1.4)) * ramp(n, 0.02, 0.1), 0.6)


def _drum(rng: np.random.Generator, out: np.ndarray, at: int, k: int) -> None:
    m = samples(0.25)
    t = np.arange(m) / RATE
    if k % 4 == 0 or chance(rng, 0.08):
        add(out, np.sin(2 * np.pi * (50 * t + 3 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.09), at, 1.0)
    if k % 4 == 2:
        add(
            out, band(rng.standard_normal(m), 300, 6_500, 1) * np.exp(-t / 0.06) + 0.5 * tone(rng, 190.0, m, 3) * np.exp(-t / 0.05), at, 0.5
        )
    add(out, band(rng.standard_normal(m), 5_000, 8_000) * np.exp(-t / 0.03), at, span(rng, 0.1, 0.35))
