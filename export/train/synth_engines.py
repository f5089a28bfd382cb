"""Machines that turn: engines, chainsaw, helicopter, vacuum cleaner."""

from __future__ import annotations

import numpy as np
from scipy import signal

from export.train.synth_parts import (
    RATE,
    add,
    band,
    chance,
    contour,
    falling,
    play,
    pulses,
    ramp,
    ratio,
    resonate,
    samples,
    sloped,
    span,
    table,
    tone,
    voicing,
)
from export.train.synth_place import finish


def _revs(rng: np.random.Generator, n: int, idle_hz: float, top_hz: float) -> np.ndarray:
    """A line of firing rates: idling, with blips of the throttle or a drive through the gears."""
    t = np.arange(n) / RATE
    f = np.full(n, idle_hz)
    kind = rng.random()
    if kind < 0.4:
        f = f * (1 + 0.03 * contour(rng, n, 3))
    elif kind < 0.75:  # blips
        for _ in range(int(rng.integers(1, 5))):
            at, rise, fall = span(rng, -0.5, n / RATE), span(rng, 0.1, 0.5), span(rng, 0.3, 1.5)
            f += (
                (top_hz - idle_hz)
                * span(rng, 0.3, 1)
                * np.where(t < at + rise, np.clip((t - at) / rise, 0, 1), np.exp(-np.maximum(t - at - rise, 0) / fall))
            )
    else:  # gears
        period = span(rng, 1.2, 3.5)
        f = idle_hz + (top_hz - idle_hz) * (0.35 + 0.6 * ((t / period + rng.random()) % 1.0) ** 0.7)
    k = max(1, int(0.06 * RATE))
    smooth = np.cumsum(np.concatenate([np.full(k, f[0]), f]))
    return np.clip((smooth[k:] - smooth[:-k]) / k, 4, 400)


def _firing(rng: np.random.Generator, f: np.ndarray, cylinders: int, rough: float) -> np.ndarray:
    """An exhaust pulse for each firing; each cylinder has its own size, each firing its own luck."""
    n = len(f)
    at = pulses(f, rough * 0.1 * contour(rng, n, 20))
    size = rng.uniform(1 - rough, 1, cylinders)[np.arange(len(at)) % cylinders] * np.exp(rng.normal(0, 0.35 * rough, len(at)))
    late = at + (rng.normal(0, 0.012 * rough, len(at)) * RATE / f[at]).astype(int)
    x = np.zeros(n)
    np.add.at(x, np.clip(late, 0, n - 1), size)
    return x


def _gusts(rng: np.random.Generator, x: np.ndarray, decay_s: float) -> np.ndarray:
    """Noise let out by each pulse of x, decaying within decay_s: the breath of exhaust and intake; float64[n], rms 1."""
    keep = np.exp(-1 / (decay_s * RATE))
    y = signal.lfilter([1.0], [1.0, -keep], np.abs(x)) * rng.standard_normal(len(x))
    return y / (y.std() + 1e-9)


