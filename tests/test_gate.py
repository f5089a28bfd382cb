"""Laws of the gate: what it says depends on the samples alone, turns tile the time line, and no sound is lost."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import soxr
from silero_reference import GOLDEN, audio

from edge.gate import Gate, GateOptions
from edge.level import CHUNK
from edge.speech import SpeechSpans
from edge.types import SAMPLE_RATE, AudioBlock, Speech, Turn, Vitals
from edge.vad import Silero

SECOND = SAMPLE_RATE
Heard = list[Turn | Speech | Vitals]


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


@pytest.fixture(scope="module")
def voice(shared_data: Path) -> dict[str, np.ndarray]:
    return audio(shared_data)


def listen(
    silero: Silero, samples: np.ndarray, options: GateOptions | None = None, size: int = 512, gaps: tuple[tuple[int, int], ...] = ()
) -> Heard:
    """All that a gate says about `samples`, pushed in blocks of `size`; the samples [start, stop) of each gap are lost on the way."""
    gate, heard, at, lost = Gate(silero, options), [], 0, 0
    for start, stop in (*gaps, (len(samples), len(samples))):
        for i in range(at, start, size):
            heard += gate.push(AudioBlock(i, samples[i : min(i + size, start)], lost))
            lost = 0
        at, lost = stop, stop - start
    return [*heard, *gate.finish()]


def finals(heard: Heard) -> list[Turn]:
    return [turn for turn in heard if isinstance(turn, Turn) and turn.final]


def noise(dbfs: float, seconds: float, exponent: float = 0.0, seed: int = 1) -> np.ndarray:
    """White (exponent 0), pink (1) or brown (2) noise above 20 Hz with an RMS of `dbfs`."""
    n = round(seconds * SECOND)
    hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    shaped = np.fft.irfft(np.where(hz >= 20, spectrum * np.maximum(hz, 20) ** (-exponent / 2), 0), n)
    return (shaped / np.sqrt(np.mean(shaped**2)) * 10 ** (dbfs / 20)).astype(np.float32)


def tone(hz: float, dbfs: float, seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * SECOND)) / SAMPLE_RATE
    return (np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def placed(background: np.ndarray, *sounds: tuple[float, np.ndarray]) -> np.ndarray:
    out = background.copy()
    for at_s, sound in sounds:
        at = round(at_s * SECOND)
        out[at : at + len(sound)] += sound
    return out


def bursts(seed: int, seconds: int = 40) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Sounds of 0.1 to 4 s between pauses of 0.1 to 5 s, on quiet noise; with where they are."""
    rng = np.random.default_rng(seed)
    out, where, at = noise(-75, seconds, seed=seed), [], 0.0
    while (at := at + rng.uniform(0.1, 5)) + (long := rng.uniform(0.1, 4)) < seconds - 1:
        out = placed(out, (at, tone(rng.uniform(200, 4000), rng.uniform(-40, -10), long)))
        where.append((round(at * SECOND), round((at + long) * SECOND)))
        at += long
    return out, where


def check_turns(heard: Heard, options: GateOptions) -> None:
    """What holds for every list of turns, whatever was heard."""
    turns = [turn for turn in heard if isinstance(turn, Turn)]
    ids = sorted({turn.id for turn in turns})
    assert ids == list(range(1, len(ids) + 1))
    assert [turn.id for turn in turns] == sorted(turn.id for turn in turns)
    for number in ids:
        views = [turn for turn in turns if turn.id == number]
        assert [view.final for view in views] == [False] * (len(views) - 1) + [True]
        assert [view.cause == "hop" for view in views] == [not view.final for view in views]
        assert len({(view.start, view.opened_by) for view in views}) == 1
        assert all(a.stop < b.stop for a, b in pairwise(views[:-1]))
        assert all(a.speech <= b.speech for a, b in pairwise(views))
        assert views[-1].stop >= max(view.stop for view in views)
        assert views[-1].stop - views[-1].start <= options.max_turn_s * SECOND
    for a, b in pairwise(finals(heard)):
        assert a.start < a.stop <= b.start
    spoken = [span for span in heard if isinstance(span, Speech)]
    assert all(span.start < span.stop for span in spoken)
    assert all(a.stop <= b.start for a, b in pairwise(spoken))


