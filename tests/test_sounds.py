"""Laws of sounds: onset and offset by hand, hysteresis and bridge, and independence of how the rows arrive."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge.sounds import SoundOptions, SoundTracker
from edge.types import Encoding, Sound

HOP = 640
PLAIN = SoundOptions(on=0.5, off=0.25, bridge_s=0.08, smooth_rows=1)
"""No smoothing, two rows of bridge: everything can be calculated in the head."""


def encoding(rows: np.ndarray, start: int = 0, stop: int | None = None) -> Encoding:
    scores = np.asarray(rows, np.float32)
    end = start + len(scores) * HOP if stop is None else stop
    return Encoding(start, end, np.zeros((0, 0), np.float32), 5120, scores, HOP)


def one(values: list[float], options: SoundOptions = PLAIN, close: bool = True) -> list[tuple[int, int | None, float]]:
    """(onset row, offset row, score) of everything told about one label."""
    tracker = SoundTracker(["Bark"], {"": options})
    found = tracker.extend(encoding(np.array(values)[:, None])) + (tracker.close() if close else [])
    return [(s.start // HOP, None if s.stop is None else s.stop // HOP, round(s.score, 3)) for s in found]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0, 0, 0.9, 0.8, 0, 0, 0, 0], [(2, None, 0.9), (2, 4, 0.9)]),
        ([0.3, 0.3, 0.6, 0.3, 0, 0, 0], [(0, None, 0.6), (0, 4, 0.6)]),  # onset where it rose above off, offset where it last was
        ([0.3, 0.1, 0.3, 0.7, 0, 0, 0], [(2, None, 0.7), (2, 4, 0.7)]),  # an earlier rise that came to nothing does not count
        ([0.4, 0.4, 0.4, 0.4], []),  # never reached on
        ([0.6, 0.1, 0.1, 0.3, 0, 0, 0], [(0, None, 0.6), (0, 4, 0.6)]),  # a pause of two rows is bridged, also by what is below on
        ([0.6, 0.1, 0.1, 0.1, 0.6], [(0, None, 0.6), (0, 1, 0.6), (4, None, 0.6), (4, 5, 0.6)]),  # one of three is not
        ([0.5, 0.25, 0.25], [(0, None, 0.5), (0, 3, 0.5)]),  # both thresholds belong to the sound
        ([0.6, 0.9, 0.7], [(0, None, 0.6), (0, 3, 0.9)]),  # the score is the strongest
    ],
)
def test_onset_and_offset_are_those_calculated_by_hand(values: list[float], told: list[tuple[int, int | None, float]]) -> None:
    assert one(values) == told


def test_smoothing_moves_neither_onset_nor_offset() -> None:
    """A rectangle of 20 rows under a mean over 5: both edges where half of the mean lies inside, give or take a row."""
    told = one([0.0] * 10 + [1.0] * 20 + [0.0] * 30, SoundOptions(on=0.5, off=0.5, bridge_s=0.08, smooth_rows=5))
    assert told == [(10, None, 0.6), (10, 30, 1.0)]
    lenient = one([0.0] * 10 + [1.0] * 20 + [0.0] * 30, SoundOptions(on=0.5, off=0.25, bridge_s=0.08, smooth_rows=5))
    assert lenient[-1] == (9, 31, 1.0), "a lower threshold is met as much earlier as later"


def test_smoothing_keeps_a_single_row_from_being_a_sound() -> None:
    spike = [0.0] * 6 + [1.0] + [0.0] * 20
    assert one(spike)
    assert one(spike, SoundOptions(smooth_rows=5)) == []


def test_what_still_sounds_when_the_gate_closes_lasts_until_then() -> None:
    assert one([0.0] * 3 + [1.0] * 9, SoundOptions(on=0.5, off=0.25, smooth_rows=5))[-1] == (2, 12, 1.0)


def test_the_end_is_told_once_the_bridge_has_passed_and_not_before() -> None:
    tracker = SoundTracker(["Bark"], {"": PLAIN})
    rows = np.array([0.9, 0, 0, 0, 0], np.float32)[:, None]
    told = [tracker.extend(encoding(rows[i : i + 1], i * HOP)) for i in range(5)]
    assert [[s.stop for s in t] for t in told] == [[None], [], [], [HOP], []]
    assert tracker.active == []


def random_rows(seed: int, rows: int = 400, labels: int = 3) -> np.ndarray:
    """Scores that wander through both thresholds."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((rows, labels)).cumsum(axis=0)
    return (1 / (1 + np.exp(-(steps - steps.mean(axis=0)) / 2))).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_sounds_do_not_depend_on_how_the_rows_are_cut(seed: int) -> None:
    rng, rows = np.random.default_rng(100 + seed), random_rows(seed)
    options = {"": SoundOptions(bridge_s=0.2), "b": SoundOptions(on=0.7, off=0.1, smooth_rows=int(rng.integers(1, 9)))}
    whole = SoundTracker(["a", "b", "c"], options)
    expected = whole.extend(encoding(rows)) + whole.close()
    assert len(expected) > 4
    tracker, found, start = SoundTracker(["a", "b", "c"], options), list[Sound](), 0
    while start < len(rows):
        count = int(rng.integers(0, 12))
        found += tracker.extend(encoding(rows[start : start + count], start * HOP))
        start += count
    assert found + tracker.close() == expected