def engine(rng: np.random.Generator) -> np.ndarray:
    """A combustion engine idling, revving or driving (petrol, diesel, motorcycle, tractor), or an electric motor's hum and whine.

    Source: pulse-train source and exhaust resonator model, Baldan et al., Physically informed car engine sound synthesis (ISMIR 2015).
    """
    n = samples(span(rng, 2, 6))
    kind = rng.choice(["car", "diesel", "motorcycle", "electric"], p=[0.4, 0.25, 0.25, 0.1])
    if kind == "electric":
        f = ratio(rng, 60, 600) * (1 + 0.3 * contour(rng, n, 0.6))
        x = tone(rng, f, n, 1.2) + span(rng, 0.1, 0.6) * play(table(falling(4, 1)), f * span(rng, 4.5, 7.5))
        return finish(rng, band(x + span(rng, 0.1, 0.6) * sloped(rng, n, -0.7), 60, 6_000))
    idle, top = {
        "car": (span(rng, 22, 60), span(rng, 80, 260)),
        "diesel": (span(rng, 18, 45), span(rng, 50, 140)),
        "motorcycle": (span(rng, 10, 28), span(rng, 60, 260)),
    }[kind]
    f = _revs(rng, n, idle, top)
    rough = span(rng, 0.1, 0.4) if kind == "car" else span(rng, 0.25, 0.7)
    x = _firing(rng, f, int(rng.integers(1, 3)) if kind == "motorcycle" else int(rng.choice([3, 4, 6, 8])), rough)
    load = f / f.max()
    pipe = np.sort(np.exp(rng.uniform(np.log(50), np.log(1_200), 7)))
    body = resonate(
        x, list(pipe), list(rng.uniform(60, 350, 7)), list(rng.uniform(0.3, 1, 7) * (pipe[0] / pipe) ** span(rng, 0, 0.6) * pipe / 40)
    )
    puff = voicing(rng, band(_gusts(rng, x, ratio(rng, 0.003, 0.02)), 80, ratio(rng, 800, 6_000), 1), 6)
    out = (body / (body.std() + 1e-9) + span(rng, 0.5, 2.0) * puff / (puff.std() + 1e-9)) * (0.4 + 0.6 * load)
    if kind == "diesel":  # injector and piston knock: a short metallic rattle at each firing
        clatter = voicing(rng, band(_gusts(rng, x, ratio(rng, 0.001, 0.005)), 900, 6_000, 1), 8)
        out += span(rng, 0.1, 0.5) * clatter / (clatter.std() + 1e-9)
    out += span(rng, 0.2, 1.2) * voicing(rng, sloped(rng, n, span(rng, -0.9, -0.3)), 5) * (0.5 + load)
    out = band(voicing(rng, out, span(rng, 0, 5)), 25, ratio(rng, 900, 7_000), 1)
    return finish(rng, out * ramp(n, span(rng, 0.01, 0.6), span(rng, 0.01, 0.6)), 0.4)


def chainsaw(rng: np.random.Generator) -> np.ndarray:
    """A two-stroke chainsaw: idling near 45 Hz, 90 to 220 Hz at full throttle, sagging and growling under load.

    Source: 50 cc saws idle at 2,500-3,000 and run at 9,000-13,500 rpm, one firing a turn (makers' data sheets, e.g. Stihl MS 261).
    """
    n = samples(span(rng, 2, 6))
    t = np.arange(n) / RATE
    idle, top = span(rng, 38, 60), span(rng, 95, 230)
    throttle = np.clip(0.5 + 1.6 * contour(rng, n, span(rng, 0.3, 1.2)), 0, 1) if chance(rng, 0.65) else np.ones(n)
    load = np.clip(contour(rng, n, 0.8), 0, 1) * throttle
    f = (idle + (top - idle) * throttle) * (1 - 0.25 * load) * (1 + 0.02 * contour(rng, n, 12))
    x = _firing(rng, f, 1, span(rng, 0.05, 0.4))
    centres = np.sort(np.exp(rng.uniform(np.log(150), np.log(5_000), 8)))
    tall = (centres / 150) ** span(rng, -0.2, 1.3)
    y = resonate(x, list(centres), list(np.maximum(50, centres * ratio(rng, 0.03, 0.35))), list(rng.uniform(0.3, 1, 8) * tall))
    puff = voicing(rng, band(_gusts(rng, x, ratio(rng, 0.001, 0.004)), 200, 5_000, 1), 6)
    y = y / (y.std() + 1e-9) + span(rng, 0.2, 0.8) * puff / (puff.std() + 1e-9)
    buzz = tone(rng, f, n, span(rng, 0.2, 1.0))
    chain = band(rng.standard_normal(n), span(rng, 1_500, 3_000), 7_500) * (1 + 0.7 * np.sin(2 * np.pi * np.cumsum(f) / RATE))
    out = y + span(rng, 0.1, 1.0) * buzz / (buzz.std() + 1e-9) + span(rng, 0.05, 0.5) * chain * (0.2 + load)
    out = np.tanh(span(rng, 0.3, 1.2) * out) * (span(rng, 0.2, 0.6) + 0.7 * throttle) * (1 + 0.05 * np.sin(2 * np.pi * 3 * t))
    return finish(rng, band(out, ratio(rng, 40, 250), ratio(rng, 2_800, 7_900), 1) * ramp(n, 0.05, 0.05), 0.4)


