"""Laws of what is fitted on a GPU, on the CPU here: the same log-mels as the runtime's, the teacher's own scores, scenes that come in.

They need the export environment: `make test` runs them there (.venv-export), the runtime's environment skips them.
"""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the export environment (.venv-export)")

from edge import _native
from export.train import carried, rented, starter, synth
from export.train.float_teacher import FloatTeacher, weights_of
from export.train.front_end import LogMel
from export.train.gpu import PART, GpuOptions, Shelf, fit_on_gpu, most_scenes, renderers
from export.train.labels import STARTER_LABELS
from export.train.model import Encoder
from export.train.recordings import Recording
from export.train.scenes import Sources
from export.train.shards import shard_path
from export.train.teacher import Teacher
from export.train.tracking import SOUND_TABLE
from export.train.truth import SCENE_SAMPLES


def test_log_mels_of_a_gpu_are_those_of_the_device() -> None:
    rng = np.random.default_rng(1)
    samples = np.stack([rng.normal(0, 10.0**-k, 16_000) for k in range(1, 6)]).astype(np.float32)
    samples[2] = np.sin(np.arange(16_000) / 3)
    found = LogMel(64, 50.0, 8000.0)(torch.from_numpy(samples)).numpy()
    for row, given in zip(found, samples, strict=True):
        np.testing.assert_allclose(row, _native.log_mel(given, 64, 50.0, 8000.0), rtol=0, atol=1e-4)


def test_the_teacher_in_floats_hears_what_its_file_hears(shared_data: Path) -> None:
    yamnet = shared_data / "yamnet/yamnet.tflite"
    rng = np.random.default_rng(2)
    kinds = ("Bark", "Siren", "Music", "Rain", "Helicopter", "Knock", "Smoke detector, smoke alarm", "Crackle")
    scenes = np.stack([np.resize(synth.SYNTHESISERS[kind](rng), SCENE_SAMPLES) for kind in kinds]).astype(np.float32)
    exact = FloatTeacher(weights_of(yamnet)).scenes(torch.from_numpy(scenes)).numpy()
    file = Teacher(yamnet)
    coarse = np.stack([file.logits(scene) for scene in scenes]).astype(np.float32)
    assert exact.shape == coarse.shape == (len(kinds), 7, 521)
    clear = coarse > -3  # the file's scores are steps of 1/256, so small ones say little
    assert np.corrcoef(exact[clear], coarse[clear])[0, 1] > 0.9
    assert np.median(np.abs(exact - coarse)[clear]) < 0.5


def test_scenes_come_in_and_are_learnt(shared_data: Path) -> None:
    hum = np.sin(np.arange(16_000) / 9).astype(np.float32)
    sources = Sources.of([Recording("hum", "", 0, hum)], [(hum, False)])
    options = GpuOptions(minutes=0.05, batch=4, first_scenes=PART, device="cpu")
    model = Encoder(64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lines: list[str] = []
    with renderers(sources, 1, workers=1) as take:
        shelf = Shelf(2 * PART, FloatTeacher(weights_of(shared_data / "yamnet/yamnet.tflite")), "cpu")
        fit_on_gpu(model, shelf, take, options, lines.append)
    assert PART <= shelf.count <= 2 * PART
    assert "batches of 4" in lines[-1]
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    weight = shelf.rarity()
    assert weight.shape == (len(STARTER_LABELS),)
    assert (weight >= 1).all()
    assert (weight <= 8).all()


def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"device 'cuda:99' cannot be used \(.+\); leave --device out"):
        most_scenes("cuda:99")


@pytest.mark.parametrize(("begin", "rate", "gpu"), [(None, 3e-3, (6, 4e-3)), (Encoder(64), 8e-4, (3, 1e-3))])
def test_the_recipe_hands_numbers_to_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Encoder | None, rate: float, gpu: tuple[int, float]
) -> None:
    """Both ways to fit are long; what they are asked for is not."""
    asked: list[Any] = []
    monkeypatch.setattr(starter, "Encoder", lambda: Encoder(64))
    monkeypatch.setattr(starter, "render_beside", lambda *given: SimpleNamespace(poll=lambda: 0, terminate=lambda: None))
    monkeypatch.setattr(starter, "fit", lambda model, folder, checkpoint, options, *rest: asked.append(options) or [])
    monkeypatch.setattr(starter, "load_shard", lambda path: SimpleNamespace(truth=np.zeros((2, 128, 22), np.uint8)))
    monkeypatch.setattr(starter, "on_gpu", lambda model, options, folds, *given: asked.append(given) or ([], torch.ones(22)))
    for device in ("cpu", "cuda"):
        options = starter.StarterOptions(runs=tmp_path / device, device=device)
        options.runs.mkdir()
        starter.encoder_of(options, "1234", 5, 2, begin)
        assert "rarity" in torch.load(options.runs / "encoder-1234.pt", weights_only=False)
    assert (asked[0].steps, asked[0].rate) == (5, rate)
    assert asked[1] == gpu


