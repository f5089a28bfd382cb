"""Pulling from a source: blocks of audio, gaps and device changes, in the order of their positions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from edge.types import AudioBlock, Device, Gap, Source


def blocks(source: Source, size: int = 512) -> Iterator[AudioBlock | Gap | Device]:
    """Yields everything that `source` brings, in order of position, until it ends.

    size: samples in a block (16 kHz), >= 1; a block is shorter just before a gap, a device change and the end.
    An AudioBlock's samples are a copy, and none of them was lost: what was lost arrives as Gap records (every lost sample
    in exactly one), and the block behind them carries their sum in `gap`. A reader that was lapped gets a Gap "overrun".
    Thread: the one that fills the source. Raises: ValueError for size < 1; what source.fill raises.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 sample, not {size}")
    at = lost = 0
    waiting: deque[Gap | Device] = deque()
    while True:
        if not waiting:  # what has happened is told before anything more is waited for
            source.fill(at + size)
            waiting.extend(source.events())
        head = source.ring.head
        while waiting and _position(waiting[0]) <= at:
            event = waiting.popleft()
            if isinstance(event, Gap):
                lost += event.stop - at
                at = event.stop
            yield event
        known = min(head, _position(waiting[0])) if waiting else head
        stop = min(at + size, known)
        oldest = min(source.ring.oldest, known)
        if at < oldest:
            yield Gap(at, oldest, "overrun")
            lost += oldest - at
            at = oldest
        elif at < stop and (stop == at + size or waiting or source.ended):
            samples = np.empty(stop - at, np.float32)
            lapped = source.ring.read(at, samples)
            if lapped:  # between the question for ring.oldest and the reading
                yield Gap(at, at + lapped, "overrun")
                lost += lapped
                at += lapped
            else:
                yield AudioBlock(at, samples, lost)
                at, lost = stop, 0
        elif source.ended and not waiting and at >= source.ring.head:
            return


def _position(event: Gap | Device) -> int:
    return event.start if isinstance(event, Gap) else event.at
