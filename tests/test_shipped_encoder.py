"""The shipped encoder taken back to float: the same scores, still the same when it is made ready to learn further."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the export environment (.venv-export)")
onnx = pytest.importorskip("onnx", reason="onnx is only in the export environment (.venv-export)")

import edge
from edge.bundle import Bundle
from edge.encoder import Encoder as Streamed
from export.evaluate import run
from export.evaluate.ear import Ear
from export.evaluate.figure import share
from export.train import assemble, card, carried, packaged, recordings, refine, starter, thresholds
from export.train.augment import CUT_SHARE, FLOOR, SWELL_SHARE, cut_off, swell
from export.train.evidence import Evidence
from export.train.fit import LEAN_LIFT, lean
from export.train.labels import STARTER_LABELS
from export.train.model import BANDS, Encoder, go_on_from
from export.train.refine import print_thresholds, refine_encoder
from export.train.shards import front_end
from export.train.shipped import speaker_from
from export.train.shipped_encoder import between, encoder_from, solve_teacher, wake
from export.train.starter import StarterOptions
from export.train.teacher import columns
from export.train.tracking import SOUND_TABLE

STARTER = Path(edge.__file__).parent / "bundles" / "starter"


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """Two seconds of chirps over noise, of a whole number of chunks."""
    rng, n = np.random.default_rng(5), 7 * 5120 + 240
    t = np.arange(n) / 16_000
    return (0.2 * np.sin(2 * np.pi * (300 + 900 * t) * t) + rng.normal(0, 0.02, n)).astype(np.float32)


def test_the_encoder_of_the_bundle_comes_back_with_the_scores_of_the_runtime(samples: np.ndarray) -> None:
    with torch.inference_mode():
        scores = torch.sigmoid(encoder_from(STARTER)(torch.from_numpy(front_end(samples))[None]).labels)[0].numpy()
    bundle = Bundle.open(STARTER)
    heard = Streamed(bundle).whole([samples])
    bundle.close()
    assert np.abs(scores[: 7 * 8] - heard.scores[: 7 * 8]).max() < 1e-3


def test_what_is_woken_says_the_same_and_its_norms_fit_what_it_heard(samples: np.ndarray) -> None:
    model = encoder_from(STARTER)
    mels = torch.from_numpy(np.stack([np.resize(np.roll(front_end(samples), 40 * k, axis=0), (512, BANDS)) for k in range(6)]))
    rng = torch.Generator().manual_seed(1)
    said = torch.randn(6, 7, 521, generator=rng) - 5
    with torch.inference_mode():
        before = model(mels)
    wake(model, mels, said)
    with torch.inference_mode():
        after = model(mels)
    for name in ("labels", "onsets", "words"):
        assert torch.allclose(getattr(before, name), getattr(after, name), atol=2e-3), name
    fitted = float((after.teacher[:, 3::2] - said).square().mean())
    assert fitted < 0.9 * float((said - said.mean(dim=(0, 1))).square().mean())
    found: list[float] = []
    norm = model.blocks[0].norm
    norm.register_forward_pre_hook(lambda _, x: found.append(float((x[0].mean(dim=(0, 2, 3)) - norm.running_mean).abs().max())))
    with torch.inference_mode():
        model(mels)
    assert found[0] < 1e-3


def test_a_mean_lies_between_what_was_and_what_was_fitted() -> None:
    begun, fitted = Encoder(), Encoder()
    with torch.no_grad():
        for model, value in ((begun, 1.0), (fitted, 2.0)):
            for weight in model.parameters():
                weight.fill_(value)
            model.blocks[0].norm.running_mean.fill_(value)
    mean = between(begun, fitted, 0.6)
    assert all(torch.allclose(weight, torch.tensor(1.6)) for weight in mean.parameters())
    assert torch.allclose(mean.blocks[0].norm.running_mean, torch.tensor(1.6))
    assert {weight.max().item() for weight in begun.parameters()} == {1.0}
    assert {weight.max().item() for weight in fitted.parameters()} == {2.0}


def test_the_encoder_of_a_bundle_goes_on_before_the_same_language_model(tmp_path: Path, shared_data: Path) -> None:
    """One shard of scenes from a dozen recordings and two batches: another encoder, the same captioner, and it captions still."""
    out = tmp_path / "starter"
    shutil.copytree(STARTER, out)
    known = recordings.esc10(shared_data, [1])[::7]
    spoken = [(r.samples, False) for r in recordings.speech(shared_data)[:3]]
    carried.save(tmp_path / "runs/made", known, spoken)
    refine_encoder(StarterOptions(data=shared_data, runs=tmp_path / "runs", out=out, finish_steps=2, shards=1))
    assert (out / "captioner.q8_0.gguf").read_bytes() == (STARTER / "captioner.q8_0.gguf").read_bytes()
    assert (out / "encoder.int8.onnx").read_bytes() != (STARTER / "encoder.int8.onnx").read_bytes()
    with Ear(out) as ear:
        assert ear.version.endswith("+refined")
        assert any(record["type"] == "caption" for record in ear.listen(known[0].samples))


def test_labels_lean_on_what_the_teachers_head_says_of_them_and_nothing_else_changes() -> None:
    model, names = Encoder(width=32).eval(), [5, 0, *range(100, 120)]
    given = torch.rand(2, 64, BANDS)
    with torch.inference_mode():
        before = model(given)
        after = lean(model, names, 0.25)(given)
    moved = (after.labels - before.labels).unflatten(1, (2, 8)).mean(dim=2)  # the teacher's head hears the mean of a chunk's eight rows
    assert torch.allclose(moved, 0.25 * (before.teacher[:, :, names] + LEAN_LIFT), atol=1e-5)
    for name in ("onsets", "words", "teacher"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name


def test_the_columns_of_the_labels_are_read_from_the_teachers_names(tmp_path: Path, shared_data: Path) -> None:
    found = columns(shared_data / "yamnet")
    assert (len(found), found[0]) == (len(STARTER_LABELS), 0)  # Speech is AudioSet's first
    with pytest.raises(FileNotFoundError, match=r"labels\.txt is missing"):
        columns(tmp_path)


def test_the_teachers_head_is_solved_over_all_batches() -> None:
    model, rng = Encoder(width=24).eval(), torch.Generator().manual_seed(3)
    mels = torch.rand(6, 256, BANDS, generator=rng) * 6 - 10
    with torch.inference_mode():
        wanted = model(mels).teacher[:, 3::2] * 2 + 1  # what a linear head can say
    solve_teacher(model, zip(mels.split(2), wanted.split(2), strict=True))
    with torch.inference_mode():
        off = model(mels).teacher[:, 3::2] - wanted
    assert off.square().mean() < 0.05 * wanted.var()


def test_no_batches_only_let_the_labels_of_a_bundle_lean(tmp_path: Path, shared_data: Path) -> None:
    out = tmp_path / "starter"
    shutil.copytree(STARTER, out)
    spoken = [(r.samples, False) for r in recordings.speech(shared_data)[:3]]
    carried.save(tmp_path / "runs/made", recordings.esc10(shared_data, [1])[::7], spoken)
    refine_encoder(StarterOptions(data=shared_data, runs=tmp_path / "runs", out=out, finish_steps=0, shards=1))
    before, after = encoder_from(STARTER), encoder_from(out)
    labels = len(STARTER_LABELS)
    assert torch.allclose(after.heads.weight[labels:], before.heads.weight[labels:], atol=1e-4)
    assert torch.allclose(after.temporal[5].pointwise.weight, before.temporal[5].pointwise.weight, atol=0.02)
    assert not torch.allclose(after.heads.weight[:labels], before.heads.weight[:labels], atol=0.01)


def test_with_recordings_that_it_has_not_learnt_thresholds_are_chosen_anew(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is chosen is the manifest's table and that of the evidence within the encoder; the rest of the table stays."""
    out, elsewhere = tmp_path / "starter", tmp_path / "elsewhere"
    shutil.copytree(STARTER, out)
    for path in (shared_data / "esc10").glob("*/3-*.ogg"):
        (elsewhere / "esc10" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, elsewhere / "esc10" / path.parent.name / path.name.replace("3-", "6-", 1))
    heard: list[object] = []

    def chosen(streams: object, begin: dict[str, tuple[float, int]], _: object) -> dict[str, tuple[float, int]]:
        heard.append(streams)
        return begin | {"Bark": (0.35, 8)}

    def material(_: Encoder, exam: thresholds.Exam, voices: list[np.ndarray], learnt: list[thresholds.Exam]) -> tuple[object, ...]:
        return exam.data, exam.fold, len(voices), [each.fold for each in learnt]

    monkeypatch.setattr(thresholds, "choose", chosen)
    monkeypatch.setattr(thresholds, "material", material)
    monkeypatch.setattr(packaged, "require", lambda *given: None)
    monkeypatch.setattr(packaged, "voices", lambda: iter([("de", np.zeros(9, np.float32)), ("en", np.zeros(9, np.float32))]))
    within: list[Mapping[str, Any]] = []
    monkeypatch.setattr(assemble, "Evidence", lambda table: within.append(table) or Evidence(table))
    spoken = [(r.samples, False) for r in recordings.speech(shared_data)[:3]]
    carried.save(tmp_path / "runs/made", recordings.esc10(shared_data, [1])[::7], spoken)
    refine_encoder(StarterOptions(data=shared_data, runs=tmp_path / "runs", out=out, finish_steps=0, shards=1, unheard=elsewhere))
    assert heard == [(elsewhere, 6, 1, [1, 2, 3, 4])]
    before, after = (json.loads((folder / "manifest.json").read_text())["sounds"] for folder in (STARTER, out))
    assert within == [after]
    assert after["labels"].pop("Bark") == {"on": 0.35, "off": 0.17, "smooth_rows": 8, "bridge_s": 1.2}
    assert before["labels"].pop("Bark") != {"on": 0.35, "off": 0.17, "smooth_rows": 8, "bridge_s": 1.2}
    assert after == before
    with Ear(out) as ear:
        assert any(record["type"] == "caption" for record in ear.listen(recordings.esc10(shared_data, [1])[0].samples))