def test_what_is_read_goes_on_learning_as_what_was_fitted_just_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norms that are measured once more would differ by dropout. Under a name of its own, nothing of the starter's is read."""
    monkeypatch.setattr(starter, "Encoder", lambda: Encoder(64))
    monkeypatch.setattr(starter, "on_gpu", lambda *given: ([], torch.ones(22)))
    (tmp_path / "encoder-1234.pt").write_text("the starter's")
    options = starter.StarterOptions(runs=tmp_path, device="cuda")
    fitted, read = (starter.encoder_of(options, "1234", 1, 1, Encoder(64), "refined-1", tmp_path) for _ in range(2))
    given = torch.rand(2, 32, 64)
    assert torch.equal(fitted.train()(given).labels, read.train()(given).labels)
    assert (tmp_path / "history-encoder-refined-1.json").is_file()


def test_scenes_that_a_gpu_leaves_unrendered_are_rendered_before_the_language_model_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are rendered beside a fit on the CPU, and no more of them than are heard."""
    made: list[tuple[Any, ...]] = []
    commands: list[list[str]] = []

    def make(folder: Path, *given: Any) -> None:
        made.append((folder, *given))
        folder.mkdir(exist_ok=True)
        for index in given[-1]:
            shard_path(folder, index).touch()

    def fitted(*_: Any) -> None:
        assert made
        raise KeyboardInterrupt

    def heard(_: Encoder, folder: Path, shards: list[int]) -> None:
        assert all(shard_path(folder, index).is_file() for index in shards)
        raise KeyboardInterrupt

    monkeypatch.setattr(starter, "make_shards", make)
    monkeypatch.setattr(starter, "make_tokenizer", lambda *given: None)
    monkeypatch.setattr(starter, "simulated_turns", lambda *given, **more: ())
    monkeypatch.setattr(starter, "Pool", list)
    monkeypatch.setattr(starter, "fit_language", fitted)
    monkeypatch.setattr(starter, "heard_scenes", heard)
    monkeypatch.setattr(subprocess, "Popen", commands.append)
    options = starter.StarterOptions(runs=tmp_path, seed=7, shards=40)
    starter.render_beside(tmp_path / "scenes-123", options, "123", 40)
    folder, data, folds, seed, count = commands[0][3:]
    starter.render(Path(folder), Path(data), folds, int(seed), range(int(count)))
    beside = made.pop()
    for _ in range(2):  # interrupted in the long fitting, then behind it
        with pytest.raises(KeyboardInterrupt):
            starter.speaker_of(options, Encoder(64), SOUND_TABLE)
        (tmp_path / f"speaker-simulated-{starter.mark_of(SOUND_TABLE)}.pt").touch()
    assert [given[:-1] for given in made] == [beside[:-1]] * 2
    assert made[0][-1] == range(24)


def test_a_rented_machine_needs_what_was_carried_to_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    """Each edition draws from its folds and speakers, the second goes on from the first, and the recipe finds both."""
    given: list[tuple[list[str], list[str], float, torch.Tensor]] = []

    def fitted(model: Encoder, sources: Sources, teacher: FloatTeacher, options: GpuOptions) -> tuple[list[dict[str, float]], torch.Tensor]:
        assert teacher(torch.zeros(1, 15_600)).shape == (1, 521)
        clips = [recording.name for recordings in sources.recordings.values() for recording in recordings]
        given.append((clips, list(sources.words), options.rate, model.heads.bias.detach().clone()))
        with torch.no_grad():
            model.heads.bias += 1
        return [{"step": 1.0}], torch.ones(22)

    monkeypatch.setattr(rented, "Encoder", lambda: Encoder(64))
    monkeypatch.setattr(rented, "fit_edition", fitted)
    with pytest.raises(FileNotFoundError, match=r"sources\.json is missing; write it with `auricle-export train sources`"):
        rented.fit(tmp_path, "123", 6.0, "cpu", 1)
    hum = np.sin(np.arange(16_000) / 9).astype(np.float32)
    known = [Recording("first", "Bark", 1, hum), Recording("fourth", "Bark", 4, hum)]
    known += [Recording("", "Speech", 0, hum, "two", who) for who in ("theo", "jackson")]
    carried.save(tmp_path / "made", known, [(hum, False)])
    np.savez_compressed(carried.teacher_file(tmp_path / "made"), **weights_of(shared_data / "yamnet/yamnet.tflite"))
    for folds in rented.EDITIONS:
        rented.fit(tmp_path, folds, 6.0, "cpu", 1)
        rented.fit(tmp_path, folds, 6.0, "cpu", 1)  # what is there stays
    assert [(clips, words, rate) for clips, words, rate, _ in given] == [
        (["first"], ["jackson"], 4e-3),
        (["first", "fourth"], ["theo", "jackson"], 1e-3),
    ]
    assert torch.allclose(given[1][3], given[0][3] + 1)
    monkeypatch.setattr(starter, "Encoder", lambda: Encoder(64))
    found = starter.encoder_of(starter.StarterOptions(runs=tmp_path, device="cuda"), "1234", 1, 1)
    assert torch.allclose(found.heads.bias, given[0][3] + 2)


def test_what_was_not_carried_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "export.train.rented", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"auricle: {tmp_path}/made/sources.json is missing; write it with `auricle-export train sources` where the recordings are"
    )
