"""Laws of the whole line on the miniature bundle: blocks, threads and losses change no caption, and nothing is lost uncounted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import line_bundle
import numpy as np
import pytest
import soundfile
from line_bundle import scene
from tape import VITALS, Tape, finals, told

from edge.ahead import Backlog
from edge.bundle import Bundle
from edge.capture import AudioFile
from edge.config import Config
from edge.errors import AudioError, BackendError, BundleError
from edge.gate import GateOptions
from edge.pipeline import Heard, Line, ahead
from edge.types import Caption, Device, Gap, Session, Sound, Speech, Turn, Vitals

SCENE = scene(("", 0.7), ("Tone", 1.2), ("", 2.1), ("Hum", 0.8), ("Whistle", 1.0), ("", 0.333))
SECOND = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return line_bundle.make(tmp_path_factory.mktemp("bundle") / "miniature")


@pytest.fixture(scope="module")
def line(folder: Path) -> Iterator[Line]:
    loaded = Line(Bundle.open(folder))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def expected(line: Line) -> list[Any]:
    """What the line tells about SCENE offline."""
    return told(line.run(Tape(SCENE)))


def paced(line: Line, tape: Tape) -> Iterator[Any]:
    for record in line.run(tape):
        yield record
        tape.acknowledge(record)


def sounds(records: list[Any]) -> list[tuple[str, bool]]:
    return [(r.label, r.stop is None) for r in records if isinstance(r, Sound)]


def test_a_scene_is_told_in_order(expected: list[Any]) -> None:
    """Else the laws below would compare nothing with nothing."""
    assert sounds(expected) == [("Tone", True), ("Tone", False), ("Hum", True), ("Whistle", True), ("Hum", False), ("Whistle", False)]
    captions = [r for r in expected if isinstance(r, Caption)]
    assert [c.id for c in captions if c.final] == [1, 2]
    assert len(captions) > 4
    starts = {s.label: s.start / SECOND for s in expected if isinstance(s, Sound) and s.stop is not None}
    stops = {s.label: s.stop / SECOND for s in expected if isinstance(s, Sound) and s.stop is not None}
    assert starts == pytest.approx({"Tone": 0.7, "Hum": 4.0, "Whistle": 4.8}, abs=0.08)
    assert stops == pytest.approx({"Tone": 1.9, "Hum": 4.8, "Whistle": 5.8}, abs=0.08)


@pytest.mark.parametrize("size", [1, 17, 160, 512, 4096])
def test_block_size_does_not_change_the_records(folder: Path, expected: list[Any], size: int) -> None:
    line = Line(Bundle.open(folder), Config(block_size=size))
    assert told(line.run(Tape(SCENE))) == expected
    line.close()


def test_a_file_gives_the_same_records_every_time(line: Line, expected: list[Any], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "scene.wav", SCENE, SECOND, subtype="FLOAT")
    for _ in range(2):
        assert told(line.run(AudioFile(tmp_path / "scene.wav"))) == expected


def test_live_gives_the_records_of_offline(line: Line, expected: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads and blocks of another size; a consumer that keeps up with real time misses no view."""
    monkeypatch.setattr("edge.telling.SLACK_S", 60.0)  # a machine that is busy with something else is no slow language model
    assert told(paced(line, Tape(SCENE, paced=True))) == expected


def test_real_time_gives_the_finals_of_offline(line: Line, tmp_path: Path) -> None:
    short = scene(("", 0.5), ("Tone", 0.8), ("", 0.9))
    soundfile.write(tmp_path / "short.wav", short, SECOND, subtype="FLOAT")
    offline = list(line.run(AudioFile(tmp_path / "short.wav")))
    begun = time.monotonic()
    live = list(line.run(AudioFile(tmp_path / "short.wav", realtime=True)))
    assert time.monotonic() - begun > 2.1, "at the speed of real time"
    assert finals(live) == finals(offline)
    assert any(isinstance(r, Caption) for r in live)
    assert all(0 <= r.latency < 2 for r in live if isinstance(r, Caption))


def test_records_leave_in_the_order_of_the_audio_behind_one_session(line: Line) -> None:
    records = list(line.run(Tape(SCENE)))
    assert [type(r) for r in records].index(Session) == 0
    assert sum(isinstance(r, Session) for r in records) == 1
    captions = [r for r in records if isinstance(r, Caption)]
    assert [c.stop for c in captions] == sorted(c.stop for c in captions)
    for id in {c.id for c in captions}:
        own = [c for c in captions if c.id == id]
        assert [c.revision for c in own] == list(range(1, len(own) + 1))
        assert [c.final for c in own] == [False] * (len(own) - 1) + [True]
    vitals = [r.at for r in records if isinstance(r, Vitals)]
    assert vitals == sorted(vitals)
    assert len(vitals) == len(SCENE) // VITALS + 1, "the last chunk is completed with silence"