@pytest.fixture
def quick(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> StarterOptions:
    """Options for a copy of what ships. Nothing is rendered, heard or fitted; what is packed is the encoder as it was, with its version."""
    out = tmp_path / "starter"
    shutil.copytree(STARTER, out)

    def packed(encoder: Encoder, speaker: object, tokenizer: Path, out: Path, about: dict[str, str], sounds: Mapping[str, Any]) -> None:
        graph = onnx.load(str(out / "encoder.int8.onnx"))
        graph.doc_string += "refined"
        onnx.save(graph, str(out / "encoder.int8.onnx"))
        manifest = json.loads((out / "manifest.json").read_text())
        (out / "manifest.json").write_text(json.dumps(manifest | about | {"sounds": sounds}))

    for name in ("render", "wake", "settle", "scenes_heard", "solve_teacher", "heard_by"):
        monkeypatch.setattr(refine, name, lambda *given: None)
    monkeypatch.setattr(refine, "load_shard", lambda path: SimpleNamespace(mels=np.zeros(1), teacher=np.zeros(1)))
    monkeypatch.setattr(refine, "assemble", packed)
    monkeypatch.setattr(refine, "Pool", list)
    return StarterOptions(data=shared_data, runs=tmp_path / "runs", out=out, turns=32, device="cuda")


def lower_barks(bundle: Path) -> dict[str, Any]:
    """Another threshold than the recipe's in a bundle; returns its table."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["sounds"]["labels"]["Bark"] |= {"on": 0.35, "off": 0.17}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return dict(manifest["sounds"])


def test_a_finished_refinement_is_not_taken_for_the_next_one(quick: StarterOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fitted is read only by the command that it was fitted for: the same beginning, the same options."""
    fitted: list[str] = []
    monkeypatch.setattr(starter, "on_gpu", lambda model, *given: fitted.append("once") or ([], torch.ones(len(STARTER_LABELS))))
    quick.runs.mkdir()
    (quick.runs / "encoder-1234.pt").write_text("the starter's")
    refine_encoder(quick)
    assert Path(quick.out / "manifest.json").read_text() != (STARTER / "manifest.json").read_text()
    refine_encoder(quick)  # goes on from the first
    assert len(fitted) == 2
    assert json.loads((quick.out / "manifest.json").read_text())["version"].count("+refined") == 1
    for seed, times in ((1, 2), (2, 3)):
        shutil.rmtree(quick.out)
        shutil.copytree(STARTER, quick.out)  # as if the first had been interrupted before it packed
        refine_encoder(replace(quick, seed=seed))
        assert len(fitted) == times


def test_a_language_model_goes_on_from_the_bundle_as_it_is_by_then(quick: StarterOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder that was refined in between stays; an interrupted command comes back to its checkpoint, a later one has its own."""
    monkeypatch.setattr(starter, "on_gpu", lambda *given: ([], torch.ones(len(STARTER_LABELS))))
    checkpoints: list[Path] = []
    interrupted = [True, False, False]

    def fit_language(_: object, __: Path, checkpoint: Path, *given: object) -> tuple[object, list[dict[str, float]]]:
        checkpoints.append(checkpoint)
        if interrupted[len(checkpoints) - 1]:
            raise KeyboardInterrupt
        return speaker_from(quick.out), []

    monkeypatch.setattr(refine, "fit_language", fit_language)
    monkeypatch.setattr(refine, "examples", lambda *given: ())
    with pytest.raises(KeyboardInterrupt):
        refine.refine(quick)
    refine.refine(quick)
    refine_encoder(quick)
    lower_barks(quick.out)
    refine.refine(quick)
    assert checkpoints[0] == checkpoints[1] != checkpoints[2]
    assert onnx.load(str(quick.out / "encoder.int8.onnx")).doc_string.endswith("refined")
    assert json.loads((quick.out / "manifest.json").read_text())["sounds"]["labels"]["Bark"]["on"] == 0.35


def test_thresholds_of_a_bundle_stay_and_are_what_is_learnt_and_chosen_from(
    quick: StarterOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, tables, begun = lower_barks(quick.out), [], []
    refine_encoder(replace(quick, finish_steps=0))
    assert json.loads((quick.out / "manifest.json").read_text())["sounds"] == wanted

    def evidence(table: Mapping[str, Any]) -> Evidence:
        tables.append(table)
        return Evidence(table)

    for module in (starter, refine):
        monkeypatch.setattr(module, "Evidence", evidence)
    monkeypatch.setattr(refine, "examples", lambda *given: ())
    monkeypatch.setattr(refine, "fit_language", lambda *given: (speaker_from(STARTER), []))
    refine.refine(quick)
    assert tables == [wanted] * 3
    monkeypatch.setattr(thresholds, "voices", lambda made: [])
    monkeypatch.setattr(thresholds, "exams_of_shipped", lambda *given: (None, []))
    monkeypatch.setattr(thresholds, "material", lambda *given: {})
    monkeypatch.setattr(thresholds, "choose", lambda streams, begin, tell: begun.append(begin) or begin)
    refine_encoder(replace(quick, finish_steps=0, unheard=tmp_path))
    print_thresholds(replace(quick, unheard=tmp_path))
    assert [(table["Bark"], table["Wind"]) for table in begun] == [((0.35, 8), (0.85, 12))] * 2


def test_thresholds_are_not_chosen_without_voices(quick: StarterOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before anything is fitted; and no file is left that later training would take for them."""
    monkeypatch.setattr(packaged, "SHARE", tmp_path)
    monkeypatch.setattr(packaged, "voices", lambda: iter(()))
    monkeypatch.setattr(thresholds, "exams_of_shipped", lambda *given: (None, []))
    monkeypatch.setattr(thresholds, "material", lambda *given: pytest.fail("heard"))
    monkeypatch.setattr(starter, "on_gpu", lambda *given: pytest.fail("fitted"))
    for command in (print_thresholds, refine_encoder):
        with pytest.raises(FileNotFoundError, match=r"apt-get install asterisk-core-sounds-en-wav .* tuxpaint-stamps-default`"):
            command(replace(quick, unheard=tmp_path))
    assert not list(quick.runs.glob("made/*"))


def test_nothing_is_not_kept_as_recordings(tmp_path: Path) -> None:
    path = tmp_path / "voices.npz"
    with pytest.raises(FileNotFoundError, match=r"voices\.npz cannot be made: .* is not installed; run scripts/setup\.sh train"):
        packaged.cached(path, list)
    assert not list(tmp_path.iterdir())
    np.savez(path, sizes=np.zeros(0, int), samples=np.zeros(0, np.int16))  # as they were left before that was refused
    made = [np.full(3, 0.5, np.float32), np.zeros(2, np.float32)]
    for make in (lambda: made, list):
        assert [len(x) for x in packaged.cached(path, make)] == [3, 2]


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    port = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "other", port[:1], port[1:])), tmp_path / "encoder.onnx")
    with pytest.raises(ValueError, match="was not packed by this recipe"):
        encoder_from(tmp_path)


