"""Laws of the synthetic sounds that the starter is taught, and of the demo scene made from them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SCENE = ROOT / "edge" / "data" / "demo_scene.flac"
NAMED = (
    *("Smoke detector, smoke alarm", "Siren", "Doorbell", "Telephone", "Vehicle horn, car horn, honking", "Knock", "Beep, bleep", "Engine"),
    *("Music", "Wind", "Noise", "Rain", "Waves, surf", "Crackle", "Tick-tock", "Helicopter", "Chainsaw", "Bark", "Baby cry, infant cry"),
    *("Sneeze", "Crowing, cock-a-doodle-doo"),
)
UNNAMED = (
    *("click", "glass", "footsteps", "typing", "whistle", "bird", "cat", "clap", "water", "vacuum"),
    *("cough", "laugh-ish", "rustle", "thump", "whoosh"),
)


@pytest.fixture(scope="module")
def synth() -> ModuleType:
    pytest.importorskip("scipy", reason="scipy, from the extra `export`, is not installed")
    from export.train import synth

    return synth


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def on_and_off(x: np.ndarray) -> tuple[list[float], list[float]]:
    """Lengths in seconds of the sounding stretches and of the silences between them, from 10 ms rms at -20 dB of the loudest."""
    rms = np.sqrt(np.mean(x[: len(x) // 160 * 160].reshape(-1, 160) ** 2, axis=1))
    loud = np.concatenate([[False], rms > 0.1 * rms.max(), [False]])
    edges = np.flatnonzero(np.diff(loud.astype(int))).reshape(-1, 2) * 0.01
    return list(edges[:, 1] - edges[:, 0]), list(edges[1:, 0] - edges[:-1, 1])


def test_every_kind_of_sound_has_a_synthesiser(synth: ModuleType) -> None:
    assert set(synth.SYNTHESISERS) == set(NAMED) | {f"other:{name}" for name in UNNAMED}


@pytest.mark.parametrize("name", [*NAMED, *(f"other:{name}" for name in UNNAMED)])
def test_an_event_is_finite_float32_with_one_peak_level(synth: ModuleType, name: str) -> None:
    for seed in range(3):
        x = synth.SYNTHESISERS[name](seeded(seed))
        assert x.dtype == np.float32
        assert x.ndim == 1
        assert 0.2 <= len(x) / synth.RATE <= 6.5
        assert np.isfinite(x).all()
        assert np.abs(x).max() == pytest.approx(synth.PEAK, abs=1e-3)
        assert np.sqrt(np.mean(x * x)) > 1e-3, "almost nothing but silence"


@pytest.mark.parametrize("name", [*NAMED, *(f"other:{name}" for name in UNNAMED)])
def test_the_seed_decides_the_event(synth: ModuleType, name: str) -> None:
    make = synth.SYNTHESISERS[name]
    assert np.array_equal(make(seeded(5)), make(seeded(5)))
    other = make(seeded(6))
    assert not np.array_equal(make(seeded(5))[: len(other)], other[: len(make(seeded(5)))])


@pytest.mark.parametrize("seed", range(8))
def test_the_smoke_alarm_keeps_the_temporal_three_of_iso_8201(synth: ModuleType, seed: int) -> None:
    from export.train.synth_signals import smoke_alarm

    on, off = on_and_off(smoke_alarm(seeded(seed), "t3", dry=True))
    assert len(on) >= 3
    assert on == pytest.approx([0.5] * len(on), abs=0.025)
    assert off == pytest.approx(([0.5, 0.5, 1.5] * 2)[: len(off)], abs=0.025)


def test_the_smoke_alarm_sounds_near_520_or_3100_hz(synth: ModuleType) -> None:
    from export.train.synth_signals import smoke_alarm

    pitches = []
    for seed in range(24):
        x = smoke_alarm(seeded(seed), "t3", dry=True)[:8_000]
        pitches.append(float(np.argmax(np.abs(np.fft.rfft(x * np.hanning(len(x))))) * 16_000 / len(x)))
    low = [p for p in pitches if p < 1_000]
    assert 0 < len(low) < len(pitches)
    assert all(495 <= p <= 550 for p in low)
    assert all(2_650 <= p <= 3_750 for p in pitches if p >= 1_000)


def test_noise_has_the_slope_of_its_colour(synth: ModuleType) -> None:
    for colour, octave_db in (("white", 0.0), ("pink", -3.01), ("brown", -6.02), ("blue", 3.01), ("violet", 6.02)):
        x = synth.noise(seeded(1), 160_000, colour)
        power = np.abs(np.fft.rfft(x)) ** 2
        bands = [10 * np.log10(power[10 * f : 20 * f].mean()) for f in (250, 500, 1_000, 2_000)]  # bins are 0.1 Hz apart
        assert np.polyfit(range(4), bands, 1)[0] == pytest.approx(octave_db, abs=0.3)
        assert x.std() == pytest.approx(1.0, abs=0.02)


def test_place_and_speed_keep_the_peak_and_change_the_sound(synth: ModuleType) -> None:
    x = synth.SYNTHESISERS["Knock"](seeded(3))
    for change in (synth.room, synth.colour):
        y = change(seeded(4), x)
        assert y.dtype == np.float32
        assert len(y) >= len(x)
        assert np.abs(y).max() == pytest.approx(np.abs(x).max(), rel=1e-3)
        assert not np.allclose(y[: len(x)], x)
    for seed in range(10):
        y = synth.warp(seeded(seed), x)
        assert y.dtype == np.float32
        assert 0.79 < len(x) / len(y) < 1.26


def test_the_demo_scene_sounds_where_its_truth_says_and_is_quiet_between() -> None:
    x, rate = soundfile.read(SCENE, dtype="float32")
    truth = json.loads(SCENE.with_suffix(".json").read_text(encoding="utf-8"))
    assert (rate, x.ndim) == (16_000, 1)
    assert SCENE.stat().st_size <= 600_000
    assert [event["label"] for event in truth] == [
        *("Speech", "Knock", "Doorbell", "Speech", "Telephone", "Smoke detector, smoke alarm", "Vehicle horn, car horn, honking")
    ]
    quiet_from = 0
    for event in [*truth, {"start": len(x) / rate, "end": len(x) / rate}]:
        start, stop = round(event["start"] * rate), round(event["end"] * rate)
        assert start - quiet_from > 1.5 * rate
        assert 20 * np.log10(x[quiet_from:start].std()) == pytest.approx(-65, abs=1)
        if stop > start:
            assert 20 * np.log10(np.abs(x[start:stop]).max()) > -12
        quiet_from = stop


def test_the_demo_scene_is_what_its_script_makes(synth: ModuleType) -> None:
    """Its synthesised events sample for sample; the spoken ones depend on the edition of espeak-ng and are not compared."""
    from export.train import demo_scene

    x, rate = soundfile.read(SCENE, dtype="float32")
    truth = json.loads(SCENE.with_suffix(".json").read_text(encoding="utf-8"))
    made = [demo_scene.trimmed(event) for event in demo_scene.sounds().values()]
    heard = [x[round(e["start"] * rate) :][: len(m)] for e, m in zip([e for e in truth if e["label"] != "Speech"], made, strict=True)]
    for m, h in zip(made, heard, strict=True):
        assert np.abs(h - m).max() < 0.01


def test_a_missing_speech_synthesiser_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edge.errors import BackendError
    from export.train.speech import bank, speak

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"espeak-ng is needed .* not installed: run `apt-get install espeak-ng`"):
        speak("Hello")
    with pytest.raises(BackendError, match=r"apt-get install (espeak-ng|flite)"):
        bank(1, 2, tmp_path)
    assert not list(tmp_path.iterdir()), "nothing half made is left"
    with pytest.raises(ValueError, match="engine must be"):
        speak("Hello", engine="festival")
    with pytest.raises(ValueError, match="voice must be one of"):
        speak("Hello", "nobody", engine="flite")


def test_a_bank_of_speech_is_made_once_and_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With stand-ins for the two programs, which are not installed everywhere: they write one second of a tone."""
    from export.train.speech import bank

    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(22_050) / 22_050)
    soundfile.write(tmp_path / "tone.wav", tone, 22_050, subtype="PCM_16")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, option in (("espeak-ng", "-w"), ("flite", "-o")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nwhile [ "$1" != {option} ]; do shift; done\n/bin/cat {tmp_path}/tone.wav > "$2"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    made = bank(7, 5, tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))  # the second time no program is there
    again = bank(7, 5, tmp_path / "cache")
    assert len(made) == 5
    for a, b in zip(made, again, strict=True):
        assert a.dtype == np.float32
        assert 0.5 <= len(a) / 16_000 <= 5
        assert np.abs(a).max() == pytest.approx(0.5, abs=1e-3)
        assert np.array_equal(a, b)
