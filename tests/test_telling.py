"""Laws of a line that falls behind: what is shed, what is told of it, and that it comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import line_bundle
import numpy as np
import pytest
import soundfile
from line_bundle import scene
from tape import Tape, finals

from edge.backends.llama import LlamaModel
from edge.bundle import Bundle
from edge.captioner import Captioner
from edge.capture import AudioFile
from edge.config import Config
from edge.pipeline import Line
from edge.sinks.record import as_dict
from edge.types import Caption, Sound, Status, Turn
from edge.wall_clock import WallClock

SECOND = 16_000
SCENE = scene(("", 0.5), ("Tone", 3.0), ("", 1.8), ("Hum", 2.5), ("", 4.0))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    loaded = Line(Bundle.open(line_bundle.make(tmp_path_factory.mktemp("bundle") / "miniature")), Config(status_s=1.0))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def slow(line: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[tuple[float, Any]]]:
    """(offline records, live records with the second of their arrival) of SCENE, live behind a language model of 0.7 s a text."""
    path = tmp_path_factory.mktemp("scene") / "scene.wav"
    soundfile.write(path, SCENE, SECOND, subtype="FLOAT")
    offline = list(line.run(AudioFile(path)))
    decode = LlamaModel.decode

    def slowed(self: LlamaModel, *args: Any) -> list[int]:
        time.sleep(0.7)
        return decode(self, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LlamaModel, "decode", slowed)
        live = [(time.monotonic(), record) for record in line.run(AudioFile(path, realtime=True))]
    return offline, live


def test_an_overloaded_line_tells_every_final_and_every_sound_and_sheds_partials(slow: Any) -> None:
    offline, live = slow
    records = [record for _, record in live]
    assert [(c.start, c.stop, c.id) for c in finals(records) if isinstance(c, Caption)] == [
        (c.start, c.stop, c.id) for c in finals(offline) if isinstance(c, Caption)
    ]
    assert [s for s in records if isinstance(s, Sound)] == [s for s in offline if isinstance(s, Sound)]
    partials = [sum(isinstance(r, Caption) and not r.final for r in told) for told in (records, offline)]
    assert 0 < partials[0] < partials[1], "some, but fewer than where there is time"
    last = [r for r in records if isinstance(r, Status)][-1]
    assert last.shed > 0


def test_the_lag_that_is_told_is_true_and_is_over_once_there_is_time_again(slow: Any) -> None:
    live = slow[1]
    begun = live[0][0]
    told = [(came - begun, r) for came, r in live if isinstance(r, Status)]
    assert max(r.lag_s for _, r in told) >= 0.5, "a text of 0.7 s holds up what follows it"
    for came, status in told:
        assert status.lag_s <= came - status.at / SECOND + 0.6, "no more than what a watch beside it shows, a hop aside"
    assert told[-1][1].lag_s < 0.3, "the last four seconds were quiet"


def test_encoder_and_sounds_have_the_thread_for_as_long_as_the_language_model_had_it(slow: Any) -> None:
    """Behind a partial of 0.7 s there is none for as long; one follows another after 1.4 s, and not after 0.7."""
    told = [(came, r.id) for came, r in slow[1] if isinstance(r, Caption) and not r.final]
    between = [later - came for (came, id), (later, same) in pairwise(told) if id == same]
    assert between
    assert min(between) > 1.35


def test_rows_of_views_that_were_not_captioned_reach_the_final(line: Line) -> None:
    """The final rests on all rows of its turn, whichever views were told before it."""
    rows = []
    for waits in (False, True):
        encoder, captioner = line.upper_stairs()
        assert isinstance(captioner, Captioner)
        told = None
        for stop in (8_000, 16_000, 24_000, 32_000):
            turn = Turn(1, 0, stop, stop == 32_000, "end" if stop == 32_000 else "hop", "sound")
            encoder.begin(turn)
            encoded = encoder.extend(np.ascontiguousarray(SCENE[stop : 8_000 + stop]))
            if waits and stop in (8_000, 24_000):
                captioner.wait(turn, encoded)
            else:
                told = captioner.revise(turn, encoded, [Sound(1, "Tone", 0, None, 0.9)]) or told
        assert told is not None
        rows.append(captioner._open.rows)
    assert rows[0] == rows[1] > 3


def test_a_status_is_told_as_often_as_asked_and_only_of_live_streams(line: Line) -> None:
    assert not [r for r in line.run(Tape(SCENE)) if isinstance(r, Status)], "a file gives the same records every time"
    tape = Tape(SCENE, paced=True)
    found = []
    for record in line.run(tape):
        tape.acknowledge(record)
        found += [record] if isinstance(record, Status) else []
    assert len(found) == pytest.approx(len(SCENE) / SECOND, abs=2)
    assert set(found[-1].duty) == {"level", "vad", "encoder", "captioner"}
    assert found[-1].duty["level"] == pytest.approx(1.0, abs=0.02)


def test_a_status_is_a_record_of_the_contract() -> None:
    told = as_dict(Status(24_000, 0.1234, 3, 2, {"level": 1.0}, 1_795_996_800_250_000_000))
    figures = {"type": "status", "at": 1.5, "lag": 0.123, "waiting": 3, "shed": 2, "duty": {"level": 1.0}}
    assert told == figures | {"time": "2026-11-30T00:00:00.250Z"}
    assert as_dict(Status(24_000, 0.0, 0, 0, {}, 0, -3_600.0004))["moved"] == -3600.0


def hours(clock: WallClock, begin: int, end: int, wall: Callable[[float], float], seed: int = 1) -> list[float]:
    """Moves told between two seconds of a stream whose chunks of 0.1 s are up to 0.3 s late. wall: Unix seconds at one of the stream."""
    moves, late = [], np.random.default_rng(seed).uniform(0.05, 0.3, 10 * (end - begin))
    for n, late_s in enumerate(late):
        at_s = begin + n / 10
        clock.see(round(at_s * SECOND), round((wall(at_s) + late_s) * 1e9))
        moves += [moved] if (moved := clock.moved_s()) else []
    return moves


def test_a_clock_that_stands_still_under_stress_is_not_told_as_moved() -> None:
    clock = WallClock(1_000 * 10**9)
    assert hours(clock, 0, 3_600, lambda at: 1_000 + at) == []
    stressed = hours(clock, 3_600, 3_625, lambda at: 1_000 + at + (at - 3_600) * 0.4)  # falls ten seconds behind, and catches up
    assert stressed + hours(clock, 3_625, 3_800, lambda at: 1_000 + at) == []
    assert clock.begin_ns == 1_000 * 10**9


@pytest.mark.parametrize("step", [3.0, -3.0, 56 * 365.25 * 86_400, -86_400.0])
@pytest.mark.parametrize("set_at", [2, 9, 1_000])
def test_a_clock_that_is_set_is_told_once_and_soon(step: float, set_at: int) -> None:
    clock = WallClock(1_000 * 10**9)

    def begin(at: float) -> float:
        return 1_000 + at + (step if at >= set_at else 0.0)

    (moved,) = hours(clock, 0, set_at + 31, begin)
    assert moved == pytest.approx(step, abs=0.35)
    assert clock.begin_ns / 1e9 == pytest.approx(1_000 + step, abs=0.35)
    assert hours(clock, set_at + 31, set_at + 900, begin) == []


def test_a_stream_that_begins_with_an_outage_is_as_late_as_usual_and_not_as_its_first_sample() -> None:
    clock = WallClock(1_000 * 10**9)
    clock.see(60 * SECOND, round(1_061.2 * 1e9))  # what a sound server held back at first
    assert hours(clock, 60, 400, lambda at: 1_000 + at) == []


def test_a_sound_card_that_runs_slow_is_followed() -> None:
    clock = WallClock(1_000 * 10**9)
    moves = hours(clock, 0, 86_400 // 4, lambda at: 1_000 + at * (1 + 300e-6))
    assert len(moves) == pytest.approx(86_400 / 4 * 300e-6 / 0.5, abs=2)
    assert clock.begin_ns / 1e9 == pytest.approx(1_000 + 86_400 / 4 * 300e-6, abs=0.6)
