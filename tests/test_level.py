"""Laws of the level: what a chunk measures, and how the floor moves."""

from __future__ import annotations

import numpy as np
import pytest

from edge.level import CHUNK, SILENCE_DBFS, Level
from edge.types import SAMPLE_RATE

BLOCKS_12_S = 47  # of 8 chunks: the window of 12 s, rounded up


def sine(hz: float, dbfs: float, chunks: int) -> np.ndarray:
    t = np.arange(chunks * CHUNK) / SAMPLE_RATE
    return (np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def noise(dbfs: float, chunks: int, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(chunks * CHUNK) * 10 ** (dbfs / 20)).astype(np.float32)


def measured(level: Level, samples: np.ndarray) -> list[float]:
    levels = []
    for chunk in samples.reshape(-1, CHUNK):
        level.measure(chunk)
        levels.append(level.level_dbfs)
    return levels


def audible(level: Level, samples: np.ndarray) -> list[bool]:
    found = []
    for chunk in samples.reshape(-1, CHUNK):
        level.measure(chunk)
        found.append(level.audible)
    return found


@pytest.mark.parametrize("dbfs", [-3.0103, -20.0, -50.0])
def test_a_sine_measures_its_rms(dbfs: float) -> None:
    assert measured(Level(), sine(1000, dbfs, 20)) == pytest.approx([dbfs] * 20, abs=0.1)


def test_dc_and_rumble_are_not_heard_and_hide_nothing() -> None:
    steady = np.full(CHUNK, 0.5, dtype=np.float32)
    assert measured(Level(), steady)[0] < -100
    assert max(measured(Level(), sine(10, -20, 60))) < -35
    assert max(measured(Level(), sine(25, -30, 60))) < -36
    whistle = sine(2000, -40, 20)
    assert measured(Level(), whistle + np.tile(steady, 20)) == pytest.approx([-40] * 20, abs=0.1)


def test_a_helicopters_blades_are_heard() -> None:
    assert min(measured(Level(), sine(100, -30, 60))) > -33


def test_silence_and_broken_samples_measure_silence() -> None:
    assert measured(Level(), np.zeros(CHUNK, dtype=np.float32)) == [SILENCE_DBFS]
    assert measured(Level(), np.full(CHUNK, np.nan, dtype=np.float32)) == [SILENCE_DBFS]


@pytest.mark.parametrize("dbfs", [-55.0, -20.0])
def test_a_steady_sound_is_audible_for_twelve_seconds_and_then_is_the_floor(dbfs: float) -> None:
    level = Level()
    assert all(audible(level, noise(dbfs, BLOCKS_12_S * 8)))
    assert not any(audible(level, noise(dbfs, 400, seed=2)))
    assert level.floor_dbfs == pytest.approx(dbfs, abs=0.5)


def test_nothing_below_the_minimum_is_audible() -> None:
    assert not any(audible(Level(), noise(-62, 100)))
    assert all(audible(Level(minimum_dbfs=-70), noise(-62, 100)))


@pytest.mark.parametrize(("hz", "below_db"), [(200, 8), (1000, 6), (3100, 3), (7000, 0)])
def test_a_tone_is_audible_in_white_noise_that_is_louder(hz: float, below_db: float) -> None:
    level = Level()
    assert not any(audible(level, noise(-30, 800))[-400:])
    assert all(audible(level, noise(-30, 30, seed=2) + sine(hz, -30 - below_db, 30))[1:])


def test_a_click_is_one_chunk_far_above_the_floor() -> None:
    level = Level()
    measured(level, noise(-50, 800))
    level.measure(noise(-41, 1))
    assert not level.click
    level.measure(noise(-50, 1))
    assert not level.audible
    level.measure(noise(-39, 1))
    assert (level.audible, level.click) == (True, True)


def test_the_floor_falls_within_half_a_second() -> None:
    level = Level()
    measured(level, noise(-20, 800))
    assert level.floor_dbfs == pytest.approx(-20, abs=0.5)
    measured(level, noise(-50, 17))
    assert level.floor_dbfs == pytest.approx(-50, abs=0.5)


def test_a_pause_makes_a_steady_sound_a_sound_again() -> None:
    level = Level()
    measured(level, noise(-30, 800))
    assert audible(level, noise(-30, 1)) == [False]
    measured(level, noise(-60, 20))
    assert audible(level, noise(-30, 1)) == [True]


def test_the_floor_is_the_least_mean_power_of_the_last_twelve_seconds() -> None:
    rng = np.random.default_rng(5)
    loud = np.repeat(rng.uniform(-60, -10, 150), 8)
    level, levels = Level(), []
    for dbfs, chunk in zip(loud, noise(0, len(loud)).reshape(-1, CHUNK), strict=True):
        levels += measured(level, (chunk * 10 ** (dbfs / 20)).astype(np.float32))
        blocks = (10 ** (np.array(levels[: (len(levels) - 1) // 8 * 8]) / 10)).reshape(-1, 8).mean(axis=1)[-BLOCKS_12_S:]
        expected = 10 * np.log10(blocks.min()) if len(blocks) == BLOCKS_12_S else SILENCE_DBFS
        assert level.floor_dbfs == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"margin_db": 0}, {"click_db": 5}, {"window_s": 0}, {"minimum_dbfs": 3}, {"minimum_dbfs": -130}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        Level(**wrong)
