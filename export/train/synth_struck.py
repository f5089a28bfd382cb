"""Things that are struck: doorbells, telephones, knocks, clocks."""

from __future__ import annotations

import numpy as np

from export.train.synth_parts import (
    RATE,
    add,
    band,
    burst,
    chance,
    falling,
    play,
    ramp,
    ratio,
    resonate,
    samples,
    sloped,
    span,
    strike,
    table,
    tone,
)
from export.train.synth_place import finish

WESTMINSTER = ((4, 2, 0, -5), (0, 4, 2, -5), (0, 2, 4, 0), (4, 0, 2, -5), (-5, 2, 4, 0))
"""The five quarters of the Westminster chime as semitones above the tonic (Cambridge, 1793)."""


def bar(rng: np.random.Generator, hertz: float, decay_s: float, n: int, bright: float = 0.4) -> np.ndarray:
    """A struck free bar: modes 1, 2.756, 5.404, 8.93 (Fletcher and Rossing, The Physics of Musical Instruments, 2.15), slightly detuned."""
    r = np.array([1.0, 2.756, 5.404, 8.93]) * (1 + rng.normal(0, 0.01, 4))
    decays = [decay_s, decay_s * span(rng, 0.3, 1), decay_s * 0.3, decay_s * 0.12]
    x = strike(rng, list(hertz * r), decays, [1, bright, bright * 0.6, bright * 0.4], n)
    add(x, strike(rng, list(hertz * r[:2] * 1.003), decays[:2], [0.3, 0.2 * bright], n), 0)  # no bar is quite even: slow beating
    add(x, burst(rng, [-6, 0, 0, -4, -10], [0.01, 0.006, 0.003, 0.002, 0.001]), 0, span(rng, 0, 0.5))  # the plunger
    return x


def gong(rng: np.random.Generator, hertz: float, decay_s: float, n: int, partials: np.ndarray) -> np.ndarray:
    """One blow on a small bell dome with the given partial ratios."""
    d = decay_s / np.arange(1, len(partials) + 1) ** 0.4
    return strike(rng, list(hertz * partials), list(d), list(rng.uniform(0.3, 1, len(partials))), n)


def rattle(rng: np.random.Generator, seconds: float, hertz: tuple[float, ...], blows_hz: float, decay_s: float) -> np.ndarray:
    """A clapper running between bell domes, `blows_hz` blows a second: mechanical telephone and door bells; float64[n]."""
    n = samples(seconds + 0.6)
    out = np.zeros(n)
    shapes = [np.concatenate([[1.0], np.sort(rng.uniform(1.3, 5.5, 5))]) for _ in hertz]
    rings = [gong(rng, f, decay_s, samples(decay_s * 6), s) for f, s in zip(hertz, shapes, strict=True)]
    for k in range(max(1, int(seconds * blows_hz))):
        at = samples(k / blows_hz * (1 + 0.0) + abs(rng.normal(0, 0.08 / blows_hz)))
        add(out, rings[k % len(rings)], at, span(rng, 0.7, 1.0))
    knock = band(rng.standard_normal(n), 1_000, 6_000) * (out * out / (np.max(out * out) + 1e-9))
    return out + 0.1 * knock


