"""Laws of AudioFile: any file that libsndfile reads becomes the same 16 kHz samples, or one clear refusal."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from edge.capture import AudioFile
from edge.errors import AudioFileError
from edge.ring import blocks
from edge.types import AudioBlock


def pulled(source: AudioFile, size: int = 512) -> np.ndarray:
    found = [record.samples for record in blocks(source, size) if isinstance(record, AudioBlock)]
    return np.concatenate(found) if found else np.empty(0, np.float32)


def scene(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    mono = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 1234.5 * t + 1) * np.exp(-t)
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "stereo.wav"
    rng = np.random.default_rng(1)
    soundfile.write(path, rng.uniform(-0.9, 0.9, (50_003, 2)), 44_100, subtype="FLOAT")
    return path


@pytest.mark.parametrize("size", [1, 17, 160, 512, 4096])
def test_block_size_does_not_change_the_samples(wav: Path, size: int) -> None:
    assert np.array_equal(pulled(AudioFile(wav), size), pulled(AudioFile(wav), 511))


@pytest.mark.parametrize("rate", [7999, 8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("frames", [1, 5, 1000, 30_001])
def test_length_is_the_duration_rounded_to_a_sample(tmp_path: Path, rate: int, frames: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(frames) + 0.1, rate)
    source = AudioFile(path)
    expected = int(frames * 16_000 / rate + 0.5)
    assert source.duration == expected == len(pulled(source))


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_rate_and_channels_do_not_change_what_is_heard(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, scene(rate, 1.5, channels), rate, subtype="FLOAT")
    heard = pulled(AudioFile(path))[800:-800]  # without the filter's own start and end
    wanted = scene(16_000, 1.5)[800:-800, 0]
    assert np.abs(heard - wanted).max() < 1e-4


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_streaming_equals_resampling_in_one_piece_to_the_last_sample(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "x.wav"
    samples = np.random.default_rng(6).uniform(-0.3, 0.3, 50_021).astype(np.float32)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    assert np.array_equal(pulled(AudioFile(path)), soxr.ResampleStream(rate, 16_000, 1).resample_chunk(samples, last=True))
    assert np.allclose(pulled(AudioFile(path)), soxr.resample(samples, rate, 16_000), atol=1e-6)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    frames = np.stack([np.full(100, value) for value in (0.5, -0.25, 0.75, 0.0)], axis=1)
    soundfile.write(path, frames, 16_000, subtype="FLOAT")
    assert np.array_equal(pulled(AudioFile(path)), np.full(100, 0.25, np.float32))


def test_16_khz_mono_passes_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    samples = np.random.default_rng(2).uniform(-1, 1, 20_000).astype(np.float32)
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    assert np.array_equal(pulled(AudioFile(path)), samples)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "ULAW"),
        ("flac", "PCM_16"),
        ("ogg", "VORBIS"),
        ("ogg", "OPUS"),
        ("mp3", None),
        ("aiff", "PCM_16"),
    ],
)
def test_formats_of_libsndfile_are_read(tmp_path: Path, suffix: str, subtype: str | None) -> None:
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, scene(16_000, 1.0), 16_000, subtype=subtype)
    heard = pulled(AudioFile(path))
    assert len(heard) == 16_000
    assert 0.2 < np.sqrt(np.mean(heard**2)) < 0.4


def test_values_that_are_not_numbers_are_refused_before_anything_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    samples = np.full((44_100, 2), 0.25, np.float32)
    samples[22_050, 1] = np.nan
    samples[30_000] = np.inf
    soundfile.write(path, samples, 44_100, subtype="FLOAT")
    with pytest.raises(AudioFileError, match=r"3 of its values are not numbers \(NaN or infinite\), the first at 0\.500 s"):
        AudioFile(path)


def test_clipping_is_cleaned_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    samples = np.full(44_100, 0.25, np.float32)
    samples[9] = -3.0
    soundfile.write(path, samples, 44_100, subtype="FLOAT")
    source = AudioFile(path)
    heard = pulled(source)
    assert source.cleaned == 1
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1.0


def test_resampling_never_leaves_the_range(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    square = np.sign(np.sin(np.arange(48_000) * 2 * np.pi * 100 / 48_000 + 0.001)).astype(np.float32)
    soundfile.write(path, square, 48_000, subtype="FLOAT")
    source = AudioFile(path)
    assert np.abs(pulled(source)).max() <= 1.0
    assert source.cleaned == 0


def test_a_ring_shorter_than_the_file_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    samples = np.random.default_rng(3).uniform(-1, 1, 100_000).astype(np.float32)
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    assert np.array_equal(pulled(AudioFile(path, ring_seconds=1.0), 700), samples)


def test_real_time_is_kept_and_gives_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, scene(22_050, 0.5), 22_050)
    source = AudioFile(path, realtime=True)
    began_s = time.monotonic()
    early = 0
    found = []
    for record in blocks(source, 160):
        assert isinstance(record, AudioBlock)
        found.append(record.samples)
        early += source.ring.head / 16_000 > time.monotonic() - began_s + 0.001
    assert early == 0
    assert np.array_equal(np.concatenate(found), pulled(AudioFile(path)))


def test_close_ends_the_stream(wav: Path) -> None:
    source = AudioFile(wav)
    stream = blocks(source, 100)
    next(stream)
    source.close()
    source.close()
    rest = list(stream)
    assert source.ended
    assert len(rest) < 50_003


def refusal(path: Path) -> str:
    with pytest.raises(AudioFileError) as caught:
        pulled(AudioFile(path))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert ";" in message
    return message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.wav")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "not a file" in refusal(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "x.wav")


@pytest.mark.parametrize("name", ["notes.txt", "notes.wav", "notes.mp3", "notes.raw"])
def test_text_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is not sound.\n" * 100)
    assert "not sound" in refusal(tmp_path / name)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_zero_seconds_are_refused(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"x.{suffix}", np.zeros(0), 16_000)
    refusal(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "caf", "flac", "ogg", "opus", "mp3"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, scene(16_000, 3.0), 16_000, **({"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refusal(path)


@pytest.mark.parametrize("size_field", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_of_unknown_length_from_a_pipe_is_read(tmp_path: Path, size_field: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, scene(16_000, 1.0), 16_000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size_field.to_bytes(4, "little")
    path.write_bytes(data)
    assert len(pulled(AudioFile(path))) == 16_000


def test_a_flac_damaged_in_the_middle_is_refused_where_it_breaks(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    rng = np.random.default_rng(4)
    soundfile.write(path, rng.uniform(-0.5, 0.5, 160_000), 16_000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = bytes(9000)
    path.write_bytes(data)
    refusal(path)


def test_no_bytes_make_anything_but_sound_or_a_refusal(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    source = tmp_path / "source.wav"
    soundfile.write(source, scene(16_000, 0.2), 16_000)
    good = source.read_bytes()
    path = tmp_path / "fuzzed.wav"
    for _ in range(200):
        data = bytearray(good[: rng.integers(1, len(good) + 1)])
        for at in rng.integers(0, min(len(data), 60), 3):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            heard = pulled(AudioFile(path))
        except AudioFileError:
            continue
        assert np.isfinite(heard).all()
        assert len(heard) == 0 or np.abs(heard).max() <= 1
