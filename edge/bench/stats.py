"""Distributions that say how many values they rest on, and no more than these allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ENOUGH = {50: 3, 95: 20, 99: 100}
"""Values from which a percentile is told."""


def distribution(values: Sequence[float], digits: int = 1) -> dict[str, Any]:
    """{"n", "p50", "p95", "p99", "max"}: a percentile of too few values is None. Linear interpolation between order statistics."""
    found: dict[str, Any] = {"n": len(values)}
    for percent, least in ENOUGH.items():
        found[f"p{percent}"] = round(float(np.percentile(values, percent)), digits) if len(values) >= least else None
    found["max"] = round(max(values), digits) if values else None
    return found


def slope_per_hour(seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """Least-squares slope of values over time, per hour; None of fewer than ten."""
    if len(values) < 10:
        return None
    return float(np.polyfit(np.asarray(seconds) / 3600, np.asarray(values), 1)[0])
