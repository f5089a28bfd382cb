"""Laws of scenes with known truth, on synthetic sources."""

from __future__ import annotations

import numpy as np
import pytest

from edge.types import SAMPLE_RATE
from export.train import synth
from export.train.events import MERGE_S, instances, one
from export.train.labels import COUNTED, STARTER_LABELS, WORDS
from export.train.recordings import Recording
from export.train.scenes import Sources, _raw, draw, render
from export.train.truth import ROW_SAMPLES, ROWS, SCENE_SAMPLES, UNSURE, Lane, mix


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def sources() -> Sources:
    words = [Recording(f"{word}", "Speech", 0, tone(0.4, 200 + 20 * i), word, "tester") for i, word in enumerate(WORDS)]
    return Sources.of(words, [(tone(1.5, 300), False), (tone(1.0, 250), True)])


def full(samples: np.ndarray, start_s: float = 0.0) -> np.ndarray:
    out, at = np.zeros(SCENE_SAMPLES, np.float32), int(start_s * SAMPLE_RATE)
    out[at : at + len(samples)] = samples[: SCENE_SAMPLES - at]
    return out


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_single_events_are_found_where_they_begin(count: int) -> None:
    parts = [part for _ in range(count) for part in (tone(0.12), silence(0.4))]
    found = instances(np.concatenate([silence(0.3), *parts]), 0.14)
    assert [round(start / SAMPLE_RATE, 2) for start, _ in found] == pytest.approx([0.3 + 0.52 * k for k in range(count)], abs=0.011)


def test_a_pause_inside_an_event_does_not_divide_it() -> None:
    crow = np.concatenate([tone(0.3), silence(0.3), tone(0.6)])
    assert len(instances(crow, MERGE_S["Crowing, cock-a-doodle-doo"])) == 1
    assert len(instances(crow, MERGE_S["Knock"])) == 2
    longer = np.concatenate([tone(0.3), silence(MERGE_S["Crowing, cock-a-doodle-doo"] + 0.1), tone(0.6)])
    assert len(instances(longer, MERGE_S["Crowing, cock-a-doodle-doo"])) == 2


def test_steady_noise_below_the_events_is_no_event() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 3 * SAMPLE_RATE).astype(np.float32)
    noise[SAMPLE_RATE : SAMPLE_RATE + 1600] += tone(0.1)
    assert len(instances(noise, 0.14)) == 1


def test_one_event_is_one_event() -> None:
    rng, knocks = np.random.default_rng(2), np.concatenate([part for _ in range(4) for part in (tone(0.05), silence(0.3))])
    for _ in range(10):
        assert len(instances(one(rng, knocks, "Knock"), MERGE_S["Knock"])) == 1


@pytest.mark.parametrize("label", COUNTED)
@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_repeated_sound_has_as_many_onsets_as_it_was_asked_for(label: str, times: int) -> None:
    rng = np.random.default_rng([COUNTED.index(label), times])
    for _ in range(5):
        lane = draw(rng, sources(), label, times)
        assert len(lane.onsets) == times
        assert list(lane.onsets) == sorted(lane.onsets)


def test_truth_stands_where_the_sound_is() -> None:
    lane = Lane("Siren", full(tone(1.0), 2.0), start=2 * SAMPLE_RATE)
    scene = mix(np.random.default_rng(4), [lane])
    column = scene.truth[:, STARTER_LABELS.index("Siren")]
    rows = np.flatnonzero(column == 1)
    assert rows[0] * ROW_SAMPLES <= 2 * SAMPLE_RATE < (rows[0] + 1) * ROW_SAMPLES
    assert abs((rows[-1] + 1) * ROW_SAMPLES - 3 * SAMPLE_RATE) <= ROW_SAMPLES
    assert scene.events[0].label == "Siren"
    assert abs(scene.events[0].start - 2 * SAMPLE_RATE) < ROW_SAMPLES