HOLE = Gap(int(1.3 * SECOND), int(1.3 * SECOND) + 12_345, "device")
OUT = [Device(HOLE.start, "lost", "USB mic"), HOLE, Device(HOLE.stop, "open", "USB mic")]


@pytest.mark.parametrize("live", [False, True])
def test_a_hole_closes_what_is_open_before_it_is_told(line: Line, live: bool) -> None:
    tape = Tape(SCENE, OUT, paced=live)
    records = [r for r in paced(line, tape) if not isinstance(r, Vitals)]
    at = records.index(OUT[0])
    assert [r for r in records if isinstance(r, Gap | Device)] == OUT
    before, after = records[:at], records[at:]
    last = [r for r in before if isinstance(r, Caption)][-1]
    assert (last.final, last.stop) == (True, HOLE.start), "the open turn ends at the hole"
    assert sounds(before) == [("Tone", True), ("Tone", False)]
    assert all(r.start >= HOLE.stop for r in after if isinstance(r, Caption | Sound)), "nothing reaches back over it"
    assert sounds(after)[:2] == [("Hum", True), ("Whistle", True)]


@pytest.mark.parametrize("size", [1, 17, 512, 4096])
def test_samples_in_are_samples_processed_and_samples_in_gaps(folder: Path, size: int) -> None:
    holes = [Gap(1000, 1001, "device"), Gap(20_000, 29_999, "deficit"), Gap(29_999, 30_000, "device"), Gap(60_001, 75_000, "device")]
    line = Line(Bundle.open(folder), Config(block_size=size))
    records = list(line.run(Tape(SCENE, holes)))
    assert [r for r in records if isinstance(r, Gap)] == holes
    assert line.meters["level"].samples + sum(h.stop - h.start for h in holes) == len(SCENE)
    line.close()


def test_a_reader_that_was_lapped_is_told_and_every_sample_counted(line: Line) -> None:
    tape = Tape(np.tile(SCENE, 2), capacity=1 << 14, burst=40_000)
    records = list(line.run(tape))
    gaps = [r for r in records if isinstance(r, Gap)]
    assert gaps
    assert {g.reason for g in gaps} == {"overrun"}
    assert all(a.stop <= b.start for a, b in pairwise(gaps))
    assert line.meters["level"].samples + sum(g.stop - g.start for g in gaps) == 2 * len(SCENE)


def test_a_slow_consumer_loses_partials_first_and_then_audio_that_is_counted(line: Line) -> None:
    """The listen thread has read it all before the encoder asks: what the ring no longer holds is in one gap, the rest is heard."""
    audio = scene(("Tone", 12.0), ("", 3.0))
    tape = Tape(audio, paced=True, capacity=1 << 17)
    stream = line.run(tape)
    assert isinstance(next(stream), Session)
    records = [first := next(stream)]
    assert isinstance(first, Vitals)  # and no view yet: the encoder has not asked for anything
    tape.acknowledge(replace(first, at=len(audio)))
    while tape.ring.head < len(audio):
        time.sleep(0.01)
    records += stream
    gaps = [r for r in records if isinstance(r, Gap)]
    captions = [r for r in records if isinstance(r, Caption)]
    assert len(gaps) == 1
    assert gaps[0].reason == "overrun"
    assert captions[-1].final
    assert len(captions) <= 3, "views that nobody waited for were replaced"
    assert sounds(records) == [("Tone", True), ("Tone", False)]


def longest(folder: Path, seconds: float) -> Line:
    return Line(Bundle.open(folder), Config(gate=GateOptions(max_turn_s=seconds)))


def test_a_steady_sound_over_many_turns_is_one_sound_and_one_caption(folder: Path) -> None:
    line = longest(folder, 2.0)
    records = told(line.run(Tape(scene(("", 1.0), ("Tone", 7.0), ("", 2.0)))))
    assert sounds(records) == [("Tone", True), ("Tone", False)]
    (end,) = [r for r in records if isinstance(r, Sound) and r.stop is not None]
    assert (end.start / SECOND, end.stop / SECOND) == pytest.approx((1.0, 8.0), abs=0.08)
    assert {r.id for r in records if isinstance(r, Caption)} == {1}
    line.close()


@pytest.mark.parametrize("tone_s", [2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0])
def test_a_sound_ends_also_when_its_turn_is_cut_in_the_pause_behind_it(folder: Path, tone_s: float) -> None:
    """The turn is cut for its length, and no other goes on from there."""
    line = longest(folder, 3.0)
    records = told(line.run(Tape(scene(("", 1.0), ("Tone", tone_s), ("", 6.0), ("Hum", 1.0), ("", 0.2)))))
    assert sounds(records) == [("Tone", True), ("Tone", False), ("Hum", True), ("Hum", False)]
    (tone,) = [r for r in records if isinstance(r, Sound) and r.label == "Tone" and r.stop is not None]
    assert tone.stop / SECOND == pytest.approx(1.0 + tone_s, abs=0.4)
    line.close()


