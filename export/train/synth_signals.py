"""Signals made to be noticed: smoke alarm, siren, beeps, horn."""

from __future__ import annotations

import numpy as np

from export.train.synth_parts import RATE, add, band, chance, contour, play, ramp, ratio, resonate, samples, span, table, tone
from export.train.synth_place import finish


def _piezo(rng: np.random.Generator, n: int, hertz: float) -> np.ndarray:
    """A piezo disc near its resonance: almost a sine, a little second harmonic, a slight flutter."""
    flutter = 1 + span(rng, 0, 0.08) * contour(rng, n, 30)
    return play(table([1.0, span(rng, 0, 0.3)], rng), hertz * (1 + 0.003 * contour(rng, n, 5)), start=rng.random()) * flutter


def _gated(rng: np.random.Generator, tone_of: object, ons: list[float], offs: list[float], lead_s: float = 0.0) -> np.ndarray:
    starts, at = [], lead_s
    for on, off in zip(ons, offs, strict=True):
        starts.append(at)
        at += on + off
    n = min(samples(at), samples(6.0))
    out = np.zeros(n)
    for start, on in zip(starts, ons, strict=True):
        m = samples(on)
        add(out, tone_of(m) * ramp(m, 0.004, 0.008), samples(start) - 1)
    return out


def smoke_alarm(rng: np.random.Generator, kind: str | None = None, dry: bool = False) -> np.ndarray:
    """A smoke or carbon monoxide alarm sounding (never the low-battery chirp).

    kind: t3 (three pulses of 0.5 s, 0.5 s apart, then 1.5 s), t4 (four of 0.1 s, then 5 s), steady, warble; None draws one.
    dry: no room, no noise, exact timing. Returns: float32[n], up to 6.5 s.
    Source: ISO 8201:2017 and ANSI S3.41 temporal three; UL 2034 temporal four; UL 217, NFPA 72 18.4.6: 520 Hz square or 3.1 kHz piezo.
    """
    kind = kind or str(rng.choice(["t3", "t4", "steady", "warble"], p=[0.62, 0.12, 0.13, 0.13]))
    pace = 1.0 if dry else span(rng, 0.9, 1.1)
    low = chance(rng, 0.3)
    hertz = span(rng, 500, 545) if low else span(rng, 2_700, 3_700)

    def sound(n: int) -> np.ndarray:
        if low:
            return band(tone(rng, hertz, n, span(rng, 0.8, 1.1), 0.05), 150, 7_000)
        return _piezo(rng, n, hertz)

    if kind == "t3":
        on, off, cycles = 0.5 * pace, 0.5 * pace, int(rng.integers(1, 3))
        x = _gated(rng, sound, [on] * 3 * cycles, [off, off, 1.5 * pace] * cycles)
        x = x if dry else x[: max(samples(2.4), samples(span(rng, 2.4, 6.0)))]
    elif kind == "t4":
        gap = 5.0 if dry else span(rng, 0.8, 5.0)  # some units repeat faster in the first minutes
        x = _gated(rng, sound, [0.1 * pace] * 8, [0.1 * pace] * 3 + [gap] + [0.1 * pace] * 4)
    elif kind == "steady":
        n = samples(span(rng, 1.5, 6))
        x = sound(n) * ramp(n, 0.01, 0.01)
    else:
        n = samples(span(rng, 1.5, 6))
        rate, depth = ratio(rng, 1.5, 12), span(rng, 0.06, 0.25)
        hop = np.sign(np.sin(2 * np.pi * rate * np.arange(n) / RATE)) if chance(rng, 0.6) else contour(rng, n, rate)
        x = play(table([1, 0.25, 0.1] if low else [1, 0.15], rng), span(rng, 2_000, 3_200) * (1 + depth * hop)) * ramp(n, 0.01, 0.01)
    return finish(rng, x, 0.0 if dry else 0.4, 0.0 if dry else 0.25)


