"""Laws of voice activity: Silero's own numbers, in whatever pieces, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from silero_reference import GOLDEN, audio

from edge import vad
from edge.errors import BackendError
from edge.vad import CHUNK, Silero


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> np.ndarray:
    samples = audio(shared_data)["jfk"]
    return np.pad(samples, (0, -len(samples) % CHUNK))


def test_the_probabilities_are_those_of_silero_itself(speech: np.ndarray) -> None:
    expected = json.loads(GOLDEN.read_text())["jfk_probabilities"]
    silero = Silero()
    assert [silero.probability(chunk) for chunk in speech.reshape(-1, CHUNK)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("chunks", [2, 7, 64, 344])
def test_many_chunks_at_once_give_what_one_at_a_time_gives(speech: np.ndarray, chunks: int) -> None:
    silero = Silero()
    single = [silero.probability(chunk) for chunk in speech.reshape(-1, CHUNK)]
    silero.reset()
    step = chunks * CHUNK
    many = np.concatenate([silero.probabilities(speech[i : i + step]) for i in range(0, len(speech), step)])
    assert many == pytest.approx(single, abs=1e-5)


def test_reset_forgets_what_was_heard(speech: np.ndarray) -> None:
    silero, fresh = Silero(), Silero()
    silero.probabilities(speech)
    silero.reset()
    assert np.array_equal(silero.probabilities(speech[: 20 * CHUNK]), fresh.probabilities(speech[: 20 * CHUNK]))


def test_silence_and_noise_are_not_speech() -> None:
    assert Silero().probabilities(np.zeros(100 * CHUNK, dtype=np.float32)).max() < 0.3
    white = np.random.default_rng(0).standard_normal(100 * CHUNK).astype(np.float32) * np.float32(0.05)
    assert Silero().probabilities(white).max() < 0.3


@pytest.mark.parametrize("shape", [(0,), (511,), (1, 512)])
def test_a_chunk_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"512 n"):
        Silero().probabilities(np.zeros(shape, dtype=np.float32))


def test_an_installation_without_silero_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vad, "MODEL", tmp_path / "silero.onnx")
    with pytest.raises(BackendError, match=r"silero\.onnx: .* not in this installation; .* silero-vad"):
        Silero()


def test_voice_activity_needs_no_torch_and_prints_nothing() -> None:
    code = (
        "import sys, numpy; from edge.vad import Silero; Silero().probability(numpy.zeros(512, numpy.float32));"
        "assert 'onnxruntime' in sys.modules; assert not {'torch', 'silero_vad'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