def test_a_stream_that_ends_with_the_longest_turn_ends_its_sounds(folder: Path) -> None:
    line = longest(folder, 2.0)
    for samples in range(1 * SECOND, 4 * SECOND, 4000):
        audio = scene(("Tone", 5.0))[:samples]
        assert sounds(told(line.run(Tape(audio)))) == [("Tone", True), ("Tone", False)]
    line.close()


def test_without_a_language_model_there_are_sounds_and_no_captions(tmp_path: Path, expected: list[Any]) -> None:
    line = Line(Bundle.open(line_bundle.make(tmp_path / "deaf", captioner=False)))
    records = told(line.run(Tape(SCENE)))
    assert records == [r for r in expected if not isinstance(r, Caption)]
    assert "captioner" not in line.meters
    line.close()


def test_silence_costs_no_encoder_and_no_language_model(line: Line) -> None:
    assert told(line.run(Tape(line_bundle.quiet(5.0)))) == []
    assert line.meters["level"].samples == 5 * SECOND
    assert line.meters["encoder"].calls == line.meters["captioner"].calls == 0


def test_an_empty_stream_has_a_session(line: Line) -> None:
    assert [type(r) for r in line.run(Tape(np.zeros(0, np.float32)))] == [Session]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 2, 12, 30])
def test_a_consumer_that_leaves_closes_the_source_and_the_next_run_is_as_if_nothing_was(
    line: Line, expected: list[Any], live: bool, taken: int
) -> None:
    tape = Tape(np.tile(SCENE, 4), live=live)
    stream = line.run(tape)
    for _ in range(taken):
        next(stream)
    stream.close()
    assert tape.closed == (1 if taken else 0), "a stream that never began has nothing to close"
    assert not listening()
    assert told(line.run(Tape(SCENE))) == expected


def listening() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("auricle")]


@pytest.mark.parametrize("live", [False, True])
def test_a_source_that_fails_fails_the_stream_and_not_the_line(line: Line, expected: list[Any], live: bool) -> None:
    class Breaking(Tape):
        def fill(self, until: int) -> int:
            if until > 2 * SECOND:
                raise AudioError("the tape broke; mend it")
            return super().fill(until)

    tape, records = Breaking(SCENE, live=live), []
    with pytest.raises(AudioError, match="the tape broke"):
        records.extend(line.run(tape))
    assert tape.closed == 1
    assert not listening()
    assert any(isinstance(r, Sound) for r in records), "what was heard before was told"
    assert told(line.run(Tape(SCENE))) == expected


