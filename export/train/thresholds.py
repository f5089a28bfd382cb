"""Chooses when each label's score is a sound: `auricle-export train thresholds` prints the table that `tracking.py` holds.

Heard are two-sound scenes, clips, repeated events and digits of recordings that the encoder has not learnt (under the seed of an exam that
is never reported; digits are then of a speaker whom it may know), people speaking, and the rooms of DATA/ambience that nothing is trained
on; of an encoder that has learnt every fold scenes of these as well, and named recordings of DATA/ambience. Label by label, twice over, the
threshold is taken that serves all of them best; a third of a threshold's worth is that of its neighbours, so that a plateau wins over a
peak. Lengths of means stay: longer ones buy inventions with hits one for one. How much is told late is reported only: to count it against
them (tried with 0.4 of its share) cost a point of scenes and brought a point of lateness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.sounds import SoundOptions
from edge.types import SAMPLE_RATE
from export.evaluate.exam import Exam
from export.train import ambience, packaged
from export.train.labels import COUNTED, STARTER_LABELS
from export.train.measure import clip_logits
from export.train.recordings import Recording
from export.train.tracking import BRIDGE_S, CHOSEN, DEFAULT
from export.train.truth import ROW_SAMPLES

if TYPE_CHECKING:
    from export.train.model import Encoder

Floats = NDArray[np.float64]
NAMED = tuple(label for label in STARTER_LABELS if label != "Noise")
SEED = 11
ON = tuple(round(0.2 + 0.05 * step, 2) for step in range(16))
MOST = {"Smoke detector, smoke alarm": 0.6}
"""Highest threshold of what must not be told late."""
WORTH = {"scenes": (1.0, 1.0), "learnt": (0.5, 0.5), "clips": (0.2, 0.2), "named": (0.2, 0.2)}
"""What is sought, beside 0.15 of the rest told rightly: of those told rightly, and of those with something else, which costs as much."""
OTHERS, TOGETHER, CLAIM = 0.15, 0.1, 0.08
"""Worth of the rest told rightly, of overlap in scenes told rightly; cost of each label that is claimed in a minute of a room."""
UNHEARD_SCENES, LEARNT_SCENES, TALKS = 400, 40, 150
LISTEN_S = 60
"""So much of a room is heard."""
ROUNDS = 2
ROW_S = 0.04
LATE_S = 1.0
"""A sound is to be told within this of its onset."""
NEVER = np.inf


def tracked(scores: Floats, on: float, off: float, mean: int, bridge_s: float) -> tuple[Floats, Floats, Floats]:
    """`edge.sounds.SoundTracker` on N streams at once: scores [N, R] of one label, NaN behind a stream's end.

    Returns: for each stream the row where its first sound begins (inf for none), the row in which its last one ends (-1), and the row whose
    coming lets the first be told (inf).
    """
    n, rows = scores.shape
    total = np.concatenate((np.zeros((n, 1)), np.cumsum(np.nan_to_num(scores), axis=1)), axis=1)
    active, gap, begun = np.zeros(n, bool), np.zeros(n), np.zeros(n, int)
    rise, first, last, told = np.full(n, NEVER), np.full(n, NEVER), np.full(n, -1.0), np.full(n, NEVER)
    for row in range(rows):
        width = np.minimum(row + 1 - begun, mean)  # the mean begins anew behind every sound
        smooth = (total[:, row + 1] - total[np.arange(n), row + 1 - width]) / width
        there = ~np.isnan(scores[:, row])
        above = (smooth >= off) & there
        middle = row - (width - 1) // 2
        rise = np.where(above, np.where(np.isinf(rise), np.maximum(0, middle), rise), np.where(active, rise, NEVER))
        active |= (smooth >= on) & there
        told = np.where(active & np.isinf(first), row, told)
        first = np.where(active & np.isinf(first), rise, first)
        last = np.where(active & above, middle + 1, last)
        gap = np.where(above, 0, gap + 1)
        ended = active & (gap * ROW_S > bridge_s)
        active &= ~ended
        rise, begun = np.where(ended, NEVER, rise), np.where(ended, row + 1, begun)
    return first, last, told


@dataclass(frozen=True, slots=True)
class Heard:
    """Streams of one kind: scores [N, R, labels], the first and the second true label (-1 for none), whether these overlap, the rows
    [N, 2] of their onsets (inf where nobody asks how late they are told), and [N, NAMED] what may be there as well.
    """

    scores: Floats
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    overlap: NDArray[np.bool_]
    onsets: Floats
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the streams: told rightly and with nothing else; with something else; of those with both named, overlap told rightly.

    late: of the sounds that are named, told later than LATE_S. claims: labels that are told in a stream and are not there, on the mean.
    """

    right: float
    invented: float
    overlap: float
    late: float
    claims: float