def test_onsets_are_taught_shortly_behind_where_they_are() -> None:
    at = (8_000, 24_000, 40_000)
    samples = full(np.concatenate([part for _ in at for part in (tone(0.3), silence(0.7))]), 0.5)
    scene = mix(np.random.default_rng(5), [Lane("Bark", samples, tuple(a - 8_000 for a in at), start=8_000)])
    column = scene.onsets[:, COUNTED.index("Bark")]
    taught = [row for row in range(1, ROWS) if column[row] == 1 and column[row - 1] != 1]
    assert taught == [a // ROW_SAMPLES + 2 for a in at]
    assert scene.events[0].count == 3


def test_an_onset_in_the_last_row_is_no_fault() -> None:
    last = SCENE_SAMPLES - 300
    scene = mix(np.random.default_rng(5), [Lane("Knock", full(tone(5.1)), (last - 4 * ROW_SAMPLES, last))])
    assert scene.events[0].count == 2


def test_a_word_is_taught_where_it_ends() -> None:
    lane = Lane("Speech", full(tone(0.4), 1.0), words=(("seven", 0, 6_400),), start=SAMPLE_RATE)
    scene = mix(np.random.default_rng(6), [lane])
    rows = np.flatnonzero(scene.words[:, WORDS.index("seven")] == 1)
    end = (SAMPLE_RATE + 6_400) // ROW_SAMPLES
    assert list(rows) == [end - 2, end - 1, end, end + 1, end + 2]
    assert not (np.delete(scene.words, WORDS.index("seven"), axis=1) == 1).any()
    assert scene.events[0].words == ("seven",)


def test_digits_in_running_speech_are_not_judged() -> None:
    scene = mix(np.random.default_rng(7), [Lane("Speech", full(tone(1.0)), digits_unknown=True)])
    assert (scene.words[:, :10] == UNSURE).all()
    assert (scene.words[:, 10:] == 0).all()


@pytest.mark.parametrize("order", [1, -1])
def test_what_may_be_heard_in_a_sound_is_not_judged_while_it_lasts(order: int) -> None:
    lanes = [Lane("", full(tone(1.0), 1.0), doubtful=("Engine", "Siren")), Lane("Siren", full(tone(0.4, 900), 1.2))]
    truth = mix(np.random.default_rng(9), lanes[::order]).truth
    engine, siren, rain = (truth[:, STARTER_LABELS.index(label)] for label in ("Engine", "Siren", "Rain"))
    rows = slice(SAMPLE_RATE // ROW_SAMPLES + 1, 2 * SAMPLE_RATE // ROW_SAMPLES - 1)
    assert (engine[rows] == UNSURE).all()
    assert set(np.unique(engine)) == {0, UNSURE}
    assert {1, UNSURE} <= set(np.unique(siren[rows]))  # what is there for certain stays so, whichever lane comes first
    assert (rain == 0).all()


def test_a_recorded_background_lies_under_the_scene_and_is_no_noise_to_be_named() -> None:
    hum = Recording("hum", "", 0, tone(3.0, 120), doubtful=("Noise",))
    doubtful = Recording("bar", "", 0, tone(3.0, 500), doubtful=("Noise", "Speech"))
    heard = Sources.of([hum, doubtful, *next(iter(sources().words.values()))], [(tone(1.5, 300), False)])
    assert [len(bed) for bed in heard.beds] == [len(hum.samples)]  # somebody may speak in the other
    noise = STARTER_LABELS.index("Noise")
    bed = mix(np.random.default_rng(3), [], bed=np.resize(hum.samples, SCENE_SAMPLES))
    assert (bed.truth[:, noise] == UNSURE).all()
    assert (mix(np.random.default_rng(3), []).truth[:, noise] == 1).all()
    spectrum = np.abs(np.fft.rfft(bed.samples[:SAMPLE_RATE]))
    assert int(spectrum.argmax()) == 120


def test_a_long_recording_in_pieces_is_drawn_no_more_often_than_a_short_one() -> None:
    """Of three engines one is there in ten pieces: a third of those that are drawn are pieces of it. One has no name."""
    engine = [Recording("long", "Engine", 0, tone(1.0, 100 + k)) for k in range(10)]
    engine += [Recording(name, "Engine", 0, tone(1.0, 90)) for name in ("short", "")]
    plain = Sources.of(engine, [])
    drawn = [r for r in (_raw(np.random.default_rng(k), plain, "Engine") for k in range(1200)) if any(r is e for e in engine)]
    assert 0.25 < sum(r.name == "long" for r in drawn) / len(drawn) < 0.42
    assert 0.25 < sum(r is engine[-1] for r in drawn) / len(drawn) < 0.42
    assert len({id(r) for r in drawn}) == 12


def test_the_louder_event_has_the_higher_level() -> None:
    lanes = [Lane("Siren", full(tone(1.0)) * np.float32(0.1)), Lane("Music", full(tone(1.0), 3.0), start=48_000)]
    quiet, loud = mix(np.random.default_rng(8), lanes).events
    assert loud.dbfs - quiet.dbfs == pytest.approx(20, abs=0.1)


def test_a_scene_is_a_function_of_its_seed() -> None:
    made = [render(np.random.default_rng([1, 7]), sources()) for _ in range(2)]
    assert np.array_equal(made[0].samples, made[1].samples)
    assert made[0].events == made[1].events
    assert not np.array_equal(made[0].samples, render(np.random.default_rng([1, 8]), sources()).samples)


def test_scenes_are_finite_bounded_and_their_truths_have_three_values() -> None:
    for seed in range(40):
        scene = render(np.random.default_rng([2, seed]), sources())
        assert scene.samples.shape == (SCENE_SAMPLES,)
        assert np.isfinite(scene.samples).all()
        assert np.abs(scene.samples).max() <= 1
        for rows in (scene.truth, scene.onsets, scene.words):
            assert set(np.unique(rows)) <= {0, 1, UNSURE}
        assert list(scene.events) == sorted(scene.events, key=lambda e: e.start)


def test_what_lies_above_four_kilohertz_is_taken_away() -> None:
    assert np.abs(synth.narrow(tone(0.5, 6000))[2000:-2000]).max() < 0.02
    assert np.abs(synth.narrow(tone(0.5, 1000))).max() == pytest.approx(0.5, abs=0.05)