def test_a_line_runs_one_stream_at_a_time_and_none_once_closed(folder: Path) -> None:
    line = Line(Bundle.open(folder))
    stream = line.run(Tape(SCENE))
    next(stream)
    second = Tape(SCENE)
    with pytest.raises(ValueError, match="close that stream first"):
        next(line.run(second))
    assert second.closed == 1
    assert any(isinstance(r, Caption) for r in stream), "the first one goes on"
    line.close()
    line.close()
    with pytest.raises(ValueError, match="closed; load it again"):
        next(line.run(Tape(SCENE)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sounds": {"default": {"on": 0.3, "off": 0.4}}}, "thresholds must be 0 < off <= on"),
        ({"sounds": {"labels": {"Meow": {"on": 0.3}}}}, "'Meow', which the encoder does not have"),
        ({"sounds": {"labels": {"Hum": {"bridge_s": -1}}}}, "'bridge_s' is -1"),
        ({"sounds": {"labels": {"Hum": 3}}}, "'Hum' is 3, but must be an object"),
        ({"caption": {"prompt": "<caption>", "limit_tokens": 127, "context": 128}}, "no room for audio"),
        ({"labels": ["Hum"]}, "scores 4 labels"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_refused_before_anything_is_heard(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises((BundleError, BackendError), match=says):
        Line(Bundle.open(line_bundle.make(tmp_path / "wrong", **changes)))


def test_a_language_model_of_another_width_is_refused(tmp_path: Path) -> None:
    model = line_bundle.encoder_bytes(width=32)
    with pytest.raises(BackendError, match="rows have 32 values, the language model takes 64"):
        Line(Bundle.open(line_bundle.make(tmp_path / "wrong", model=model)))


def test_thresholds_of_a_label_are_its_own(tmp_path: Path) -> None:
    line = Line(
        Bundle.open(line_bundle.make(tmp_path / "shy", sounds={"default": {"on": 0.5}, "labels": {"Tone": {"on": 1.0, "off": 1.0}}}))
    )
    assert {r.label for r in told(line.run(Tape(SCENE))) if isinstance(r, Sound)} == {"Hum", "Whistle"}
    line.close()


def view(id: int, stop: int, final: bool = False) -> Turn:
    return Turn(id, 0, stop, final, "silence" if final else "hop", "sound")


def heard(*events: Any) -> Iterator[Heard]:
    for event in events:
        yield Heard(event, 0.0)


def drained(*events: Any, length: int = 512) -> list[Any]:
    """What a consumer gets who comes back when the listen thread is through with everything."""
    through = threading.Event()

    def produce() -> Iterator[Heard]:
        yield Heard(Speech(0, 1), 0.0)
        yield from heard(*events)
        through.set()

    stream = ahead(produce(), length)
    assert next(stream).event == Speech(0, 1)
    assert through.wait(10)
    return [h.event for h in stream]


def test_a_newer_view_replaces_an_older_one_and_nothing_else() -> None:
    events = [view(1, 10), view(1, 20), Speech(3, 9), view(1, 30), view(1, 40, True), view(2, 50), Vitals(1, 0, 0, None), Gap(50, 60, "x")]
    events += [
        view(5, 61, True),
        view(5, 62, True),
        view(3, 70),
        Vitals(2, 0, 0, None),
        Device(80, "lost", "mic"),
        view(3, 90),
        view(4, 95, True),
    ]
    assert drained(*events) == [
        Speech(3, 9),
        view(1, 40, True),
        view(2, 50),
        Gap(50, 60, "x"),
        view(5, 61, True),
        view(5, 62, True),
        Vitals(2, 0, 0, None),
        Device(80, "lost", "mic"),
        view(3, 90),
        view(4, 95, True),
    ]


def test_a_look_takes_the_place_of_a_hop_as_a_hop() -> None:
    """Or an open caption would wait for the next one."""
    looks = [replace(view(1, stop), cause="look") for stop in (5, 20, 30)]
    backlog = Backlog()
    through = threading.Event()

    def produce() -> Iterator[Heard]:
        yield from heard(Speech(0, 1), looks[0], view(1, 10), *looks[1:])
        through.set()

    stream = ahead(produce(), backlog=backlog)
    assert next(stream).event == Speech(0, 1)
    assert through.wait(10)
    assert [h.event for h in stream] == [view(1, 30)]
    assert backlog.replaced == 0, "nothing was shed: what was to be captioned is captioned"


def test_ahead_without_a_slow_consumer_changes_nothing() -> None:
    """A producer that is asked only when the consumer is back."""
    taken = threading.Semaphore(1)

    def produce() -> Iterator[Heard]:
        for stop in range(1, 200):
            taken.acquire()
            yield Heard(view(1, stop), 0.0)

    got = []
    for h in ahead(produce()):
        got.append(h.event.stop)
        taken.release()
    assert got == list(range(1, 200))


def test_finals_are_never_dropped_and_the_listen_thread_waits_for_room() -> None:
    produced = 0

    def produce() -> Iterator[Heard]:
        nonlocal produced
        for id in range(1, 101):
            produced = id
            yield Heard(view(id, id, id % 3 != 0), 0.0)

    got = []
    for h in ahead(produce(), length=4):
        got.append(h.event.id)
        if len(got) % 10 == 0:
            time.sleep(0.005)  # gives the other thread every chance to run away
        assert produced <= len(got) + 4 + 2
    assert got == list(range(1, 101))


def test_an_error_of_the_listen_thread_reaches_the_consumer_behind_what_came_before() -> None:
    def produce() -> Iterator[Heard]:
        yield from heard(view(1, 10, True), view(2, 20, True))
        raise AudioError("the microphone burst")

    got: list[Heard] = []
    with pytest.raises(AudioError, match="the microphone burst"):
        got.extend(ahead(produce()))
    assert [h.event for h in got] == [view(1, 10, True), view(2, 20, True)]
    assert not listening()


@pytest.mark.parametrize("length", [2, 10**6])
def test_closing_stops_the_listen_thread(length: int) -> None:
    """Also one that waits for room."""

    def produce() -> Iterator[Heard]:
        id = 0
        while True:
            id += 1
            yield Heard(view(id, id, True), 0.0)
            time.sleep(0)

    stream = ahead(produce(), length)
    next(stream)
    stream.close()
    assert not listening()


def test_a_caption_says_how_long_it_took(line: Line) -> None:
    begun = time.monotonic()
    captions = [r for r in line.run(Tape(SCENE)) if isinstance(r, Caption)]
    assert all(0 < c.latency < time.monotonic() - begun for c in captions)
