"""Single events inside a recording: where each bark, knock or sneeze begins, by its envelope.

Source: onset by a rise of short-time energy, Bello et al. 2005 (A Tutorial on Onset Detection in Music Signals), section III.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.train.labels import COUNTED

FRAME = 160
MERGE_S = dict(zip(COUNTED, (0.14, 0.6, 0.5, 0.05, 0.05, 0.08), strict=True))
"""A pause up to this long lies inside one event: the parts of a crow's call and of a sneeze are one, raps of a knock are not."""
SHORTEST_S = 0.03


def instances(samples: NDArray[np.float32], merge_s: float, range_db: float = 17.0) -> list[tuple[int, int]]:
    """[start, stop) in samples of every single event: above the loudest 10 ms less `range_db`, and 9 dB above what lies beneath."""
    frames = len(samples) // FRAME
    if frames < 3:
        return [(0, len(samples))] if len(samples) else []
    level = np.sqrt(np.mean(samples[: frames * FRAME].reshape(frames, FRAME).astype(np.float64) ** 2, axis=1) + 1e-12)
    floor = float(np.percentile(level, 15))
    threshold = max(float(level.max()) * 10 ** (-range_db / 20), min(floor * 2.8, float(level.max()) * 0.5))
    on = np.concatenate([[False], level > threshold, [False]])
    edges = np.flatnonzero(on[1:] != on[:-1]).reshape(-1, 2)
    found: list[list[int]] = []
    for start, stop in edges.tolist():
        if found and (start - found[-1][1]) * FRAME < merge_s * SAMPLE_RATE:
            found[-1][1] = stop
        else:
            found.append([start, stop])
    return [(a * FRAME, b * FRAME) for a, b in found if (b - a) * FRAME >= SHORTEST_S * SAMPLE_RATE]


def one(rng: np.random.Generator, samples: NDArray[np.float32], label: str) -> NDArray[np.float32]:
    """One event cut out of a recording of a counted sound, with 20 ms before it and up to 0.25 s of what rings on, faded."""
    spans = instances(samples, MERGE_S[label])
    if not spans:
        return samples[:0]
    index = int(rng.integers(len(spans)))
    start, stop = spans[index]
    following = spans[index + 1][0] if index + 1 < len(spans) else len(samples)
    start = max(0, start - SAMPLE_RATE // 50)
    stop = min(stop + SAMPLE_RATE // 4, max(stop, following - SAMPLE_RATE // 50), start + 2 * SAMPLE_RATE)
    part = samples[start:stop].copy()
    fade = min(len(part) // 4, SAMPLE_RATE // 10)
    if fade:
        part[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return part