def test_a_share_of_the_scenes_loses_what_lies_above_a_frequency() -> None:
    given = torch.zeros(4000, 8, BANDS) - 2
    cut = cut_off(given, torch.Generator().manual_seed(2))
    touched = (cut != given).flatten(1).any(dim=1)
    assert abs(float(touched.float().mean()) - CUT_SHARE) < 0.03
    assert (cut <= given).all()
    assert (cut >= FLOOR).all()
    lost = (given - cut)[touched][:, 0]
    assert (lost.diff(dim=1) >= 0).all()  # the higher, the more
    assert (lost[:, :16] == 0).all()  # up to 1 kHz nothing


def test_the_level_of_a_share_of_the_scenes_comes_and_goes_slowly_and_of_all_bands_alike() -> None:
    given = torch.zeros(4000, 64, 4) - 2
    heard = swell(given, torch.Generator().manual_seed(2))
    touched = (heard != given).flatten(1).any(dim=1)
    assert abs(float(touched.float().mean()) - SWELL_SHARE) < 0.03
    change = (heard - given)[touched]
    assert (change.diff(dim=2).abs() < 1e-6).all()
    assert change.std() > 0.4
    assert swell(torch.full((50, 64, 4), FLOOR), torch.Generator().manual_seed(2)).min() >= FLOOR