def doorbell(rng: np.random.Generator, kind: str | None = None) -> np.ndarray:
    """A door bell: ding-dong bars, electronic ding-dong, buzzer, Westminster chime or clapper bell.

    Source: chime tubes and bars as in Fletcher and Rossing, chapter 19; buzzers interrupt at mains frequency or its double.
    """
    kind = kind or rng.choice(["ding-dong", "electronic", "buzzer", "melody", "clapper"], p=[0.45, 0.18, 0.1, 0.17, 0.1])
    base = ratio(rng, 380, 950)
    if kind in ("ding-dong", "electronic"):
        down = 2 ** (-rng.choice([3, 4, 4, 4, 5, 7]) / 12)
        gap, decay = span(rng, 0.25, 0.8), ratio(rng, 0.25, 1.1)
        times = 2 if chance(rng, 0.3) else 1
        pause = span(rng, 0.3, 0.9)
        n = min(samples(6.0), samples(times * (2 * gap + pause) + decay * 3))
        out, bright = np.zeros(n), span(rng, 0.1, 0.7)
        for k in range(times):
            for i, f in enumerate((base, base * down)):
                note = bar(rng, f, decay, n, bright) if kind == "ding-dong" else _chip(rng, f, decay, n)
                add(out, note, samples(k * (2 * gap + pause) + i * gap), span(rng, 0.8, 1.0))
        return finish(rng, out, 0.6)
    if kind == "buzzer":
        n = samples(span(rng, 0.4, 2.2))
        f = float(rng.choice([50, 60, 100, 120])) * span(rng, 0.98, 1.02)
        x = np.tanh(4 * tone(rng, f, n, 0.4)) + 0.1 * rng.standard_normal(n)
        x = resonate(x, list(rng.uniform(500, 4_500, 4)), list(rng.uniform(80, 400, 4)), [1, 1, 0.8, 0.6]) + 0.1 * x
        return finish(rng, x * ramp(n, 0.005, 0.02), 0.5)
    if kind == "melody":
        beat, decay = span(rng, 0.22, 0.5), span(rng, 0.3, 1.0)
        notes = [s for k in rng.permutation(5)[: int(rng.integers(1, 4))] for s in WESTMINSTER[k]]
        if chance(rng, 0.4):
            notes = list(rng.choice([0, 2, 4, 5, 7, 9, 11, 12], int(rng.integers(3, 9))))
        n = min(samples(6.0), samples(len(notes) * beat + decay * 3))
        out, chip = np.zeros(n), chance(rng, 0.5)
        for k, s in enumerate(notes):
            f = base * 2 ** (s / 12)
            add(out, _chip(rng, f, decay, n) if chip else bar(rng, f, decay, n, 0.3), samples(k * beat))
        return finish(rng, out, 0.5)
    return finish(rng, rattle(rng, span(rng, 0.4, 2.0), (ratio(rng, 900, 2_800),), span(rng, 12, 26), span(rng, 0.08, 0.4)), 0.5)


def _chip(rng: np.random.Generator, hertz: float, decay_s: float, n: int) -> np.ndarray:
    t = np.arange(n) / RATE
    return tone(rng, hertz, n, 2.2, 0.6) * np.exp(-t / decay_s) * np.minimum(1, t / 0.004)


def telephone(rng: np.random.Generator, kind: str | None = None) -> np.ndarray:
    """A telephone: two-gong bell, electronic warble, ringtone melody, or the tones of the line (ring-back, busy, dial, DTMF).

    Source: cadences 2 s on 4 s off (US), 0.4 on 0.2 off 0.4 on 2 off (UK), ITU-T E.180; DTMF pairs ITU-T Q.23.
    """
    kind = kind or rng.choice(["bell", "warble", "melody", "line", "dtmf"], p=[0.36, 0.26, 0.18, 0.1, 0.1])
    uk = chance(rng, 0.35)
    if kind in ("bell", "warble"):
        on, off = (0.4, 0.2) if uk else (span(rng, 0.8, 2.1), span(rng, 1.0, 3.0))
        starts = [0.0, 0.6, 3.0, 3.6][: int(rng.integers(1, 3)) * 2] if uk else [k * (on + off) for k in range(int(rng.integers(1, 3)))]
        n = min(samples(6.0), samples(starts[-1] + on + 0.6))
        out = np.zeros(n)
        f = ratio(rng, 900, 2_000)
        pair, blows, decay = (f, f * span(rng, 1.1, 1.35)), span(rng, 18, 30), span(rng, 0.06, 0.5)
        rate, tilt = span(rng, 8, 28), span(rng, 0.8, 2.4)
        for start in starts:
            if kind == "bell":
                ring = rattle(rng, on, pair, blows, decay)
            else:
                m = samples(on)
                hop = np.sign(np.sin(2 * np.pi * rate * np.arange(m) / RATE))
                ring = tone(rng, f * 0.7 * (1 + 0.1 * hop), m, tilt, 0.3) * ramp(m, 0.01, 0.02)
            add(out, ring, samples(start))
        return finish(rng, out, 0.5)
    if kind == "melody":
        return finish(rng, _ringtone(rng), 0.4)
    if kind == "dtmf":
        on, gap, digits = span(rng, 0.06, 0.25), span(rng, 0.04, 0.2), int(rng.integers(3, 12))
        out = np.zeros(min(samples(6.0), samples(digits * (on + gap))))
        for k in range(digits):
            lo, hi = float(rng.choice([697, 770, 852, 941])), float(rng.choice([1209, 1336, 1477]))
            m = samples(on)
            add(out, (tone(rng, lo, m, 5) + tone(rng, hi, m, 5)) * ramp(m, 0.003, 0.003), samples(k * (on + gap)))
        return finish(rng, out)
    pair = [(440.0, 480.0), (480.0, 620.0), (350.0, 440.0), (425.0, 425.0)][int(rng.integers(4))]
    on, off, count = [(2.0, 2.0, 2), (0.5, 0.5, 5), (span(rng, 1, 5), 0.1, 1), (1.0, 2.0, 2)][int(rng.integers(4))]
    out = np.zeros(min(samples(6.0), samples(count * (on + off))))
    for k in range(count):
        m = samples(on)
        add(out, (tone(rng, pair[0], m, 4) + tone(rng, pair[1], m, 4)) * ramp(m, 0.005, 0.005), samples(k * (on + off)))
    return finish(rng, out)