class Tally:
    """What a table of thresholds makes of the streams; one label's column can be exchanged."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self._known: dict[tuple[str, float, int], tuple[Floats, Floats, Floats]] = {}
        self._first = np.full((len(heard.first), len(NAMED)), NEVER)
        self._last = np.full((len(heard.first), len(NAMED)), -1.0)
        self._told = np.full((len(heard.first), len(NAMED)), NEVER)

    def put(self, label: str, on: float, mean: int) -> None:
        column, key = NAMED.index(label), (label, on, mean)
        if key not in self._known:
            scores = self.heard.scores[:, :, STARTER_LABELS.index(label)]
            self._known[key] = tracked(scores, on, off_of(on), mean, bridge_of(label))
        self._first[:, column], self._last[:, column], self._told[:, column] = self._known[key]

    def shares(self) -> Shares:
        heard, row = self.heard, np.arange(len(self.heard.first))
        one, two = heard.first >= 0, heard.second >= 0
        a, b = (np.where(there, self._first[row, of], NEVER) for there, of in ((one, heard.first), (two, heard.second)))
        named = (~one | np.isfinite(a)) & (~two | np.isfinite(b))
        claimed = np.isfinite(self._first) if heard.allowed is None else np.isfinite(self._first) & ~heard.allowed
        others = claimed.sum(axis=1) - np.isfinite(a) - np.isfinite(b)
        right = named & (others == 0) & (~two | (a < b))
        together = (b < self._last[row, heard.first]) == heard.overlap
        both = named & two
        told = np.stack((self._told[row, heard.first], np.where(two, self._told[row, heard.second], NEVER)), axis=1)
        heard_of = np.isfinite(told) & np.isfinite(heard.onsets)
        late = heard_of & ((told + 1 - np.where(heard_of, heard.onsets, 0)) * ROW_S > LATE_S)
        told_rightly = (both & together).sum() / max(1, both.sum())
        shares = right.mean(), (others > 0).mean(), told_rightly, late.sum() / max(1, heard_of.sum()), others.mean()
        return Shares(*map(float, shares))


def off_of(on: float) -> float:
    return round(on / 2, 2)


def bridge_of(label: str) -> float:
    return float(BRIDGE_S.get(label, DEFAULT["bridge_s"]))


Item = tuple[NDArray[np.float32], Sequence[str], bool, Sequence[int]]
"""Samples, true labels in order of onset (up to two), whether they overlap, onsets in samples where lateness is asked for."""


def heard(encoder: Encoder, items: Iterable[Item]) -> Heard:
    """What the encoder says of these items, each of which has its own length."""
    scores, truths, onsets = [], [], []
    for samples, labels, overlap, begun in items:
        onsets.append([at / ROW_SAMPLES for at in begun] + [NEVER] * (2 - len(begun)))
        scores.append(torch.sigmoid(clip_logits(encoder, samples)[0]).numpy().astype(np.float64))
        truths.append((*([NAMED.index(label) for label in labels] + [-1, -1])[:2], overlap))
    longest = max(map(len, scores))
    held = np.stack([np.pad(s, ((0, longest - len(s)), (0, 0)), constant_values=np.nan) for s in scores])
    first, second, together = (np.array(column) for column in zip(*truths, strict=True))
    return Heard(held, first, second, together, np.array(onsets))


def material(encoder: Encoder, exam: Exam, voices: Sequence[NDArray[np.float32]], learnt: Sequence[Exam] = ()) -> dict[str, Heard]:
    """Everything that thresholds are chosen on. exam: of recordings that the encoder has not learnt; learnt: exams of those that it has.

    voices: people speaking, stretches of ten seconds are made of them. Rooms are those of exam.data, where there are any, and where
    something is learnt the named recordings beside them.
    """
    rng = np.random.default_rng(SEED)
    counted = (exam.counted(label, times, index) for label in COUNTED for times in range(1, 5) for index in range(exam.of(5)))
    found = {
        "scenes": heard(encoder, _two_sound([exam])),
        "clips": heard(encoder, (_alone(clip) for clip in exam.clips())),
        "counts": heard(encoder, ((s.samples, [s.events[0].label], False, ()) for s in counted)),
        "digits": heard(encoder, ((exam.digit(k).samples, ["Speech"], False, ()) for k in range(0, len(exam.digits), 2))),
        "speech": heard(encoder, ((_talk(rng, voices), ["Speech"], False, ()) for _ in range(exam.of(TALKS)))),
    }
    if learnt:
        found["learnt"] = heard(encoder, _two_sound(learnt))
        if named := ambience.named(exam.data):
            found["named"] = heard(encoder, map(_alone, named))
    if rooms := ambience.kept(exam.data):
        allowed = np.array([[label in room.doubtful for label in NAMED] for room in rooms])
        silent = heard(encoder, ((room.samples[: LISTEN_S * SAMPLE_RATE], [], False, ()) for room in rooms))
        found["rooms"] = replace(silent, allowed=allowed)
    return found


def _two_sound(exams: Sequence[Exam]) -> Iterator[Item]:
    for exam in exams:
        for scene in map(exam.two_sound, range(exam.of(exam.scenes))):
            yield scene.samples, [e.label for e in scene.events], scene.kind == "overlap", [e.start for e in scene.events]


def _alone(recording: Recording) -> Item:
    return recording.samples, [recording.label], False, ()


def _talk(rng: np.random.Generator, voices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    parts = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    while sum(map(len, parts)) < 10 * SAMPLE_RATE:
        voice = voices[int(rng.integers(len(voices)))] * np.float32(10 ** (rng.uniform(-12, 0) / 20))
        parts += [voice, np.zeros(int(rng.uniform(0.1, 0.6) * SAMPLE_RATE), np.float32)]
    x = np.concatenate(parts)
    return (x + rng.normal(0, 10 ** (rng.uniform(-70, -50) / 20), len(x))).astype(np.float32)


def exams_of_shipped(data: Path, unheard: Path, speaker: str, folds: Iterable[int]) -> tuple[Exam, list[Exam]]:
    """Exams for an encoder that has learnt these folds of `data`: of what it has not, in `unheard`, and of each fold.

    Raises: ValueError where `unheard` holds no fold of its own, or more than one.
    """
    learnt = set(folds)
    there = sorted({int(path.name.split("-")[0]) for path in (unheard / "esc10").glob("*/*.ogg")} - learnt)
    if len(there) != 1:
        raise ValueError(
            f"{unheard}/esc10 holds {len(there) or 'no'} folds that are not learnt, where one is needed: recordings as FOLD-….ogg, FOLD "
            f"not among {', '.join(map(str, sorted(learnt)))} (benchmarks/elsewhere.py lays out such a folder)"
        )
    exam = Exam(unheard, there[0], speaker, scenes=UNHEARD_SCENES, seed=SEED)
    # A seed for each: with one seed the four folds' scenes would be the same plans, four times over.
    return exam, [Exam(data, fold, speaker, scenes=LEARNT_SCENES, seed=10 * SEED + fold) for fold in sorted(learnt)]


def voices(made: Path) -> list[NDArray[np.float32]]:
    """People speaking in other languages than English; made: where they are kept. Raises: FileNotFoundError without their packages."""

    def read() -> list[NDArray[np.float32]]:
        packaged.require(packaged.VOICES)  # those of some of them alone would be kept as if they were all
        return [x for language, x in packaged.voices() if language != "en"]

    return packaged.cached(made / "voices.npz", read)


def chosen_for(
    encoder: Encoder, made: Path, sounds: Mapping[str, Any], tell: Callable[[str], None], exam: Exam, learnt: Sequence[Exam] = ()
) -> dict[str, tuple[float, int]]:
    """`choose`, beginning with the thresholds of this table. made: as in `voices`; exam, learnt: as in `material`."""
    tell("hearing what thresholds are chosen on")
    options = {label: SoundOptions(**sounds["default"] | sounds["labels"].get(label, {})) for label in CHOSEN}
    begin = {label: (of.on, of.smooth_rows) for label, of in options.items()}
    return choose(material(encoder, exam, voices(made), learnt), begin, tell)


def worth(found: dict[str, Shares]) -> float:
    """What is sought: scenes first; a sound that is not there costs as much as one that is told rightly is worth."""
    value = TOGETHER * found["scenes"].overlap
    for name, shares in found.items():
        right, invented = WORTH.get(name, (OTHERS, 0.0))
        value += -CLAIM * shares.claims if name == "rooms" else right * shares.right - invented * shares.invented
    return value


def choose(streams: dict[str, Heard], begin: dict[str, tuple[float, int]], tell: Callable[[str], None]) -> dict[str, tuple[float, int]]:
    """begin: label -> threshold to start from and rows of the mean, which stay. Returns the chosen ones."""
    tallies, table = {name: Tally(held) for name, held in streams.items()}, dict(begin)

    def value(label: str, on: float) -> float:
        for tally in tallies.values():
            tally.put(label, on, table[label][1])
        return worth({name: tally.shares() for name, tally in tallies.items()})

    def report(when: str) -> None:
        shares = {name: tally.shares() for name, tally in tallies.items()}
        parts = (
            f"{name} {s.claims:.2f} claims each"
            if name == "rooms"
            else f"{name} right {s.right:.3f} invented {s.invented:.3f} late {s.late:.3f}"
            for name, s in shares.items()
        )
        tell(f"{when}: {', '.join(parts)}")

    for label, (on, _) in table.items():
        value(label, on)
    report("as they were")
    for number in range(ROUNDS):
        for label, (_, mean) in table.items():
            found = {on: value(label, on) for on in ON if on <= MOST.get(label, max(ON))}
            table[label] = (max(found, key=lambda on: _plateau(found, on)), mean)
            value(label, table[label][0])
        report(f"round {number + 1}")
    return table


def _plateau(found: dict[float, float], on: float) -> float:
    at = ON.index(on)
    beside = [found[ON[k]] for k in (at - 1, at + 1) if 0 <= k < len(ON) and ON[k] in found]
    return found[on] * 2 / 3 + sum(beside) / len(beside) / 3