def test_what_goes_on_learning_has_its_weights_and_no_dropout() -> None:
    begun, going = Encoder(width=16), Encoder(width=16)
    go_on_from(going, begun.state_dict())
    assert torch.equal(going.heads.weight, begun.heads.weight)
    given = torch.rand(2, 32, BANDS)
    assert torch.equal(going.train()(given).labels, going(given).labels)  # nothing is drawn


def test_a_bundle_that_is_made_has_thresholds_of_its_own(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen once, for the encoder that never heard the validation; language model and all three bundles go by them."""
    chosen, given = [], []

    def choose(streams: thresholds.Exam, begin: dict[str, tuple[float, int]], tell: object) -> dict[str, tuple[float, int]]:
        chosen.append((streams.fold, streams.speaker, streams.seed))
        return begin | {"Bark": (0.35, 8)}

    monkeypatch.setattr(thresholds, "voices", lambda made: [])
    monkeypatch.setattr(thresholds, "material", lambda encoder, exam, voices, learnt: exam)
    monkeypatch.setattr(thresholds, "choose", choose)
    monkeypatch.setattr(starter, "encoder_of", lambda *given, **more: Encoder())
    monkeypatch.setattr(starter, "speaker_of", lambda options, encoder, sounds: given.append(sounds))
    monkeypatch.setattr(starter, "assemble", lambda *given_, sounds=None: given.append(sounds or given_[6]))
    monkeypatch.setattr(starter, "figures_of", lambda *given: [])
    torch.save({"rarity": torch.ones(len(STARTER_LABELS))}, tmp_path / "encoder-123.pt")
    for _ in range(2):
        starter.train(StarterOptions(data=shared_data, runs=tmp_path, out=tmp_path / "out", threads=1))
    assert chosen == [(4, "theo", thresholds.SEED)]
    assert [table["labels"]["Bark"] for table in given] == [{"on": 0.35, "off": round(0.35 / 2, 2), "smooth_rows": 8, "bridge_s": 1.2}] * 8
    assert given[0]["labels"]["Rain"] == SOUND_TABLE["labels"]["Rain"]


def test_a_bundle_that_is_made_says_which_edition_its_figures_are_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is said of the shipped one, which others have measured elsewhere."""
    figures = {"clips_accuracy": share(77, 80, "real", "ESC-10 fold 4")}
    monkeypatch.setattr(run, "evaluate", lambda options: {"figures": figures})
    rows = starter.figures_of(StarterOptions(data=tmp_path, runs=tmp_path, out=tmp_path), tmp_path, tmp_path)
    assert {row["data"] for row in rows} == {"the edition without fold 4: ESC-10 fold 4"}
    made, shipped = card.text(rows, card.MADE), card.text(rows)
    for words in ("49 recordings", "2.3.0", "sounds an hour", "language model is that of 2.2.0"):
        assert words in shipped
        assert words not in made
    assert "the edition without fold 4, which" in " ".join(made.split())
