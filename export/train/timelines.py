"""What the language model learns from: turns of up to 30 s as evidence, with the facts that the evidence bears out.

Some are scenes as the encoder hears them, joined end to end; others are simulated scores, so that every order, overlap, number, word
and level is met. The truth of this stage is not the scene but what the tracker finds in the scores: the language model is to say
what the evidence says, no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.train.evidence import QUIET_DB, ROW_SAMPLES, ROWS, SPEECH, Evidence, Told
from export.train.labels import COUNTED, DIGITS, STARTER_LABELS, WORDS
from export.train.language import Fact
from export.train.model import Encoder
from export.train.shards import load_shard, shard_path

Floats = NDArray[np.float32]
Rng = np.random.Generator
MOST_CHUNKS = 94
"""Prefix rows of the longest turn (30 s at 320 ms)."""
LENGTHS = (6, 8, 10, 12, 14, 16, 16, 20, 24, 32, 48, MOST_CHUNKS)


@dataclass(frozen=True, slots=True)
class Heard:
    """What an encoder says of N stretches: logits float16 labels [N, R, L], onsets [N, R, C], words [N, R, W]; energies [N, R]: ln."""

    labels: NDArray[np.float16]
    onsets: NDArray[np.float16]
    words: NDArray[np.float16]
    energies: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Example:
    """evidence float32[T, WIDTH] of a turn, and the facts in it (positions from the turn's beginning)."""

    evidence: Floats
    facts: list[Fact]


@torch.inference_mode()
def heard_scenes(encoder: Encoder, folder: Path, shards: Sequence[int]) -> Heard:
    """Every scene of these shards through the encoder."""
    parts: list[list[NDArray[np.float16]]] = [[], [], [], []]
    for index in shards:
        mels = load_shard(shard_path(folder, index)).mels
        for start in range(0, len(mels), 50):
            x = torch.from_numpy(mels[start : start + 50].astype(np.float32))
            found = encoder(x)
            energy = torch.logsumexp(x, dim=2).exp().reshape(len(x), -1, 4).mean(dim=2).clamp(min=1e-10).log()
            for kept, value in zip(parts, (found.labels, found.onsets, found.words, energy), strict=True):
                kept.append(value.numpy().astype(np.float16))
    return Heard(*(np.concatenate(part) for part in parts))


def simulated(rng: Rng, count: int, rows: int, speech: float = 0.25) -> Heard:
    """`count` stretches of what an encoder might say of zero to eight sounds. speech: share of them, for 36 words are much to learn."""
    labels = rng.normal(-5.0, 0.7, (count, 1, len(STARTER_LABELS))) + rng.normal(0, 0.5, (count, rows, len(STARTER_LABELS)))
    onsets = rng.normal(-5.0, 1.0, (count, rows, len(COUNTED)))
    words = rng.normal(-6.0, 1.0, (count, rows, len(WORDS)))
    energies = rng.uniform(-16, -8, (count, 1)) + rng.normal(0, 0.2, (count, rows))
    for scene in range(count):
        most = min(8, 1 + rows // 24)
        at = int(rng.integers(-6, max(1, rows // 3)))
        for _ in range(int(rng.integers(0, most + 1))):
            at += _simulate_sound(rng, speech, at, labels[scene], onsets[scene], words[scene], energies[scene])
            if at >= rows - 6:
                at = int(rng.integers(0, max(1, rows - 12)))
    return Heard(*(x.astype(np.float16) for x in (labels, onsets, words, energies)))


def _simulate_sound(rng: Rng, speech: float, start: int, labels: Floats, onsets: Floats, words: Floats, energies: Floats) -> int:
    """Adds one sound that rises within 0.2 s, wavers, may pause and be half mistaken for another. Returns where the next may begin."""
    rows = len(labels)
    label = SPEECH if rng.random() < speech else int(rng.integers(len(STARTER_LABELS)))
    height, level = rng.uniform(6.0, 11.0), rng.uniform(-10, 2)
    spans: list[tuple[int, int]] = []
    stop = start + int(np.exp(rng.uniform(np.log(10), np.log(160))))
    if STARTER_LABELS[label] in COUNTED and rng.random() < 0.9:
        at, step = start, rng.uniform(5, 26)
        for _ in range(int(rng.choice([1, 1, 2, 2, 3, 3, 4, 4, 5, 7]))):
            spans.append((at, at + int(rng.integers(6, 12))))
            if rng.random() < 0.98 and 0 <= at + 3 < rows:
                onsets[at + 3 : at + 5, COUNTED.index(STARTER_LABELS[label])] += rng.uniform(7, 10)
            at += max(5, int(step * rng.uniform(0.8, 1.25)))
        stop = at + 4
    elif label == SPEECH and rng.random() < 0.8:
        at = start
        for _ in range(int(rng.choice([1, 1, 1, 2, 2, 3, 4, 5, 6]))):
            end = at + int(rng.integers(7, 16))
            if 0 <= end < rows:
                word = int(rng.integers(len(WORDS) if rng.random() < 0.5 else len(DIGITS)))
                words[end - 2 : end + 3, word] += rng.uniform(9, 13)
            at = end + int(rng.integers(1, 14))
        stop = at
        spans.append((start, stop))
    else:
        spans.append((start, stop))
    at_rows = np.arange(rows)
    shape = np.zeros(rows)
    for a, b in spans:
        rise = np.clip((at_rows - a) / rng.uniform(1, 6), 0, 1) * np.clip((b - at_rows) / rng.uniform(1, 8), 0, 1)
        shape = np.maximum(shape, rise)
    waver = 1 - 0.25 * rng.random() * (np.sin(at_rows * rng.uniform(0.1, 1.2)) > 0)
    labels[:, label] += shape * waver * height
    if rng.random() < 0.4:
        labels[:, int(rng.integers(len(STARTER_LABELS)))] += shape * height * rng.uniform(0.1, 0.5)
    energies[:] = np.logaddexp(energies, np.log(shape**2 + 1e-9) + level)
    if rng.random() < 0.35:
        return int(rng.integers(0, 12))
    return stop - start + int(rng.integers(0, 30))


def examples(rng: Rng, heard: Heard, evidence: Evidence, count: int) -> Iterator[Example]:
    """`count` turns of parts of these stretches, in groups of one length."""
    group = 64
    while count > 0:
        chunks = int(LENGTHS[rng.integers(len(LENGTHS))])
        picked = [_join(rng, heard, chunks * ROWS) for _ in range(min(group, count))]
        stacked = [torch.from_numpy(np.stack([p[i] for p in picked]).astype(np.float32)) for i in range(4)]
        mels = stacked[3].repeat_interleave(4, dim=1).unsqueeze(2)
        with torch.inference_mode():
            marks, told, _ = evidence.follow(*stacked[:3], mels, evidence.state(len(picked)))
            rows = evidence.rows(marks, told, torch.zeros(len(picked), 1)).numpy()
        above, arrays = marks.above.numpy(), Told(*(x.numpy() for x in told))
        for i in range(len(picked)):
            yield Example(rows[i], facts(above, arrays, i))
        count -= len(picked)


def _join(rng: Rng, heard: Heard, rows: int) -> list[NDArray[np.float16]]:
    parts: list[list[NDArray[np.float16]]] = [[], [], [], []]
    missing = rows
    while missing > 0:
        scene = int(rng.integers(len(heard.labels)))
        longest = heard.labels.shape[1] // ROWS
        size = min(missing, ROWS * (longest if rng.random() < 0.6 else int(rng.integers(1, longest + 1))))
        begin = ROWS * int(rng.integers(0, (heard.labels.shape[1] - size) // ROWS + 1))
        for kept, source in zip(parts, (heard.labels, heard.onsets, heard.words, heard.energies), strict=True):
            kept.append(source[scene, begin : begin + size])
        missing -= size
    return [np.concatenate(part) for part in parts]


def facts(above: NDArray[np.float32], told: Told, index: int) -> list[Fact]:
    """What has been told in one turn of a batch. above [B, R, L]: rows above the lower threshold, as in Marks; told as arrays."""
    t = Told(*(np.asarray(x[index]) for x in told))
    places = [(int(chunk), int(t.event[chunk].argmax())) for chunk in np.flatnonzero(t.order.max(axis=1) > 0)]
    found = []
    for place, (chunk, label) in enumerate(places):
        name = STARTER_LABELS[label]
        once = sum(other == label for _, other in places) == 1
        loud = float(t.loud[-1, label])
        words: tuple[str, ...] = ()
        if label == SPEECH:
            # A word belongs to the speech that was told last when it was spotted; the first has those before it as well.
            first = all(other != SPEECH for _, other in places[:place])
            following = [at for at, other in places[place + 1 :] if other == SPEECH]
            start, stop = 0 if first else chunk, following[0] if following else len(t.word)
            words = tuple(WORDS[int(w.argmax())] for w, o in zip(t.word[start:stop], t.word_order[start:stop], strict=True) if o.max() > 0)
        onset = int(t.onset[chunk, 0])
        rows = np.flatnonzero(above[index, onset:, label] > 0)
        found.append(
            Fact(
                name,
                onset * ROW_SAMPLES,
                None if t.active[-1, label] else (onset + int(rows[-1]) + 1 if len(rows) else onset + 1) * ROW_SAMPLES,
                int(t.counts[-1, COUNTED.index(name)]) if name in COUNTED and once else 0,
                words,
                loud * 40 + QUIET_DB if loud > 0 else None,
                place + 1,
                bool(t.together[chunk, 0]),
            )
        )
    return found
