"""What a bundle is examined on: clips of one fold, and scenes made of them whose truth is known. Everything follows from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE
from export.evaluate.lay import Part, Scene, cut, lay, loudest
from export.train import events, synth
from export.train.labels import COUNTED, DIGITS
from export.train.recordings import ESC10_LABELS, Recording, load

TEN = tuple(ESC10_LABELS.values())
STRANGE = tuple(label for label in synth.SYNTHESISERS if label not in TEN and label != "Noise" and not label.startswith("other:"))
"""Labels that are learnt from synthetic sound; the one synthetic event of a mixed scene has one of them."""
OVERLAP_S = 1.5
"""The first of two overlapping sounds lasts at least this long."""
QUICK = 0.1
Rng = np.random.Generator


@dataclass
class Exam:
    """The material. fold: of ESC-10, never trained on. speaker: of FSDD, "" for none. quick: a tenth of everything."""

    data: Path
    fold: int = 4
    speaker: str = "theo"
    scenes: int = 200
    hours: float = 1.0
    seed: int = 7
    quick: bool = False
    recordings: dict[str, list[Recording]] = field(default_factory=dict)
    """Clips by label; read from `data` where none are given."""

    def __post_init__(self) -> None:
        if not self.recordings:
            self.recordings = self._esc10()

    def of(self, number: int) -> int:
        """That number, or its tenth."""
        return max(1, round(number * QUICK)) if self.quick else number

    @property
    def what(self) -> str:
        return f"ESC-10 fold {self.fold}"

    def rng(self, *key: int) -> Rng:
        """The dice for one item."""
        return np.random.default_rng([self.seed, *key])

    def _esc10(self) -> dict[str, list[Recording]]:
        found: dict[str, list[Recording]] = {}
        for folder, label in ESC10_LABELS.items():
            paths = sorted(self._of_fold(folder))
            found[label] = [Recording(f"esc10/{folder}/{path.name}", label, self.fold, load(path)) for path in paths]
        if empty := [label for label, clips in found.items() if not clips]:
            there = sorted({path.name.split("-")[0] for path in (self.data / "esc10").glob("*/*.ogg")})
            raise FileNotFoundError(
                f"{self.data}/esc10 holds no {empty[0]} of fold {self.fold}; the folds there are {', '.join(there) or 'none'}"
            )
        return found

    def _of_fold(self, folder: str) -> Iterator[Path]:
        return (self.data / "esc10" / folder).glob(f"{self.fold}-*.ogg")

    def _of_speaker(self) -> Iterator[Path]:
        return (self.data / "fsdd").glob(f"*_{self.speaker}_*.wav")

    def files(self) -> list[Path]:
        """Where the clips and digits lie, those that quick mode leaves out as well."""
        return [*(path for folder in ESC10_LABELS for path in self._of_fold(folder)), *(self._of_speaker() if self.speaker else ())]

    def clips(self) -> list[Recording]:
        """Every clip of the fold, in quick mode every tenth."""
        return [clip for clips in self.recordings.values() for clip in clips][:: 10 if self.quick else 1]

    @cached_property
    def digits(self) -> list[Recording]:
        """Every digit that the speaker says, in quick mode every tenth, beginning with another digit each time."""
        paths = sorted(self._of_speaker(), key=lambda p: (int(p.stem.split("_")[2]), p.stem))
        if not paths:
            there = sorted({path.stem.split("_")[1] for path in (self.data / "fsdd").glob("*.wav")})
            raise FileNotFoundError(f"{self.data}/fsdd holds nobody called {self.speaker!r}; its speakers are {', '.join(there) or 'none'}")
        if self.quick:
            paths = [path for k, path in enumerate(paths) if (k % 10) == (k // 10) % 10]
        named = [(path, DIGITS[int(path.stem.split("_")[0])]) for path in paths]
        return [Recording(path.name, "Speech", 0, load(path), word, self.speaker) for path, word in named]

    def _recorded(self, rng: Rng, label: str, low_s: float, least_s: float = 0.0) -> Part:
        """A part of some recording of the label, at least least_s long if there is one."""
        best: Part | None = None
        for _ in range(40):
            recording = self.recordings[label][int(rng.integers(len(self.recordings[label])))]
            part = cut(rng, recording.samples, label, low_s, recording.name, True)
            if best is None or len(part.samples) > len(best.samples):
                best = part
            if len(part.samples) >= max(least_s, 0.2) * SAMPLE_RATE:
                return part
        assert best is not None
        return best

    def _made(self, rng: Rng, label: str, least_s: float = 0.0) -> Part:
        """A synthetic event; 1.5 s where it has them, for its pattern is what tells an alarm from a beep."""
        for _ in range(40):
            part = cut(rng, synth.SYNTHESISERS[label](rng).astype(np.float32), label, 1.5, "synthetic", False)
            if len(part.samples) >= max(least_s, 0.2) * SAMPLE_RATE:
                break
        return part

    def _two(self, rng: Rng, mixed: bool, overlap: bool) -> tuple[Part, Part]:
        """Two parts of different labels; the first is long enough for an overlap where one is wanted."""
        while True:
            labels = [str(label) for label in rng.choice(TEN, 2, replace=False)]
            if mixed:
                labels[int(rng.integers(2))] = str(rng.choice(STRANGE))
            parts = []
            for label, least in zip(labels, (OVERLAP_S * overlap, 0.0), strict=True):
                low = 1.6 if least else 0.7
                parts.append(self._made(rng, label, least) if label in STRANGE else self._recorded(rng, label, low, least))
            if len(parts[0].samples) >= OVERLAP_S * SAMPLE_RATE or not overlap:
                return parts[0], parts[1]

    def two_sound(self, index: int) -> Scene:
        """Scene `index`: every second one holds a synthetic event, two of four overlap."""
        rng, mixed, overlap = self.rng(2, index), index % 2 == 1, index // 2 % 2 == 1
        first, second = self._two(rng, mixed, overlap)
        length = len(first.samples)
        start = int(rng.uniform(1 / 3, 1 / 2) * length) if overlap else length + int(rng.uniform(0.3, 1.0) * SAMPLE_RATE)
        levels = (0.0, float(rng.uniform(-6, 6)))
        kind = "overlap" if overlap else "sequence"
        return lay(rng, f"scene {index}", kind, (first, second), (0, start), levels)

    def counted(self, label: str, times: int, index: int) -> Scene:
        """`times` single events of a counted label, from one recording of the fold where it has some, else synthetic."""
        rng = self.rng(3, COUNTED.index(label), times, index)
        clips = self.recordings.get(label, [])
        low, high = (0.12, 0.5) if label in ("Knock", "Beep, bleep") else (0.35, 1.0)
        singles: list[NDArray[np.float32]] = []
        while not singles:
            drawn_from = clips[int(rng.integers(len(clips)))] if clips else None
            clip = drawn_from.samples if drawn_from else synth.SYNTHESISERS[label](rng).astype(np.float32)
            drawn = [events.one(rng, clip, label) for _ in range(times)]
            singles = drawn if all(len(x) > 0.03 * SAMPLE_RATE for x in drawn) else []
        pieces, at = [], 0
        for single in singles:
            quieter = np.float32(10 ** (rng.uniform(-4, 0) / 20) / max(loudest(single), 1e-6))
            pause = np.zeros(int(rng.uniform(low, high) * SAMPLE_RATE), np.float32)
            pieces += [single * quieter, pause]
            at += len(single) + len(pause)
        samples = np.concatenate(pieces[:-1])
        source = drawn_from.name if drawn_from else "synthetic"
        part = Part(label, samples / np.float32(loudest(samples)), bool(clips), times, (), source)
        return lay(rng, f"{label} {times} {index}", "count", (part,), (0,), (0.0,))

    def digit(self, index: int) -> Scene:
        """One spoken digit, 0.6 s of quiet noise before and 1 s behind it."""
        recording = self.digits[index]
        rng = self.rng(4, index)
        part = Part(
            "Speech", recording.samples / np.float32(max(loudest(recording.samples), 1e-6)), True, 0, (recording.word,), recording.name
        )
        return lay(rng, recording.name, "digit", (part,), (0,), (0.0,), (-55, -45), (-28, -12), 0.6)

    def pair(self, index: int) -> tuple[Scene, Scene]:
        """The same two events in both orders, the same pause between them and the same noise under them."""
        rng = self.rng(6, index)
        parts: Sequence[Part] = self._two(rng, index % 2 == 1, False)
        gap, level = int(rng.uniform(0.3, 1.0) * SAMPLE_RATE), float(rng.uniform(-6, 6))
        both = []
        for name, order in (("AB", (0, 1)), ("BA", (1, 0))):
            first, second = (parts[k] for k in order)
            levels = tuple((0.0, level)[k] for k in order)
            starts = (0, len(first.samples) + gap)
            both.append(lay(self.rng(6, index, 1), f"pair {index} {name}", "sequence", (first, second), starts, levels))
        return both[0], both[1]