def helicopter(rng: np.random.Generator) -> np.ndarray:
    """A helicopter: blade slap 8 to 28 times a second over rotor rumble and a turbine's whine, at times approaching or leaving.

    Source: blade-vortex slap and rotational noise, Leverton and Taylor, Helicopter blade slap (Journal of Sound and Vibration, 1966).
    """
    n = samples(span(rng, 2.5, 6))
    t = np.arange(n) / RATE
    drift = 1 + span(rng, -0.03, 0.03) * np.tanh((t - span(rng, 0, 5)) / span(rng, 0.8, 3))
    f = ratio(rng, 8, 28) * drift * (1 + 0.004 * contour(rng, n, 1))
    phase = np.cumsum(f) / RATE % 1.0
    beat = np.exp(-ratio(rng, 2, 9) * phase) * np.minimum(1, phase * span(rng, 6, 25))
    beat = beat / beat.max()
    at = pulses(f)
    blow = np.zeros(n)
    blow[at] = rng.uniform(0.75, 1.25, len(at))
    thump = resonate(blow, list(rng.uniform(35, 260, 5)), list(rng.uniform(30, 120, 5)), list(rng.uniform(0.4, 1, 5)))
    chop = voicing(rng, band(sloped(rng, n, span(rng, -0.8, -0.3)), 80, ratio(rng, 800, 4_000), 1), 5) * (span(rng, 0.15, 0.9) + beat)
    out = chop / (chop.std() + 1e-9) + span(rng, 0.2, 1.2) * thump / (thump.std() + 1e-9)
    out += span(rng, 0.2, 0.9) * voicing(rng, sloped(rng, n, span(rng, -1.0, -0.5)), 5)
    turning = tone(rng, ratio(rng, 60, 240) * drift, n, span(rng, 0.4, 1.0))
    out += span(rng, 0, 0.6) * turning / turning.std()
    if chance(rng, 0.55):
        whine = ratio(rng, 500, 4_000) * drift
        out += span(rng, 0.03, 0.25) * play(table([1, 0.4, 0.3]), whine) + 0.05 * play(table([1.0]), whine * 1.51)
    near = np.interp(t, [0, t[-1]], rng.uniform(0.3, 1, 2))
    return finish(rng, band(out, 25, ratio(rng, 1_200, 7_500), 1) * near * ramp(n, 0.1, 0.1), 0.3)


def vacuum(rng: np.random.Generator) -> np.ndarray:
    """A vacuum cleaner or hair dryer: turbulent noise with a commutator whine (universal motor, 15,000 to 40,000 rpm)."""
    n = samples(span(rng, 2, 6))
    f = ratio(rng, 250, 700) * (1 + 0.02 * contour(rng, n, 1))
    x = band(sloped(rng, n, span(rng, -0.5, 0)), 100, 7_000, 1)
    x += span(rng, 0.1, 0.7) * tone(rng, f, n, span(rng, 0.5, 1.5))
    x = x + resonate(x, list(rng.uniform(300, 4_000, 3)), list(rng.uniform(100, 500, 3)), list(rng.uniform(0.5, 2, 3)))
    env = np.clip(np.arange(n) / RATE / span(rng, 0.05, 1.0), 0, 1)
    out = np.zeros(n)
    add(out, x * env, 0)
    return finish(rng, out * ramp(n, 0.01, 0.1))