def siren(rng: np.random.Generator) -> np.ndarray:
    """An emergency siren: wail, yelp, hi-lo, phaser or an old motor siren, at times driving past.

    Source: SAE J1849 (wail 11-16 and yelp 150-250 cycles a minute, 650-2,000 Hz); DIN 14610 hi-lo, a fourth between 360 and 630 Hz.
    """
    n = samples(span(rng, 2.0, 6.0))
    t = np.arange(n) / RATE
    kind = rng.choice(["wail", "yelp", "hi-lo", "phaser", "motor"], p=[0.33, 0.25, 0.2, 0.08, 0.14])
    low, high = span(rng, 450, 800), span(rng, 1_050, 1_800)
    rate = {
        "wail": span(rng, 0.12, 0.45),
        "yelp": span(rng, 2, 5),
        "hi-lo": span(rng, 0.5, 1.2),
        "phaser": span(rng, 9, 18),
        "motor": 0.15,
    }[kind]
    cycle = (t * rate + rng.random()) % 1.0
    if kind == "hi-lo":
        low = span(rng, 360, 480)
        f = np.where(cycle < 0.5, low, low * span(rng, 1.25, 1.42))
    elif kind == "motor":
        low = span(rng, 200, 400)
        f = low + span(rng, 200, 500) * (1 - np.exp(-t / span(rng, 0.5, 2.0))) * (0.75 + 0.25 * np.sin(2 * np.pi * rate * t))
    else:
        rise = span(rng, 0.3, 0.7)
        up = np.where(cycle < rise, cycle / rise, (1 - cycle) / (1 - rise))
        f = low + (high - low) * up ** span(rng, 0.6, 1.4)
    gain = np.ones(n)
    if chance(rng, 0.5):  # passing by: c = 343 m/s, speed v, closest point at distance d
        v, d, t0 = span(rng, 8, 30), span(rng, 5, 40), span(rng, -1, 7)
        r = np.sqrt(d * d + (v * (t - t0)) ** 2)
        f, gain = f * 343.0 / (343.0 + v * v * (t - t0) / r), d / r
    x = tone(rng, f, n, span(rng, 0.7, 1.8), span(rng, 0.1, 1.0))
    x = resonate(x, [span(rng, 700, 1_500), span(rng, 1_800, 3_200)], [span(rng, 300, 900), 900], [1.0, span(rng, 0.2, 1.0)]) + 0.3 * x
    if kind == "motor" or chance(rng, 0.15):
        x = x + 0.4 * tone(rng, f * span(rng, 1.18, 1.27), n, 1.2)
    x = band(x * gain, 150, ratio(rng, 1_800, 7_800), int(rng.integers(1, 3))) * ramp(n, span(rng, 0.02, 0.6), span(rng, 0.02, 0.6))
    return finish(rng, x, 0.6, 0.4)


def beep(rng: np.random.Generator) -> np.ndarray:
    """Appliance and vehicle beeps: microwave, scanner, reversing alarm (SAE J994: 0.8 to 3 kHz), timers, one to ten of them."""
    kind = rng.choice(["single", "train", "reverse", "timer"], p=[0.25, 0.4, 0.2, 0.15])
    hertz = ratio(rng, 700, 4_200)
    tilt, odd = span(rng, 0.8, 3.0), span(rng, 0, 0.4)
    if kind == "single":
        ons, offs = [span(rng, 0.06, 0.8)], [0.03]
    elif kind == "reverse":
        hertz = span(rng, 900, 1_600)
        on, count = span(rng, 0.3, 0.6), int(rng.integers(2, 6))
        ons, offs = [on] * count, [on * span(rng, 0.8, 1.2)] * count
    elif kind == "timer":  # groups of short beeps, as on a kitchen timer or a wrist watch
        group, groups = int(rng.integers(2, 5)), int(rng.integers(1, 5))
        on = span(rng, 0.04, 0.1)
        ons, offs = [on] * group * groups, ([on] * (group - 1) + [span(rng, 0.3, 0.7)]) * groups
    else:
        on, count = span(rng, 0.08, 0.9), int(rng.integers(2, 8))
        ons, offs = [on] * count, [span(rng, 0.05, 1.0)] * count
    offs[-1] = 0.05
    step = hertz * (span(rng, 0.75, 1.35) if chance(rng, 0.12) else 1.0)
    turn = iter(range(10_000))

    def sound(n: int) -> np.ndarray:
        return tone(rng, hertz if next(turn) % 2 == 0 else step, n, tilt, odd)

    return finish(rng, _gated(rng, sound, ons, offs), 0.4)


def horn(rng: np.random.Generator) -> np.ndarray:
    """A vehicle horn: two reeds or discs a third apart, 350 to 500 Hz with strong harmonics, or the lower chord of a truck.

    Source: UN Regulation 28 (motor vehicle audible warning devices): energy between 1.8 and 3.55 kHz.
    """
    truck = chance(rng, 0.25)
    base = span(rng, 140, 300) if truck else span(rng, 330, 460)
    ratios = [1.0, span(rng, 1.18, 1.29)] + ([span(rng, 1.4, 1.55)] if truck and chance(rng, 0.5) else [])
    ratios = ratios[:1] if not truck and chance(rng, 0.15) else ratios
    tilt, edge = span(rng, 0.3, 1.1), span(rng, 1_800, 3_500)
    count = 1 if chance(rng, 0.45) else int(rng.integers(2, 5))
    lengths = [ratio(rng, 0.12, 0.7) if count > 1 else ratio(rng, 0.3, 3.0) for _ in range(count)]
    gaps = [span(rng, 0.06, 0.5) for _ in range(count)]
    gaps[-1] = 0.02

    def sound(n: int) -> np.ndarray:
        onset = 1 - span(rng, 0, 0.06) * np.exp(-np.arange(n) / RATE / span(rng, 0.01, 0.05))
        x = sum(tone(rng, base * r * onset * (1 + 0.002 * contour(rng, n, 8)), n, tilt) for r in ratios)
        x = np.tanh(span(rng, 0.8, 2.5) * x)
        return 0.4 * x + resonate(x, [edge, edge * 0.5], [span(rng, 500, 1_400), 700], [span(rng, 0.8, 2), 0.7])

    x = _gated(rng, sound, lengths, gaps)
    return finish(rng, band(x, 120, ratio(rng, 2_500, 7_900)), 0.65, 0.4)
