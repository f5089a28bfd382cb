"""Figures of an evaluation: a value with its interval, how many items it rests on, and whether they are real or synthetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Figure = dict[str, Any]
"""{"value", "unit", "n", "low", "high", "origin", "data"}; low, high: 95 % interval, None where none is known; value None for no items."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What a figure is called and what the issue asks of it. bar, aim: None where it asks nothing. more: whether more is better."""

    title: str
    bar: float | None = None
    aim: float | None = None
    more: bool = True


HEADLINES = {
    "clips_accuracy": Headline("class is the strongest sound", 0.90, 0.957),
    "clips_accuracy_of_ten": Headline("class is the strongest of the ten classes' sounds"),
    "clips_captioned": Headline("class is named in a final caption"),
    "clips_invent": Headline("captions of single-class clips that name another sound", more=False),
    "clips_silent": Headline("clips without any sound record", more=False),
    "scenes_right": Headline("two-sound scenes: both named, none invented, right order", 0.75, 0.90),
    "scenes_right_real": Headline("two-sound scenes right, both recorded"),
    "scenes_right_mixed": Headline("two-sound scenes right, one recorded and one synthetic"),
    "sounds_missed": Headline("sounds of two-sound scenes that the caption misses", more=False),
    "sequence_or_overlap": Headline("sequence told from overlap, where both were named", 0.80, 0.90),
    "counts_exact": Headline("counts 1-4 exact", 0.60, 0.80),
    "captions_invent": Headline("captions of two-sound scenes that invent a sound", 0.05, 0.01, more=False),
    "digits_right": Headline("spoken digit right, unseen speaker", 0.80, 0.97),
    "yes_no": Headline("yes/no questions, balanced", 0.85, 0.95),
    "questions": Headline("questions of all skills"),
    "false_per_hour_noise": Headline("false sounds an hour on noise", 3.0, 0.0, more=False),
    "false_per_hour_speech": Headline("false sounds an hour on speech", 3.0, 0.0, more=False),
    "false_per_hour_rooms": Headline("false sounds an hour in rooms, streets and nature", more=False),
    "rooms_claimed": Headline("recordings of rooms, streets and nature in which something false is claimed", more=False),
    "bundle_bytes": Headline("bundle size", 15e6, 10e6, more=False),
    "encoder_ms_per_s": Headline("encoder CPU a second of audio, one core", 5.0, 2.0, more=False),
    "captioner_ms_per_s": Headline("language model CPU a second of audio that it captions", more=False),
    "load_s": Headline("time to load the bundle", more=False),
    "order_text": Headline("order pairs, CompA text score"),
    "order_audio": Headline("order pairs, CompA audio score"),
    "order_group": Headline("order pairs, CompA group score"),
    "event_f1_0.2": Headline("event F1, onset collar 0.2 s, offset 50 %"),
    "event_f1_0.5": Headline("event F1, onset collar 0.5 s, offset 50 %"),
    "segment_f1": Headline("segment F1, 1 s"),
    "onset_error_ms": Headline("onset error, median", more=False),
    "onset_error_p90_ms": Headline("onset error, 90th percentile", more=False),
}
"""The headline figures by key, in the order of the report. The keys are a promise; bars and aims are the issue's."""


class Skipped(Exception):
    """A part that cannot be examined; str() says why."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One item of an exam: how much of it was right, of how much, and the recordings that it is made of (none: synthetic)."""

    right: int
    recordings: frozenset[str]
    of: int = 1


