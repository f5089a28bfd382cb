"""Laws of blocks(): everything a source brings comes out once, in order."""

from __future__ import annotations

import numpy as np
import pytest

from edge._native import Ring
from edge.ring import blocks
from edge.types import AudioBlock, Device, Gap


class Script:
    """A source that plays a list of steps: samples to write, gaps to skip, device changes; one step a fill."""

    live = False
    name = "script"
    anchor_ns = 0

    def __init__(self, steps: list[np.ndarray | int | Device | str], capacity: int = 1 << 14) -> None:
        self.ring = Ring(capacity)
        self._steps = list(steps)
        self._events: list[Gap | Device] = []

    @property
    def ended(self) -> bool:
        return not self._steps

    def fill(self, until: int) -> int:
        while self._steps and self.ring.head < until and not self._events:
            step = self._steps.pop(0)
            if isinstance(step, int):
                self._events.append(Gap(self.ring.head, self.ring.head + step, "device"))
                self.ring.skip(step)
            elif isinstance(step, str):
                self._events.append(Device(self.ring.head, step, "mic"))
            else:
                self.ring.write(step)
        return self.ring.head

    def events(self) -> list[Gap | Device]:
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        pass


def counter(start: int, stop: int) -> np.ndarray:
    return (np.arange(start, stop, dtype=np.float64) * 2.0**-20).astype(np.float32)


def told(records: list[AudioBlock | Gap | Device]) -> list[object]:
    """The same records with neighbouring blocks joined, so that sizes do not show."""
    out: list[object] = []
    for record in records:
        if not isinstance(record, AudioBlock):
            out.append(record)
        elif out and isinstance(out[-1], list) and record.gap == 0:
            assert out[-1][0] + len(out[-1][2]) == record.start
            out[-1][2].extend(record.samples.tolist())
        else:
            out.append([record.start, record.gap, record.samples.tolist()])
    return out


STEPS: list[np.ndarray | int | Device | str] = [
    "open", counter(0, 700), "lost", 300, counter(1000, 1001), 5, 7, counter(1013, 4000), "changed", counter(4000, 4100), "lost", 50
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 17, 160, 512, 4096])
def test_block_size_does_not_change_what_is_told(size: int) -> None:
    assert told(list(blocks(Script(STEPS), size))) == [
        Device(0, "open", "mic"),
        [0, 0, counter(0, 700).tolist()],
        Device(700, "lost", "mic"),
        Gap(700, 1000, "device"),
        [1000, 300, counter(1000, 1001).tolist()],
        Gap(1001, 1006, "device"),
        Gap(1006, 1013, "device"),
        [1013, 12, counter(1013, 4000).tolist()],
        Device(4000, "changed", "mic"),
        [4000, 0, counter(4000, 4100).tolist()],
        Device(4100, "lost", "mic"),
        Gap(4100, 4150, "device"),
    ]


def test_blocks_are_full_except_before_an_event_and_at_the_end() -> None:
    lengths = [len(record.samples) for record in blocks(Script([counter(0, 100), counter(100, 130), 10, counter(140, 210)]), 32)
               if isinstance(record, AudioBlock)]  # fmt: skip
    assert lengths == [32, 32, 32, 32, 2, 32, 32, 6]


def test_every_sample_is_in_a_block_or_in_exactly_one_gap() -> None:
    seen = np.zeros(4150, np.int32)
    for record in blocks(Script(STEPS), 333):
        if isinstance(record, AudioBlock | Gap):
            seen[record.start : record.stop] += 1
    assert (seen == 1).all()


def test_a_lapped_reader_gets_an_exact_gap_and_then_true_samples() -> None:
    source = Script([counter(0, 1000), counter(1000, 2000), counter(2000, 2500), counter(2500, 3000)], capacity=1024)
    pulled = blocks(source, 100)
    first = next(pulled)
    assert isinstance(first, AudioBlock)
    assert first.start == 0
    source.fill(2500)  # somebody else fills far ahead
    rest = list(pulled)
    assert rest[0] == Gap(100, 2500 - 1024, "overrun")
    after = rest[1]
    assert isinstance(after, AudioBlock)
    assert after.gap == 2500 - 1024 - 100
    assert np.array_equal(after.samples, counter(after.start, after.stop))
    assert isinstance(rest[-1], AudioBlock)
    assert rest[-1].stop == 3000


def test_lapping_does_not_count_a_sample_that_already_lies_in_a_gap() -> None:
    source = Script([counter(0, 200), 100, counter(300, 1000), counter(1000, 2000)], capacity=1024)
    pulled = blocks(source, 100)
    next(pulled)
    seen = np.zeros(2000, np.int32)
    source.fill(300)
    held = source.events()
    source.fill(2000)
    source._events = held
    seen[:100] += 1
    for record in pulled:
        assert not isinstance(record, Device)
        seen[record.start : record.stop] += 1
    assert (seen == 1).all()


def test_an_empty_source_gives_nothing() -> None:
    assert list(blocks(Script([]))) == []


@pytest.mark.parametrize("size", [0, -1])
def test_a_block_of_no_samples_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(blocks(Script([]), size))


def test_an_event_is_told_without_waiting_for_more_audio() -> None:
    source = Script([counter(0, 40), "stalled", counter(40, 80)])
    pulled = blocks(source, 32)
    assert [type(next(pulled)) for _ in range(3)] == [AudioBlock, AudioBlock, Device]
    assert source.ring.head == 40  # nothing was filled in between