OPTIONS = [
    GateOptions(),
    GateOptions(max_turn_s=3, hop_s=0.25, hang_over_s=0.5, tail_s=0.0),
    GateOptions(pre_roll_s=0.0, hang_over_s=0.3, tail_s=0.3, max_turn_s=1.5),
    GateOptions(pre_roll_s=2.0, hang_over_s=3.0, tail_s=1.0, hop_s=0.032),
]


@pytest.mark.parametrize("size", [1, 17, 160, 512, 4096])
def test_block_size_does_not_change_what_the_gate_says(silero: Silero, size: int) -> None:
    samples, _ = bursts(3, seconds=15)
    gaps = ((5 * SECOND + 77, 5 * SECOND + 1000), (9 * SECOND, 9 * SECOND + 1))
    assert listen(silero, samples, size=size, gaps=gaps) == listen(silero, samples, size=777, gaps=gaps)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_turns_grow_end_once_and_never_overlap(silero: Silero, seed: int, options: GateOptions) -> None:
    samples, _ = bursts(seed)
    heard = listen(silero, samples, options, gaps=((12 * SECOND + 5, 13 * SECOND),))
    assert len(finals(heard)) > 3
    check_turns(heard, options)


@pytest.mark.parametrize("seed", range(4))
def test_every_sound_lies_in_turns_with_its_pre_roll(silero: Silero, seed: int) -> None:
    samples, where = bursts(seed)
    turns = finals(listen(silero, samples))
    inside = np.zeros(len(samples), dtype=bool)
    for turn in turns:
        inside[turn.start : turn.stop] = True
    for start, stop in where:
        assert inside[start:stop].all()
        assert inside[max(0, start - SECOND // 2 + 512) : start].all()
    stops = [0] + [turn.stop for turn in turns]
    for turn, before in zip(turns, stops, strict=False):
        first = min(start for start, stop in where if stop > turn.start)
        assert turn.start == before or turn.start <= first - SECOND // 2 + 512


def test_a_turn_ends_a_tail_after_its_sound(silero: Silero) -> None:
    samples = placed(noise(-75, 10), (3, tone(800, -20, 2)))
    (turn,) = finals(listen(silero, samples))
    assert turn.cause == "silence"
    assert abs(turn.stop - (5 * SECOND + 4800)) <= 512


def test_hop_views_come_each_half_second(silero: Silero) -> None:
    samples = placed(noise(-75, 10), (3, tone(800, -20, 4)))
    stops = [turn.stop for turn in listen(silero, samples) if isinstance(turn, Turn) and not turn.final]
    assert len(stops) == 9
    assert all(abs(stop - (3 * SECOND + SECOND // 2 * (i + 1))) <= 1024 for i, stop in enumerate(stops[:8]))
    assert abs(stops[8] - (7 * SECOND + 4800)) <= 512  # the ninth comes after the sound: it reaches to the end of the tail


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_looks_come_between_the_hops_and_change_nothing_else(silero: Silero, seed: int) -> None:
    samples, _ = bursts(seed)
    plain = list(Gate(silero, GateOptions()).push(AudioBlock(0, samples, 0)))
    looked = list(Gate(silero, GateOptions(), look_s=0.16).push(AudioBlock(0, samples, 0)))
    assert [event for event in looked if not (isinstance(event, Turn) and event.cause == "look")] == plain
    turns, waited = [event for event in looked if isinstance(event, Turn)], []
    for a, b in pairwise(turns):
        if a.id == b.id:
            assert a.stop <= b.stop
            assert a.stop < b.stop or b.cause != "look", "a look shows what is new"
            waited.append(b.stop - a.stop)
    assert np.percentile(waited, 80) <= 0.16 * SECOND + 512, "and nobody waits longer, but for what comes behind a pause"
    assert not any(turn.final for turn in turns if turn.cause == "look")
    assert sum(turn.cause == "look" for turn in turns) > 2 * sum(turn.cause == "hop" for turn in turns)


def test_a_turn_that_is_too_long_is_cut_and_goes_on_without_a_hole(silero: Silero) -> None:
    options = GateOptions(max_turn_s=3)
    samples = placed(noise(-75, 14), (1, tone(800, -20, 11)))
    turns = finals(listen(silero, samples, options))
    assert [turn.cause for turn in turns] == ["longest"] * 3 + ["silence"]
    assert all(a.stop == b.start and a.stop - a.start == 3 * SECOND for a, b in pairwise(turns))


class Eager:
    """Voice activity that takes everything for speech that is not silent, so that a span is open where a turn is cut."""

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        return np.array([float(np.abs(chunk).max() > 1e-4) for chunk in samples.reshape(-1, 512)], np.float32)

    def reset(self) -> None:
        pass


def test_speech_that_ends_where_a_turn_is_cut_ends_there(silero: Silero) -> None:
    samples = np.concatenate([tone(800, -20, 4.096), np.zeros(30 * SAMPLE_RATE, np.float32), tone(800, -20, 1)])
    heard = listen(cast(Any, Eager()), samples, GateOptions(max_turn_s=2.048))
    spoken = [span for span in heard if isinstance(span, Speech)]
    assert spoken[0].stop < 5 * SAMPLE_RATE, "not after half a minute of silence"
    assert [turn.start // SAMPLE_RATE for turn in finals(heard)] == [0, 2, 4, 33]
    assert finals(heard)[2].stop < 7 * SAMPLE_RATE


def test_a_stream_that_ends_where_a_turn_was_cut_has_no_empty_turn(silero: Silero) -> None:
    options = GateOptions(max_turn_s=2.048)  # 64 chunks, so that the cut falls on the end of a chunk
    heard = listen(silero, tone(800, -20, 4.096), options)
    assert [(turn.start, turn.stop, turn.cause) for turn in finals(heard)] == [(0, 32768, "longest"), (32768, 65536, "longest")]
    check_turns(heard, options)


def test_a_gap_ends_the_turn_and_no_turn_reaches_across_it(silero: Silero) -> None:
    samples = placed(noise(-75, 10), (2, tone(800, -20, 4)))
    gap = (3 * SECOND + 333, 4 * SECOND)
    before, after = finals(listen(silero, samples, gaps=(gap,)))
    assert (before.cause, before.stop) == ("gap", gap[0])
    assert (after.cause, after.start) == ("silence", gap[1])


@pytest.mark.parametrize("lost", [0, 1000])
def test_an_interruption_ends_the_turn_at_once(silero: Silero, lost: int) -> None:
    samples, at = placed(noise(-75, 10), (2, tone(800, -20, 4))), 3 * SECOND + 333
    gate = Gate(silero)
    heard = [*gate.push(AudioBlock(0, samples[:at])), *gate.interrupt()]
    assert finals(heard) == [Turn(1, finals(heard)[0].start, at, True, "gap", "sound")]
    assert list(gate.interrupt()) == []
    heard += [*gate.push(AudioBlock(at + lost, samples[at + lost :], lost)), *gate.finish()]
    assert finals(heard)[1].start == at + lost
    check_turns(heard, GateOptions())
    if lost:
        assert heard == listen(silero, samples, gaps=((at, at + lost),))


def test_a_span_of_speech_ends_at_a_gap(silero: Silero, voice: dict[str, np.ndarray]) -> None:
    heard = listen(silero, voice["jfk"], gaps=((SECOND, SECOND + 160),))
    spans = [span for span in heard if isinstance(span, Speech)]
    assert spans[0].stop == SECOND
    assert spans[1].start >= SECOND + 160


def test_the_end_of_the_stream_ends_the_turn(silero: Silero) -> None:
    samples = placed(noise(-75, 5.01), (4, tone(800, -20, 1.01)))
    (turn,) = finals(listen(silero, samples))
    assert (turn.cause, turn.stop) == ("end", len(samples))


@pytest.mark.parametrize("exponent", [0, 1, 2])
@pytest.mark.parametrize("dbfs", [-60, -50, -40, -30, -20])
def test_steady_noise_closes_the_gate(silero: Silero, exponent: float, dbfs: float) -> None:
    gate, samples = Gate(silero), noise(dbfs, 60, exponent)
    heard = list(gate.push(AudioBlock(0, samples)))
    assert all(turn.stop <= 14 * SECOND and turn.opened_by == "sound" and not turn.speech for turn in finals(heard))
    assert [vitals.gate for vitals in heard if isinstance(vitals, Vitals)][-1] is None
    assert gate.meters["vad"].samples < 0.5 * len(samples)


@pytest.mark.parametrize("dbfs", [-45, -20])
def test_a_steady_sound_from_the_very_first_sample_is_kept_for_ten_seconds(silero: Silero, dbfs: float) -> None:
    rain = noise(dbfs, 30, exponent=0.5)
    turn = finals(listen(silero, rain))[0]
    assert turn.start == 0
    assert 10 * SECOND <= turn.stop <= 14 * SECOND
    assert finals(listen(silero, rain[: 5 * SECOND])) == [Turn(1, 0, 5 * SECOND, True, "end", "sound", False)]


@pytest.mark.parametrize("dbfs", [-50, -30])
def test_an_alarm_in_steady_noise_opens_the_gate(silero: Silero, dbfs: float) -> None:
    beeps = [(20 + cycle * 4 + beep, tone(3100, dbfs - 3, 0.5)) for cycle in range(3) for beep in range(3)]
    turns = finals(listen(silero, placed(noise(dbfs, 35, exponent=1), *beeps)))
    assert turns[0].stop <= 14 * SECOND
    late = [turn for turn in turns if turn.start > 14 * SECOND]
    assert 19.4 * SECOND < late[0].start <= 19.6 * SECOND
    assert late[-1].stop > 30.5 * SECOND
    assert {turn.opened_by for turn in late} == {"sound"}
    assert not any(turn.speech for turn in late)


@pytest.mark.parametrize("at", [20.0, 20.01, 20.02])
def test_a_single_knock_opens_the_gate(silero: Silero, at: float) -> None:
    knock = noise(-10, 0.015, seed=9) * np.exp(-np.arange(240) / 80).astype(np.float32)
    turns = finals(listen(silero, placed(noise(-45, 25), (at, knock))))
    assert any(turn.start <= (at - 0.45) * SECOND and turn.stop > at * SECOND + 240 for turn in turns)


def test_a_soft_onset_is_not_clipped(silero: Silero) -> None:
    fade_db = np.linspace(-90, -20, 4 * SECOND)
    swell = (tone(600, 0, 4) * 10 ** (fade_db / 20)).astype(np.float32)
    (turn,) = finals(listen(silero, placed(noise(-80, 10), (3, swell))))
    heard_from = 3 * SECOND + int(np.argmax(fade_db > -60))
    assert turn.start <= heard_from - SECOND // 2 + 512


def test_the_ticks_of_a_clock_are_one_turn(silero: Silero) -> None:
    ticks = [(2 + i, tone(2500, -25, 0.03)) for i in range(8)]
    assert len(finals(listen(silero, placed(noise(-75, 14), *ticks)))) == 1


def test_silence_opens_nothing_and_does_not_ask_voice_activity(silero: Silero) -> None:
    gate = Gate(silero)
    heard = [*gate.push(AudioBlock(0, noise(-70, 30))), *gate.push(AudioBlock(30 * SECOND, np.zeros(SECOND, np.float32))), *gate.finish()]
    assert all(isinstance(record, Vitals) for record in heard)
    assert gate.meters["vad"].samples == 0
    assert gate.meters["level"].samples == 31 * SECOND
    assert len(heard) == pytest.approx(310, abs=20)


def golden() -> list[Any]:
    """Behind a silence that voice activity never heard (8 s), equality is promised for the standard options only."""
    return [case for case in json.loads(GOLDEN.read_text())["cases"] if "8 s" not in case["audio"] or not case["options"]]


@pytest.mark.parametrize("reference", ["iterator", "timestamps"])
@pytest.mark.parametrize("case", golden(), ids=lambda case: f"{case['audio']} {case['options'] or 'standard'}")
def test_spans_of_speech_are_those_of_silero_itself(
    silero: Silero, voice: dict[str, np.ndarray], case: dict[str, Any], reference: str
) -> None:
    options = GateOptions(**case["options"] | ({"min_speech_ms": 0} if reference == "iterator" else {}))
    samples = voice[case["audio"]]
    spans = [(span.start, span.stop) for span in listen(silero, samples, options) if isinstance(span, Speech)]
    expected = [(start, len(samples) if stop is None else stop) for start, stop in case[reference]]
    assert len(spans) == len(expected)
    assert np.abs(np.array(spans) - np.array(expected)).max() <= 512


def test_speech_says_so_and_lies_in_turns(silero: Silero, voice: dict[str, np.ndarray]) -> None:
    for name in ("jfk", "12 characters, pauses of 2 s"):
        heard = listen(silero, voice[name])
        check_turns(heard, GateOptions())
        turns = finals(heard)
        assert {turn.opened_by for turn in turns if turn.speech} == {"speech"}
        for span in (record for record in heard if isinstance(record, Speech)):
            assert any(turn.speech and turn.start <= span.start and span.stop <= turn.stop for turn in turns)


def test_what_opened_the_gate_stays_when_speech_follows(silero: Silero, voice: dict[str, np.ndarray]) -> None:
    samples = np.concatenate([noise(-75, 3), tone(900, -25, 2), voice["jfk"]])
    views = [record for record in listen(silero, samples) if isinstance(record, Turn)]
    assert {view.opened_by for view in views} == {"sound"}
    assert (views[0].speech, views[-1].speech) == (False, True)
    check_turns(list(views), GateOptions())


def test_every_recording_of_esc10_opens_the_gate(silero: Silero, shared_data: Path) -> None:
    clips = sorted((shared_data / "esc10").glob("*/*.ogg"))
    assert len(clips) == 320
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float32")
        heard = listen(silero, soxr.resample(samples, rate, SAMPLE_RATE), size=4096)
        assert finals(heard), clip.name
        check_turns(heard, GateOptions())


def test_blocks_must_follow_each_other(silero: Silero) -> None:
    gate = Gate(silero)
    gate.push(AudioBlock(100, np.zeros(50, np.float32)))
    with pytest.raises(ValueError, match="cannot follow sample 150"):
        gate.push(AudioBlock(160, np.zeros(50, np.float32)))
    with pytest.raises(ValueError, match="cannot follow sample 150"):
        gate.push(AudioBlock(140, np.zeros(50, np.float32), gap=10))
    gate.push(AudioBlock(160, np.zeros(50, np.float32), gap=10))
    list(gate.finish())
    assert list(gate.finish()) == []
    with pytest.raises(ValueError, match="finished"):
        gate.push(AudioBlock(210, np.zeros(50, np.float32)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"neg_threshold": 0.6},
        {"min_speech_ms": -1},
        {"hop_s": 0.0},
        {"max_turn_s": 1.0},
        {"hang_over_s": 0.1},
        {"click_db": 1.0},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        GateOptions(**wrong)


@pytest.mark.parametrize("seed", range(200))
def test_spans_follow_each_other_and_never_reach_beyond_what_was_heard(seed: int) -> None:
    """With paddings longer than the pauses, and cuts, too."""
    rng = np.random.default_rng(seed)
    spans = SpeechSpans(0.5, 0.35, *(int(ms) for ms in rng.integers(0, (300, 300, 900))))
    last, probability = 0, 0.9
    for at in range(0, 300 * CHUNK, CHUNK):
        probability = rng.random() if rng.random() < 0.15 else probability
        cut = rng.random() < 0.03
        if (span := spans.cut(at) if cut else spans.update(at, probability)) is not None:
            assert last <= span.start < span.stop <= (at if cut else at + CHUNK)
            last = span.stop