def _ringtone(rng: np.random.Generator) -> np.ndarray:
    beat, count = ratio(rng, 0.07, 0.25), int(rng.integers(4, 13))
    scale = np.array([0, 2, 4, 7, 9, 12, 14, 16])
    notes = scale[np.clip(np.cumsum(rng.integers(-2, 3, count)) + int(rng.integers(0, 6)), 0, 7)]
    base, decay, tilt = ratio(rng, 500, 1_300), ratio(rng, 0.06, 0.6), span(rng, 1.0, 3.0)
    wood = chance(rng, 0.4)
    phrase = np.zeros(samples(count * beat + 0.4))
    m = samples(min(decay * 5, 1.2))
    t = np.arange(m) / RATE
    for k, s in enumerate(notes):
        f = base * 2 ** (s / 12)
        note = bar(rng, f, decay, m, 0.3) if wood else tone(rng, f, m, tilt, 0.5) * np.exp(-t / decay)
        add(phrase, note * ramp(m, 0.003, 0.003), samples(k * beat))
    return np.concatenate([phrase] * int(rng.integers(1, 4)))[: samples(6.0)]


def knock(rng: np.random.Generator, kind: str | None = None) -> np.ndarray:
    """Two to six knuckle blows on a door, table, metal plate or pane, with uneven timing and force.

    Source: modal synthesis of contact sounds, van den Doel, Kry and Pai, FoleyAutomatic (SIGGRAPH 2001).
    """
    kind = kind or str(rng.choice(["door", "table", "metal", "glass"], p=[0.6, 0.25, 0.07, 0.08]))
    gains = {"door": (-2, 0, -9, -20, -30), "table": (-8, 0, -3, -10, -20), "metal": (-12, -4, 0, -4, -12), "glass": (-15, -6, 0, -3, -10)}[
        kind
    ]
    long, ring = {"door": (0.02, 0.15), "table": (0.012, 0.15), "metal": (0.03, 0.5), "glass": (0.015, 0.3)}[kind]
    long *= ratio(rng, 0.6, 2)
    gains_db = np.array(gains) + rng.uniform(-5, 5, 5)
    decays = long * np.array([1.3, 1.0, 0.6, 0.35, 0.2]) * rng.uniform(0.7, 1.4, 5)
    low, high = {"door": (70, 500), "table": (150, 1_200), "metal": (300, 4_000), "glass": (500, 4_500)}[kind]
    modes = np.sort(np.exp(rng.uniform(np.log(low), np.log(high), 4)))
    ring *= span(rng, 0.2, 1.5)
    count, gap = int(rng.integers(2, 7)), ratio(rng, 0.12, 0.4)
    out = np.zeros(samples(count * gap * 1.3 + 0.35))
    at = 0.005
    for _ in range(count):
        force = span(rng, 0.5, 1.0)  # a harder blow is a brighter one
        blow = burst(rng, list(gains_db + (force - 0.75) * np.array([0, 2, 8, 16, 24])), list(decays))
        add(out, blow, samples(at), force)
        add(
            out,
            strike(rng, list(modes * rng.normal(1, 0.01, 4)), list(long * rng.uniform(0.8, 2, 4)), [1.0, 0.7, 0.5, 0.4], 4_000),
            samples(at),
            force * ring,
        )
        at += gap * float(np.exp(rng.normal(0, 0.12)))
    return finish(rng, out, 0.75)