@pytest.mark.parametrize("seed", range(8))
def test_every_sound_starts_once_and_ends_once_with_ids_without_holes(seed: int) -> None:
    tracker = SoundTracker(["a", "b", "c"], {"": SoundOptions(bridge_s=0.2, smooth_rows=1 + seed % 5)})
    rows, told = random_rows(seed), list[Sound]()
    for start in range(0, len(rows), 100):
        told += tracker.extend(encoding(rows[start : start + 100], start * HOP)) + tracker.close()
    starts, ends = [s for s in told if s.stop is None], [s for s in told if s.stop is not None]
    assert [s.id for s in starts] == list(range(1, len(starts) + 1))
    assert sorted(s.id for s in ends) == [s.id for s in starts]
    by_id = {s.id: s for s in starts}
    for end in ends:
        begun = by_id[end.id]
        assert (end.label, end.start) == (begun.label, begun.start)
        assert end.stop is not None
        assert end.stop > end.start
        assert end.score >= begun.score
    for label in "abc":
        spans = [(s.start, s.stop) for s in ends if s.label == label]
        assert all(a[1] <= b[0] for a, b in pairwise(spans)), "sounds of one label do not overlap"


def test_closing_forgets_what_was_before() -> None:
    """After a hole in the audio the mean must not reach back over it."""
    tracker = SoundTracker(["Bark"], {"": SoundOptions(on=0.5, off=0.25, smooth_rows=5)})
    tracker.extend(encoding(np.concatenate([np.ones((10, 1)), np.zeros((5, 1))])))
    assert len(tracker.close()) == 1
    assert tracker.close() == []
    (begun,) = tracker.extend(encoding(np.ones((1, 1)), 1000 * HOP))
    assert (begun.id, begun.start, begun.score) == (2, 1000 * HOP, 1.0), "the five quiet rows are forgotten"


def test_active_and_so_far_are_what_is_open() -> None:
    tracker = SoundTracker(["a", "b"], {"": PLAIN})
    tracker.extend(encoding(np.array([[0.0, 0.8], [0.9, 0.8], [0.9, 0.1]])))
    assert [(s.label, s.start, s.stop) for s in tracker.active] == [("b", 0, None), ("a", HOP, None)]
    assert {(s.label, s.stop) for s in tracker.so_far()} == {("a", 3 * HOP), ("b", 2 * HOP)}
    assert {(s.label, s.stop) for s in tracker.close()} == {("a", 3 * HOP), ("b", 2 * HOP)}


def test_rows_behind_the_end_are_left_out() -> None:
    tracker = SoundTracker(["Bark"], {"": PLAIN})
    tracker.extend(encoding(np.ones((8, 1)), 0, stop=2 * HOP + 100))
    assert [s.stop for s in tracker.close()] == [2 * HOP + 100]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="'Meow', which the encoder does not have"):
        SoundTracker(["Bark"], {"Meow": PLAIN})
    with pytest.raises(ValueError, match=r"shape \(4, 2\), expected \[rows, 1\]"):
        SoundTracker(["Bark"]).extend(encoding(np.zeros((4, 2))))
    for wrong in ({"on": 0.2, "off": 0.3}, {"off": 0.0}, {"on": 1.1}, {"bridge_s": -1.0}, {"smooth_rows": 0}):
        with pytest.raises(ValueError, match="thresholds must be 0 < off <= on <= 1"):
            SoundOptions(**wrong)


PAUSING = SoundOptions(on=0.5, off=0.25, bridge_s=0.4, smooth_rows=3)
"""Ten rows of bridge."""


def test_a_sound_goes_on_over_a_closed_gate_no_longer_than_its_bridge() -> None:
    tracker = SoundTracker(["Alarm", "Bark"], {"Alarm": PAUSING, "Bark": PLAIN})
    (alarm, bark) = tracker.extend(encoding(np.full((6, 2), 0.9)))
    assert tracker.pause(9 * HOP) == [Sound(bark.id, "Bark", 0, 6 * HOP, bark.score)], "its bridge of two rows has run out"
    assert tracker.pause(15 * HOP) == []
    assert tracker.sounding
    assert tracker.extend(encoding(np.array([[0.9, 0.0]] * 4), 15 * HOP)) == [], "the same alarm"
    assert tracker.pause(19 * HOP) == []
    assert tracker.extend(encoding(np.array([[0.0, 0.0]] * 2), 24 * HOP)) == [], "a row of nothing ends it no sooner"
    (ended,) = tracker.pause(40 * HOP)
    assert (ended.id, ended.start, ended.stop) == (alarm.id, 0, 19 * HOP)
    assert not tracker.sounding
    assert tracker.pause(50 * HOP) == []


def test_what_pauses_for_longer_is_two_sounds() -> None:
    tracker = SoundTracker(["Alarm"], {"": PAUSING})
    (first,) = tracker.extend(encoding(np.full((6, 1), 0.9)))
    (ended,) = tracker.pause(17 * HOP)
    (second,) = tracker.extend(encoding(np.full((6, 1), 0.9), 17 * HOP))
    assert (ended.id, ended.stop, second.id, second.start) == (first.id, 6 * HOP, first.id + 1, 17 * HOP)