def wilson(right: float, n: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927). Raises: ValueError for n < 1."""
    if n < 1:
        raise ValueError("a share of nothing has no interval")
    z, p = 1.96, right / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))


def share(right: int, n: int, origin: str, data: str) -> Figure:
    """A share of n items."""
    if n == 0:
        return value(None, "share", 0, origin, data)
    low, high = wilson(right, n)
    return value(right / n, "share", n, origin, data, low, high)


def share_of(items: Sequence[Judged], origin: str, data: str) -> Figure:
    """A share of items that have recordings in common, as 700 scenes of 49 have; n is how many were judged.

    A recording that is not understood spoils every scene that it is in, so these are not independent. The interval is Wilson's for as many
    independent items as would vary as much, by the variance over pairs that share a recording (Aronow, Samii, Assenova 2015).
    """
    right, n = sum(item.right for item in items), sum(item.of for item in items)
    if n == 0:
        return value(None, "share", 0, origin, data)
    low, high = wilson(right / n * (alone := effective(items)), alone)
    return value(right / n, "share", n, origin, data, low, high)


def effective(items: Sequence[Judged]) -> float:
    """How many independent items a share of these is worth: at most as many as there are, at least 1."""
    n, p = sum(item.of for item in items), sum(item.right for item in items) / sum(item.of for item in items)
    names = sorted(set().union(*(item.recordings for item in items)))
    made = np.array([[name in item.recordings for name in names] for item in items], float).reshape(len(items), len(names))
    apart = np.array([item.right - p * item.of for item in items])
    together = (made @ made.T > 0) | np.eye(len(items), dtype=bool)
    variance = apart @ together @ apart / n**2 * (len(names) / (len(names) - 1) if len(names) > 1 else 1.0)
    if apart.any() and variance > 0:
        return max(1.0, min(n, p * (1 - p) / variance))
    # All alike, or apart in ways that cancel out: that tells nothing of how they vary together, so each recording counts once.
    return max(1.0, min(n, len(names) + sum(item.of for item in items if not item.recordings)))


def value(number: float | None, unit: str, n: int, origin: str, data: str, low: float | None = None, high: float | None = None) -> Figure:
    """Any other figure."""
    rounded = [None if x is None or not math.isfinite(x) else round(float(x), 4) for x in (number, low, high)]
    return {"value": rounded[0], "unit": unit, "n": n, "low": rounded[1], "high": rounded[2], "origin": origin, "data": data}


def rate(events: int, hours: float, origin: str, data: str) -> Figure:
    """Events an hour of one long stream, with the exact Poisson interval (Garwood 1936); n is the seconds that were heard."""
    from scipy.stats import chi2

    low = float(chi2.ppf(0.025, 2 * events)) / 2 if events else 0.0
    high = float(chi2.ppf(0.975, 2 * events + 2)) / 2
    return value(events / hours, "1/h", round(hours * 3600), origin, data, low / hours, high / hours)


def clustered(events: Sequence[int], seconds: Sequence[float], origin: str, data: str) -> Figure:
    """Events an hour of separate recordings: events[k] in the seconds[k] of recording k; n is the seconds that were heard.

    They come in clusters, many in one recording and none in the next, which a Poisson interval takes for independent. So the interval is a
    percentile bootstrap of 10,000 draws of whole recordings (Efron 1979); None where all draws are alike: below two recordings or no event.
    """
    counted, heard = np.asarray(events, float), np.asarray(seconds, float)
    low = high = None
    if len(counted) > 1 and counted.any():
        draws = np.random.default_rng(1).integers(len(counted), size=(10_000, len(counted)))
        rates = 3600 * counted[draws].sum(axis=1) / heard[draws].sum(axis=1)
        low, high = (float(bound) for bound in np.quantile(rates, [0.025, 0.975]))
    return value(3600 * counted.sum() / heard.sum(), "1/h", round(heard.sum()), origin, data, low, high)


def quantile(numbers: Sequence[float], q: float, unit: str, origin: str, data: str) -> Figure:
    """A quantile with a percentile bootstrap of 1000 draws (Efron 1979)."""
    if not numbers:
        return value(None, unit, 0, origin, data)
    held = np.asarray(numbers, float)
    draws = np.random.default_rng(1).choice(held, (1000, len(held)))
    low, high = np.quantile(np.quantile(draws, q, axis=1), [0.025, 0.975])
    return value(float(np.quantile(held, q)), unit, len(held), origin, data, float(low), float(high))


def reached(key: str, figure: Figure) -> str:
    """What of the issue's wishes is met: the aim, the bar or neither ("short"); "" where it asks nothing or nothing was measured."""
    asked, got = HEADLINES[key], figure["value"]
    if got is None or asked.bar is None or asked.aim is None:
        return ""
    sign = 1 if asked.more else -1
    if sign * got >= sign * asked.aim and (got != asked.aim or not asked.more):  # the accuracy asked for is more than a person's
        return "aim"
    return "bar" if sign * got >= sign * asked.bar else "short"


def difference(key: str, one: Figure, other: Figure) -> float | None:
    """How far `one` lies above `other`: in points for shares, in its unit for anything else."""
    if one["value"] is None or other["value"] is None:
        return None
    return round((one["value"] - other["value"]) * (100 if one["unit"] == "share" else 1), 4)


def receipt(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The headline figures of an evaluation as entries of a manifest's receipt; intervals of shares and rates as entries of their own."""
    entries = []
    for key, asked in HEADLINES.items():
        figure = evaluation["figures"].get(key)
        if figure is None or figure["value"] is None:
            continue
        about = {"unit": figure["unit"], "data": figure["data"], "origin": figure["origin"], "n": figure["n"]}
        entries.append({"name": asked.title, "value": figure["value"], **about})
        for bound, word in (("low", "from"), ("high", "to")):
            if figure[bound] is not None:
                entries.append({"name": f"{asked.title}, 95 % interval {word}", "value": figure[bound], **about})
    return entries
