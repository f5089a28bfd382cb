"""Per-row label scores -> sounds with onset and offset: hysteresis with a bridge over short pauses, on integers.

A label starts when its smoothed score reaches `on` and ends when it has stayed below `off` for `bridge_s`; its onset is
the first row of that rise that was above `off`, its offset the last. Independent of how the rows are cut into calls.
Source: double-threshold segmentation as used in sound event detection, Kong et al. 2020 (PANNs), section V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge.errors import BundleError
from edge.table import Table
from edge.types import SAMPLE_RATE, Encoding, Samples, Sound


@dataclass(frozen=True, slots=True)
class SoundOptions:
    """on, off: scores in 0..1; bridge_s: a pause up to this long does not end a sound; smooth_rows: width of the moving mean."""

    on: float = 0.5
    off: float = 0.25
    bridge_s: float = 0.6
    smooth_rows: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on <= 1 or self.bridge_s < 0 or self.smooth_rows < 1:
            raise ValueError(
                f"thresholds must be 0 < off <= on <= 1, bridge_s >= 0 and smooth_rows >= 1, not {self.off}, {self.on}, {self.bridge_s} "
                f"and {self.smooth_rows}"
            )


def options_of(table: Table) -> dict[str, SoundOptions]:
    """Thresholds of a manifest: {"default": {...}, "labels": {label: {...}}}, every key optional. Raises: BundleError."""

    def read(entry: Table, base: SoundOptions) -> SoundOptions:
        try:
            return SoundOptions(
                on=entry.number("on", 0.01, 1.0, base.on),
                off=entry.number("off", 0.001, 1.0, base.off),
                bridge_s=entry.number("bridge_s", 0.0, 60.0, base.bridge_s),
                smooth_rows=entry.integer("smooth_rows", 1, 1000, base.smooth_rows),
            )
        except ValueError as error:
            raise BundleError(f"{entry.where}: {error}; repair the manifest") from None

    default = read(table.table("default", {}), SoundOptions())
    labels = table.table("labels", {})
    return {"": default, **{label: read(labels.table(label), default) for label in labels}}


@dataclass(slots=True)
class _Track:
    options: SoundOptions
    recent: list[float] = field(default_factory=list)
    rise: int | None = None
    """Where the score last rose above `off`, while it stays there or the sound goes on."""
    last: int = 0
    """End of the newest row above `off`, the lag of the mean taken off."""
    above: bool = False
    """Whether the newest row is above `off`."""
    sound: Sound | None = None

    @property
    def lag(self) -> int:
        """Rows that the moving mean lags behind the scores that it measures."""
        return (len(self.recent) - 1) // 2


class SoundTracker:
    """Sounds of one stream. Single-threaded; ids grow from 1 over the life of the tracker."""

    def __init__(self, labels: Sequence[str], options: Mapping[str, SoundOptions] | None = None) -> None:
        """options: per label, and under "" for every label that is not named."""
        given = dict(options or {})
        default = given.pop("", SoundOptions())
        unknown = sorted(set(given) - set(labels))
        if unknown:
            raise ValueError(f"sound options name the label {unknown[0]!r}, which the encoder does not have")
        self.labels = tuple(labels)
        self._tracks = [_Track(given.get(label, default)) for label in labels]
        self._next_id = 1
        self._stop = 0
        """End of the newest row."""

    @property
    def active(self) -> list[Sound]:
        """Sounds that have started and not ended, in order of onset."""
        return sorted((t.sound for t in self._tracks if t.sound is not None), key=lambda s: (s.start, s.id))

    def so_far(self) -> list[Sound]:
        """The active sounds as if the gate closed now."""
        return [replace(t.sound, stop=self._until(t)) for t in self._tracks if t.sound is not None]

    def extend(self, encoding: Encoding) -> list[Sound]:
        """Takes the next rows; returns starts (stop None) and ends in the order of the rows that decided them."""
        if encoding.scores.ndim != 2 or encoding.scores.shape[1] != len(self.labels):
            raise ValueError(f"scores have the shape {encoding.scores.shape}, expected [rows, {len(self.labels)}]")
        found: list[Sound] = []
        for row, scores in enumerate(encoding.scores):
            at = encoding.start + row * encoding.score_hop
            if at < encoding.stop:
                self._stop = min(at + encoding.score_hop, encoding.stop)
                found += self._row(at, encoding.score_hop, scores)
        return found

    def _row(self, at: int, hop: int, scores: Samples) -> list[Sound]:
        found = []
        for label, track, score in zip(self.labels, self._tracks, scores.tolist(), strict=True):
            o = track.options
            track.recent.append(score)
            if len(track.recent) > o.smooth_rows:
                track.recent.pop(0)
            smooth = sum(track.recent) / len(track.recent)
            middle = at - track.lag * hop
            track.above = smooth >= o.off
            if track.above:
                if track.rise is None:
                    track.rise = max(0, middle)
                track.last = min(middle + hop, self._stop)
            elif track.sound is None:
                track.rise = None
            if track.sound is None:
                if smooth >= o.on and track.rise is not None:
                    track.sound = Sound(self._next_id, label, track.rise, None, smooth)
                    self._next_id += 1
                    found.append(track.sound)
            elif smooth > track.sound.score:
                track.sound = Sound(track.sound.id, label, track.sound.start, None, smooth)
            elif middle + hop - track.last > o.bridge_s * SAMPLE_RATE:
                found.append(self._end(track))
        return found

    def _until(self, track: _Track) -> int:
        """Where the track's sound ends if nothing follows: still above `off`, it lasts as long as the rows do."""
        return self._stop if track.above else track.last

    def _end(self, track: _Track) -> Sound:
        assert track.sound is not None
        ended = replace(track.sound, stop=self._until(track))
        self._forget(track)
        return ended

    @staticmethod
    def _forget(track: _Track) -> None:
        track.sound, track.rise, track.above = None, None, False
        track.recent.clear()

    def pause(self, at: int) -> list[Sound]:
        """The gate is closed, or opens again at sample `at`: sounds end whose bridge has run out, others may go on; means begin anew."""
        ended = []
        for track in self._tracks:
            track.last = self._until(track)
            if track.sound is None:
                self._forget(track)
            elif at - track.last > track.options.bridge_s * SAMPLE_RATE:
                ended.append(self._end(track))
            else:
                track.recent.clear()
                track.above = False
        return sorted(ended, key=lambda sound: (sound.stop, sound.id))

    @property
    def sounding(self) -> bool:
        """Whether a sound has not ended."""
        return any(track.sound is not None for track in self._tracks)

    def close(self) -> list[Sound]:
        """Audio was lost, or nothing follows: every open sound ends where it was last above its threshold."""
        ended = [self._end(track) for track in self._tracks if track.sound is not None]
        for track in self._tracks:
            self._forget(track)
        return sorted(ended, key=lambda sound: (sound.stop, sound.id))