def tick_tock(rng: np.random.Generator) -> np.ndarray:
    """A clock: two slightly different broad clicks in turn, 1 to 5 a second, on a case that rings a little.

    Source: lever escapement, five beats a second in most watches and one or two in wall and pendulum clocks (Headrick, 2002).
    """
    kind = str(rng.choice(["wall", "pocket", "pendulum", "quartz"]))
    rate = {"wall": span(rng, 1.5, 3), "pocket": span(rng, 4, 5.2), "pendulum": span(rng, 0.9, 1.6), "quartz": 1.0}[kind]
    gains = {
        "wall": (-18, -10, -4, 0, -2),
        "pocket": (-30, -18, -8, -1, 0),
        "pendulum": (-12, -4, 0, -3, -8),
        "quartz": (-20, -10, -3, 0, -3),
    }[kind]
    decay = {"wall": 0.006, "pocket": 0.002, "pendulum": 0.012, "quartz": 0.005}[kind] * ratio(rng, 0.5, 2)
    n = samples(span(rng, 2, 6))
    out = np.zeros(n)
    gains_db = np.array(gains) + rng.uniform(-6, 6, 5)
    modes, ring = np.exp(rng.uniform(np.log(400), np.log(6_000), 4)), span(rng, 0, 0.35)
    decays = decay * np.array([2.0, 1.5, 1.0, 0.8, 0.6]) * rng.uniform(0.6, 1.6, 5)
    tint, uneven, soft, echo = rng.uniform(-5, 5, 5), span(rng, 0, 0.1), span(rng, 0.5, 1.0), span(rng, 0.005, 0.03)
    for k in range(int(n / RATE * rate) + 1):
        odd = k % 2
        click = burst(rng, list(gains_db + tint * odd), list(decays))
        at = samples((k + uneven * odd) / rate + 0.01)
        level = (1.0 if odd else soft) * span(rng, 0.9, 1.0)
        add(out, click, at, level)
        add(out, strike(rng, list(modes * (1 + 0.05 * odd)), list(decay * rng.uniform(1, 4, 4)), [1.0] * 4, 3_000), at, 0.5 * ring * level)
        add(out, burst(rng, list(gains_db), list(decays)), at + samples(echo), 0.35 * level)  # the pallet meets twice
    out += sloped(rng, n, span(rng, -1.3, 0)) * np.abs(out).max() * 10 ** (span(rng, -66, -28) / 20)
    return finish(rng, out, 0.6)


def chord_tables(rng: np.random.Generator) -> list[np.ndarray]:
    """Three wave tables from dark to bright for one invented instrument."""
    odd = span(rng, 0.05, 1)
    return [table(falling(16, tilt, odd), rng) for tilt in (3.0, span(rng, 1.6, 2.4), span(rng, 0.9, 1.5))]


def note(rng: np.random.Generator, tables: list[np.ndarray], hertz: float, n: int, decay_s: float, attack_s: float) -> np.ndarray:
    """One note of an instrument: bright at the onset, darker as it decays."""
    t = np.arange(n) / RATE
    fade = np.exp(-t / (decay_s * 0.3))
    top = tables[2] if hertz * 16 < 7_800 else tables[0]
    x = play(tables[0], hertz, n) * (1 - fade) + play(top, hertz, n) * fade
    return x * np.exp(-t / decay_s) * ramp(n, attack_s, 0.01)
