"""Laws of what is trained and how it leaves torch: the same numbers in ONNX, in GGUF and in the runtime's own tracker.

They need the export environment: `make test` runs them there (.venv-export), the runtime's environment skips them.
"""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the export environment (.venv-export)")

import onnx

import edge
from edge.backends.llama import LlamaModel
from edge.backends.onnx import OnnxModel
from edge.encoder import next_name
from edge.sounds import SoundTracker
from edge.types import Encoding
from export.quantize import quantize_weights
from export.to_gguf import write_llama
from export.to_onnx import as_images, export_streaming, fold_norms
from export.train.augment import DB, GROUPS, augment, mix
from export.train.decoder import DecoderShape, Projector
from export.train.evidence import ROWS, WIDTH, Evidence, Told, columns
from export.train.fit import FitOptions, fit, losses, rarity
from export.train.fit_language import LanguageOptions, Pool, Speaker, collate, exactness, fit_language, loss_of, pairs
from export.train.labels import COUNTED, STARTER_LABELS, WORDS
from export.train.language import ANSWER, FINAL, PHRASES, QUESTION, SPECIAL, Fact, describe, train_tokenizer
from export.train.model import BANDS, CHUNK_FRAMES, Encoder
from export.train.nouns import NOUNS
from export.train.probes import IGNORED, asked_of, mentions, token_weights
from export.train.progress import draw_progress
from export.train.shards import SHARD_SCENES, Shard, shard_path
from export.train.shipped import heard_by, speaker_from, tokenizer_from, with_speaker
from export.train.shipped_encoder import encoder_from
from export.train.timelines import Example, examples, facts, simulated
from export.train.tracking import SOUND_OPTIONS, SOUND_TABLE
from export.train.truth import UNSURE


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(3)
    model = Encoder()
    for part in model.modules():  # as if it had been trained: no statistic is 0 or 1
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    words = list(PHRASES.values())
    texts = [f"{a[0].upper()}{a[1:]}, then {b} while {a} again." for a in words for b in words]
    texts += [f"At {n * 1111} s, it's {n}:30..." for n in range(1, 10)] * 20  # what splitters disagree about becomes tokens
    train_tokenizer([*texts, "Was there a siren? How many times did the dog bark? A: rain. B: the sea."], path)
    return path


def mels(seed: int, chunks: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(-6, 3, (1, chunks * CHUNK_FRAMES, BANDS)).astype(np.float32)


def shelf(folder: Path, count: int = 1) -> None:
    """Shards of random scenes."""
    folder.mkdir()
    for index in range(count):
        rng = np.random.default_rng(index)
        sizes = dict(zip(("truth", "onsets", "words"), GROUPS, strict=True))
        held = {name: (rng.random((SHARD_SCENES, 128, size)) < 0.02).astype(np.uint8) for name, size in sizes.items()}
        held |= {
            "mels": rng.normal(-6, 3, (SHARD_SCENES, 512, 64)).astype(np.float16),
            "teacher": np.zeros((SHARD_SCENES, 7, 521), np.float16),
        }
        np.savez(shard_path(folder, index), **{name: held[name] for name in Shard.__slots__})


def test_the_onnx_encoder_streams_what_torch_computes_at_once(encoder: Encoder, tmp_path: Path) -> None:
    evidence, projector = Evidence(SOUND_TABLE), Projector(256).eval()
    path = tmp_path / "encoder.onnx"
    export_streaming(encoder, evidence, projector, path)
    given, model = mels(1, 6), OnnxModel(path)
    with torch.inference_mode():
        heard = encoder(torch.from_numpy(given))
        rows, _ = evidence(heard.labels, heard.onsets, heard.words, torch.from_numpy(given), evidence.state(1))
        wanted = torch.sigmoid(heard.labels)[0].numpy(), projector(rows)[0].numpy()
    state = {name: np.zeros(shape, np.float32) for name, (_, shape) in model.inputs.items() if name != "mels"}
    scores, vectors = [], []
    for k in range(6):
        found = model.run({"mels": np.ascontiguousarray(given[:, k * CHUNK_FRAMES : (k + 1) * CHUNK_FRAMES]), **state})
        state = {name: found[next_name(name)] for name in state}
        scores.append(found["scores"][0])
        vectors.append(found["vectors"][0])
    assert np.abs(np.concatenate(scores) - wanted[0]).max() < 1e-5
    assert np.abs(np.concatenate(vectors) - wanted[1]).max() < 1e-4


def test_convolutions_over_time_are_images_of_one_row_and_say_the_same(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch exports them and with weights in 8 bits; what comes out of a bundle again are the weights that went in."""
    projector = Projector(256).eval()
    export_streaming(encoder, Evidence(SOUND_TABLE), projector, tmp_path / "images.onnx")
    monkeypatch.setattr("export.to_onnx.as_images", lambda model: None)
    export_streaming(encoder, Evidence(SOUND_TABLE), projector, tmp_path / "rows.onnx")
    quantize_weights(tmp_path / "rows.onnx", tmp_path / "small.onnx")
    small = onnx.load(str(tmp_path / "small.onnx"))
    as_images(small)
    onnx.save(small, str(tmp_path / "small-images.onnx"))
    for plain, images in (("rows.onnx", "images.onnx"), ("small.onnx", "small-images.onnx")):
        graph = onnx.load(str(tmp_path / images)).graph
        shapes = [list(a.ints) for n in graph.node if n.op_type == "Conv" for a in n.attribute if a.name == "dilations"]
        assert all(len(shape) == 2 for shape in shapes)
        assert [1, 16] in shapes
        models = OnnxModel(tmp_path / plain), OnnxModel(tmp_path / images)
        states: list[dict[str, np.ndarray]] = [
            {name: np.zeros(shape, np.float32) for name, (_, shape) in model.inputs.items() if name != "mels"} for model in models
        ]
        given = mels(1, 4)
        for k in range(4):
            chunk = {"mels": np.ascontiguousarray(given[:, k * CHUNK_FRAMES : (k + 1) * CHUNK_FRAMES])}
            found = [model.run({**chunk, **state}) for model, state in zip(models, states, strict=True)]
            states = [{name: told[next_name(name)] for name in state} for told, state in zip(found, states, strict=True)]
            for name in ("scores", "vectors"):
                np.testing.assert_allclose(found[0][name], found[1][name], atol=1e-4)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "small-images.onnx").rename(tmp_path / "bundle/encoder.int8.onnx")
    back, wanted = encoder_from(tmp_path / "bundle"), fold_norms(copy.deepcopy(encoder))
    np.testing.assert_allclose(back.heads.weight.detach(), wanted.heads.weight.detach(), atol=0.01)
    with torch.inference_mode():
        again = torch.sigmoid(back(torch.from_numpy(mels(1, 4))).labels)[0].numpy()
        told = torch.sigmoid(encoder(torch.from_numpy(mels(1, 4))).labels)[0].numpy()
    assert np.abs(again - told).max() < 0.02


def test_an_encoder_of_other_parts_is_not_made_images_by_guess(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as plain:
        plain.setattr("export.to_onnx.as_images", lambda model: None)
        export_streaming(encoder, Evidence(SOUND_TABLE), Projector(256).eval(), tmp_path / "rows.onnx")
    model = onnx.load(str(tmp_path / "rows.onnx"))
    first = next(node for node in model.graph.node if node.op_type == "Conv" and node.name == "node_conv1d_1")
    behind = next(node for node in model.graph.node if first.output[0] in node.input)
    behind.op_type = "Tanh"
    with pytest.raises(ValueError, match="is a Tanh among convolutions over time"):
        as_images(model)


def test_weights_of_eight_bits_say_what_float_says(encoder: Encoder, tmp_path: Path) -> None:
    plain, small = tmp_path / "encoder.onnx", tmp_path / "encoder.int8.onnx"
    export_streaming(encoder, Evidence(SOUND_TABLE), Projector(256).eval(), plain)
    quantize_weights(plain, small)
    assert small.stat().st_size < 0.45 * plain.stat().st_size
    models = OnnxModel(plain), OnnxModel(small)
    state = {name: np.zeros(shape, np.float32) for name, (_, shape) in models[0].inputs.items() if name != "mels"}
    exact, near = (np.asarray(model.run({"mels": mels(1, 1), **state})["scores"]) for model in models)
    assert 0 < np.abs(exact - near).max() < 0.02


def test_folding_the_norms_changes_nothing(encoder: Encoder) -> None:
    import copy

    given = torch.from_numpy(mels(2, 2))
    with torch.inference_mode():
        before, after = encoder(given), fold_norms(copy.deepcopy(encoder))(given)
    assert (before.labels - after.labels).abs().max() < 1e-4


def test_the_encoder_does_not_look_ahead(encoder: Encoder) -> None:
    given = torch.from_numpy(mels(3, 4))
    other = given.clone()
    other[:, 3 * CHUNK_FRAMES :] = 0
    with torch.inference_mode():
        a, b = encoder(given), encoder(other)
    rows = 3 * CHUNK_FRAMES // 4
    assert torch.equal(a.labels[:, :rows], b.labels[:, :rows])
    assert not torch.equal(a.labels, b.labels)


def tracked(scores: np.ndarray) -> set[tuple[str, int]]:
    tracker = SoundTracker(STARTER_LABELS, SOUND_OPTIONS)
    found = tracker.extend(Encoding(0, len(scores) * 640, np.zeros((0, 0), np.float32), 5120, scores, 640))
    return {(sound.label, sound.start // 640) for sound in found if sound.stop is None}


def test_evidence_decides_as_the_sound_tracker_does() -> None:
    heard, evidence = simulated(np.random.default_rng(4), 40, 256), Evidence(SOUND_TABLE)
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (heard.labels, heard.onsets, heard.words)]
    energies = torch.from_numpy(heard.energies.astype(np.float32)).repeat_interleave(4, dim=1).unsqueeze(2)
    marks = evidence.follow(*tensors, energies, evidence.state(40))[0]
    began = np.argwhere(marks.began.numpy() > 0)
    same = whole = alike = 0
    for index in range(40):
        rows = [(int(row), int(label)) for at, row, label in began if at == index]
        found = sorted((STARTER_LABELS[label], max(0, row + 1 - int(marks.age[index, row, label]))) for row, label in rows)
        wanted = sorted(tracked(1 / (1 + np.exp(-heard.labels[index].astype(np.float32)))))
        whole += len(wanted)
        assert {label for label, _ in found} == {label for label, _ in wanted}
        if [label for label, _ in found] == [label for label, _ in wanted]:
            alike += 1
            same += sum(a == b for a, b in zip(found, wanted, strict=True))
    # Not every row: in its first rows, and behind a sound that has ended, the tracker's moving mean begins anew; the evidence goes on. So
    # a bark may begin again by the one alone, behind a pause: in one of 240 such streams, that of this seed.
    assert whole > 100
    assert alike >= 39
    assert same / whole > 0.93


def test_evidence_does_not_depend_on_how_the_stream_is_cut() -> None:
    heard, evidence = simulated(np.random.default_rng(5), 4, 128), Evidence(SOUND_TABLE)
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (heard.labels, heard.onsets, heard.words)]
    energies = torch.from_numpy(heard.energies.astype(np.float32)).repeat_interleave(4, dim=1).unsqueeze(2)
    whole, _ = evidence(*tensors, energies, evidence.state(4))
    assert whole.shape == (4, 128 // ROWS, WIDTH)
    state, parts = evidence.state(4), []
    for start, stop in ((0, 8), (8, 40), (40, 128)):
        part, state = evidence(*(t[:, start:stop] for t in tensors), energies[:, 4 * start : 4 * stop], state)
        parts.append(part)
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_counts_and_words_come_out_of_clean_scores() -> None:
    labels = np.full((1, 200, len(STARTER_LABELS)), -7.0)
    onsets, words = np.full((1, 200, len(COUNTED)), -7.0), np.full((1, 200, len(WORDS)), -7.0)
    bark, speech = STARTER_LABELS.index("Bark"), STARTER_LABELS.index("Speech")
    for at in (10, 30, 50):
        labels[0, at : at + 12, bark] = 7
        onsets[0, at + 2 : at + 4, COUNTED.index("Bark")] = 7
    labels[0, 110:150, speech] = 7
    for at, word in ((125, "seven"), (145, "c")):
        words[0, at : at + 5, WORDS.index(word)] = 9
    evidence = Evidence(SOUND_TABLE)
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (labels, onsets, words)]
    marks, told, _ = evidence.follow(*tensors, torch.zeros(1, 800, 1), evidence.state(1))
    assert (
        describe(facts(marks.above.numpy(), Told(*(x.numpy() for x in told)), 0), True)
        == "A dog barks three times, then a person says seven, c."
    )


def test_llama_cpp_computes_the_decoder_and_splits_text_as_the_tokenizer(tokenizer: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    torch.manual_seed(4)
    speaker = Speaker(DecoderShape(vocabulary=words.get_vocab_size(), layers=2)).eval()
    for part in speaker.parameters():
        part.data *= 2.0  # so that a greedy text is not one token for ever
    write_llama(speaker.decoder, tokenizer, tmp_path / "speaker.gguf", "test", "F32")
    model = LlamaModel(tmp_path / "speaker.gguf", context=128)
    for text in (
        FINAL,
        QUESTION + "Wasn't it 3 times, at 12:30? A: it's the SEA. B: l'été." + SPECIAL[4],
        " a  b\n1234 x's",
        "At 3333 s, it's 3:30...",
    ):
        assert model.tokenize(text) == words.encode(text).ids
    evidence = np.random.default_rng(6).normal(0, 1, (9, WIDTH)).astype(np.float32)
    prompt, end = words.encode(FINAL).ids, words.token_to_id("<end>")
    with torch.inference_mode():
        model.extend(speaker.projector(torch.from_numpy(evidence)[None])[0].numpy())
    assert model.decode(prompt, [], 0, 12) == speaker.say(evidence, prompt, end, 12)
    model.close()


def test_texts_side_by_side_do_not_see_each_other(tokenizer: Path) -> None:
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    torch.manual_seed(5)
    speaker = Speaker(DecoderShape(vocabulary=words.get_vocab_size(), layers=2)).eval()
    turn = Example(np.random.default_rng(7).normal(0, 1, (5, WIDTH)).astype(np.float32), [])
    texts = [
        (FINAL, "A clock is ticking."),
        (FINAL, "Rain is falling while a siren wails."),
        (QUESTION + "Was there rain?" + SPECIAL[4], "No."),
    ]
    with torch.inference_mode():
        together = loss_of(speaker, collate([(turn, texts)], words))
        sizes = [len(words.encode(text).ids) + 1 for _, text in texts]
        alone = sum(loss_of(speaker, collate([(turn, [pair])], words)) * n for pair, n in zip(texts, sizes, strict=True)) / sum(sizes)
    assert float(together) == pytest.approx(float(alone), rel=1e-5)


def test_a_mask_in_time_leaves_what_it_hides_unjudged() -> None:
    truth = torch.zeros(64, 128, sum(GROUPS), dtype=torch.uint8)
    given = torch.zeros(64, 512, BANDS)
    masked, judged = augment(given, truth, torch.Generator().manual_seed(1))
    hidden = (masked == -10).all(dim=2).reshape(64, 128, 4).all(dim=2)
    assert hidden.any()
    assert (judged[:, :, GROUPS[0] :][hidden] == UNSURE).all()
    assert (judged[:, :, : GROUPS[0]] == 0).all()


def test_a_mixture_holds_both_truths_and_judges_no_word() -> None:
    truth = torch.zeros(2, 128, sum(GROUPS), dtype=torch.uint8)
    truth[0, :, 0], truth[1, :, 1], truth[0, 5, -1] = 1, 1, 1
    _, joined, mixed = mix(torch.zeros(2, 512, BANDS), truth, 1.0, torch.Generator().manual_seed(2))
    assert mixed.all()
    assert {int(v) for v in joined[0, 0, :2]} <= {0, 1}
    assert (joined[:, 5, -1] != 1).all()


def test_what_a_louder_scene_covers_is_not_judged() -> None:
    """By the row: the first scene is 20 dB under the second in its first half and over it in the other."""
    truth = torch.zeros(2, 128, sum(GROUPS), dtype=torch.uint8)
    truth[0, :, 0], truth[1, :, 1], truth[:, :, 2], truth[0, :, 3] = 1, 1, 1, UNSURE
    mels = torch.zeros(2, 512, BANDS)
    mels[0, :256], mels[0, 256:] = -20 / DB, 20 / DB
    mixtures = (mix(mels, truth, 1.0, torch.Generator().manual_seed(seed))[1] for seed in range(100))
    joined = next(both for both in mixtures if (both[:, 0, 1] == 1).all())  # not each with itself
    assert joined[:, :64, :4].unique(dim=1).tolist() == [[[UNSURE, 1, 1, UNSURE]]] * 2
    assert joined[:, 64:, :4].unique(dim=1).tolist() == [[[1, UNSURE, 1, UNSURE]]] * 2
    assert (joined[:, :, 4 : GROUPS[0]] == 0).all()


def test_a_checkpoint_of_other_options_is_refused_by_name(tmp_path: Path) -> None:
    shelf(tmp_path / "scenes")
    torch.set_num_threads(1)
    options = FitOptions(steps=2, batch=4, shards=1, start_shards=1, checkpoint_steps=2, settle_batches=1)
    fit(Encoder(), tmp_path / "scenes", tmp_path / "fit.pt", options, tell=lambda line: None)
    with pytest.raises(ValueError, match=r"fit\.pt was begun with other options \(steps 2 instead of 3, rate 0\.003 instead of 0\.1\)"):
        fit(Encoder(), tmp_path / "scenes", tmp_path / "fit.pt", replace(options, steps=3, rate=0.1), tell=lambda line: None)


def test_the_picture_shows_shares_and_not_how_long_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[str] = []
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda axis, *given, label, **more: (drawn.append(label), plot(axis, *given, label=label, **more))[1])
    entry = {"step": 10, "seconds": 15.0, "scenes": 4000, "label_loss": 0.2, "clips": 0.9}
    (tmp_path / "history-encoder.json").write_text(json.dumps([entry, entry | {"step": 20}]))
    draw_progress(tmp_path)
    assert drawn == ["label_loss", "clips"]
    assert (tmp_path / "progress.png").stat().st_size > 1_000


def test_fitting_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path: Path) -> None:
    shelf(tmp_path / "scenes")
    torch.set_num_threads(1)
    options = FitOptions(steps=4, batch=4, shards=1, start_shards=1, checkpoint_steps=2, settle_batches=1)

    def run(checkpoint: str, stop_after: int | None) -> Encoder:
        torch.manual_seed(0)
        model = Encoder(64)
        lines: list[str] = []

        def tell(line: str) -> None:
            lines.append(line)
            if stop_after is not None and len(lines) == stop_after:
                raise KeyboardInterrupt

        # The interrupt comes when the checkpoint of the step before is on the disk.
        fit(model, tmp_path / "scenes", tmp_path / checkpoint, options, None, tell)
        return model

    whole = run("whole.pt", None)
    with pytest.raises(KeyboardInterrupt):
        run("cut.pt", 2)
    resumed = run("cut.pt", None)
    for (name, a), (_, b) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_a_shard_that_nobody_renders_is_named_instead_of_waited_for(tmp_path: Path) -> None:
    shelf(tmp_path / "scenes")
    with pytest.raises(RuntimeError, match=r"shard_0001\.npz is missing and nothing renders it"):
        fit(Encoder(64), tmp_path / "scenes", tmp_path / "fit.pt", FitOptions(steps=2, shards=2), None, print)


def test_columns_name_the_groups_of_a_row_of_evidence() -> None:
    labels, onsets, words = (torch.full((1, 64, size), -9.0) for size in GROUPS)
    labels[:, 4:, STARTER_LABELS.index("Siren")] = 9
    words[:, 40:44, WORDS.index("seven")] = 19
    evidence = Evidence(SOUND_TABLE)
    rows = evidence(labels, onsets, words, torch.zeros(1, 256, 1), evidence.state(1))[0][0]
    assert rows.shape == (64 // ROWS, WIDTH)
    assert rows[:, columns("event")].sum(dim=0).argmax() == STARTER_LABELS.index("Siren")
    assert rows[:, columns("event")].sum() == rows[:, columns("some")].sum() == rows[:, columns("order")][:, 0].sum() == 1
    assert rows[5, columns("word")].argmax() == WORDS.index("seven")
    assert rows[:, columns("word")].sum() == rows[:, columns("word_order")][:, 0].sum() == 1
    assert (rows[:, columns("said")][:, 0] == torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])).all()
    assert rows[-1, columns("active")].argmax() == STARTER_LABELS.index("Siren")
    assert columns("cos").stop == WIDTH


def test_a_wavering_word_is_told_once() -> None:
    labels, onsets, words = (torch.full((1, 64, size), -9.0) for size in GROUPS)
    for row, word in ((3, "two"), (5, "two"), (20, "two"), (35, "b")):
        words[:, row, WORDS.index(word)] = 19
    evidence = Evidence(SOUND_TABLE)
    whole = evidence(labels, onsets, words, torch.zeros(1, 256, 1), evidence.state(1))[0][0]
    state, parts = evidence.state(1), []
    for start in range(0, 64, ROWS):  # chunk by chunk, as a device does
        part = slice(start, start + ROWS)
        rows, state = evidence(labels[:, part], onsets[:, part], words[:, part], torch.zeros(1, 4 * ROWS, 1), state)
        parts.append(rows[0])
    assert torch.equal(torch.cat(parts), whole)
    told = [WORDS[int(r[columns("word")].argmax())] for r in whole if r[columns("word")].any()]
    assert told == ["two", "two", "b"]


def test_the_losses_fall_when_one_batch_is_learnt_again_and_again(tmp_path: Path) -> None:
    shelf(tmp_path / "scenes")
    torch.manual_seed(1)
    model = Encoder(64)
    with np.load(shard_path(tmp_path / "scenes", 0)) as held:
        x = torch.from_numpy(held["mels"][:4].astype(np.float32))
        truth = torch.from_numpy(np.concatenate([held[n][:4] for n in ("truth", "onsets", "words")], axis=2))
        teacher, weight = torch.from_numpy(held["teacher"][:4].astype(np.float32)), rarity(held["truth"])
    optimiser, found = torch.optim.Adam(model.parameters(), 2e-3), []
    for _ in range(6):
        parts = losses(model, x, truth, teacher, torch.zeros(4, dtype=torch.bool), weight, FitOptions())
        optimiser.zero_grad()
        parts.sum().backward()
        optimiser.step()
        found.append(parts.detach().numpy())
    assert (found[-1] < found[0])[[0, 2, 3]].all()


def test_the_language_model_learns_what_the_evidence_says(tokenizer: Path, tmp_path: Path) -> None:
    rng, evidence = np.random.default_rng(8), Evidence(SOUND_TABLE)
    turns = [t for t in examples(rng, simulated(rng, 30, 128), evidence, 60) if t.facts and len(t.evidence) <= 20][:4]
    torch.set_num_threads(2)
    options = LanguageOptions(steps=30, batch=4, questions=0, rate=2e-3, checkpoint_steps=15)
    speaker, history = fit_language(Pool(turns), tokenizer, tmp_path / "language.pt", options, lambda line: None)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert set(exactness(speaker, tokenizer, turns[:2], 1)) >= {"final", "presence", "unknown"}


def test_a_turn_with_nothing_in_it_still_teaches_questions() -> None:
    texts = pairs(np.random.default_rng(9), Example(np.zeros((20, WIDTH), np.float32), []), 4)
    assert texts
    assert all(prompt.startswith(QUESTION) for prompt, _ in texts)
    assert (
        pairs(np.random.default_rng(9), Example(np.zeros((20, WIDTH), np.float32), [Fact("Rain", 0, None)]), 0)[0][1] == "Rain is falling."
    )


FACTS = [Fact("Siren", 0, 32_000), Fact("Bark", 48_000, 64_000, 3), Fact("Rain", 70_000, None), Fact("Siren", 90_000, 99_000)]


def test_probes_ask_where_a_question_names_a_sound(tokenizer: Path) -> None:
    """Place and count at the noun's last token, the order of two at the last of all; nothing of a sound that came twice."""
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))

    def asked(question: str) -> list[tuple[str, tuple[int, ...]]]:
        prompt = QUESTION + question + ANSWER
        ids = words.encode(prompt).tokens
        return [(ids[token].strip("Ġ"), tuple(rest)) for token, *rest in asked_of(prompt, FACTS, words)]

    order = asked("Was the rain before the barking dog?")
    assert [target for _, target in order] == [(3, 0, IGNORED), (2, 3, IGNORED), (IGNORED, IGNORED, 0)]
    assert order[-1][0] == ANSWER
    assert asked("Was the barking dog before the rain?")[-1][1] == (IGNORED, IGNORED, 1)
    assert [target for _, target in asked("Did you hear a helicopter?")] == [(0, 0, IGNORED)]
    assert asked("Did you hear the siren?") == []
    assert asked_of(FINAL, FACTS, words) == []


def test_what_tells_how_often_weighs_more(tokenizer: Path) -> None:
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    text = describe(FACTS, True)
    encoded = words.encode(text)
    weights = token_weights(text, encoded.offsets)
    assert len(weights) == len(encoded.ids) + 1
    heavy = [text[a:b] for (a, b), weight in zip(encoded.offsets, weights, strict=False) if weight > 1]
    assert heavy == [" three times"[: len(heavy[0])]]


def test_every_noun_of_a_question_is_found() -> None:
    for label, nouns in NOUNS.items():
        for noun in nouns:
            assert mentions(f"Was there {noun}?") == [(len(f"Was there {noun}"), label)]
    assert mentions("What is the name of the person's colour?")[0][1] == "Speech"
    assert mentions("Is it day or night?") == []


def test_what_ships_comes_back_as_what_was_packed(tmp_path: Path) -> None:
    """Language model, projector and tokenizer of the shipped bundle, packed again: the same bytes."""
    starter = Path(edge.__file__).parent / "bundles/starter"
    tokenizer_from(starter, tmp_path / "tokenizer.json")
    speaker = speaker_from(starter)
    with_speaker(starter, speaker, tmp_path / "tokenizer.json", tmp_path / "again", {"version": "9.9.9"})
    for name in ("encoder.int8.onnx", "captioner.q8_0.gguf"):
        assert (tmp_path / "again" / name).read_bytes() == (starter / name).read_bytes()
    with torch.no_grad():
        speaker.projector.direct.weight.mul_(2.0)
    with_speaker(starter, speaker, tmp_path / "tokenizer.json", tmp_path / "other", {"version": "9.9.9"})
    assert (tmp_path / "other/encoder.int8.onnx").read_bytes() != (starter / "encoder.int8.onnx").read_bytes()
    assert torch.equal(speaker_from(tmp_path / "other").projector.direct.weight, speaker.projector.direct.weight)


def test_what_the_shipped_encoder_hears_is_what_the_runtime_hears(tmp_path: Path) -> None:
    """Its scores of a shard are those of the bundle's own output, scene by scene."""
    starter = Path(edge.__file__).parent / "bundles/starter"
    mels = np.random.default_rng(3).normal(-8, 2, (2, 512, BANDS)).astype(np.float16)
    nothing = np.zeros((2, 1, 1), np.uint8)
    with shard_path(tmp_path, 0).open("wb") as file:
        np.savez(file, mels=mels, truth=nothing, onsets=nothing, words=nothing, teacher=nothing)
    heard = heard_by(starter, tmp_path, [0])
    assert heard.labels.shape == (2, 128, len(STARTER_LABELS))
    model = OnnxModel(starter / "encoder.int8.onnx")
    state = {name: np.zeros([n or 1 for n in shape], np.float32) for name, (_, shape) in model.inputs.items() if name != "mels"}
    for chunk in range(16):
        found = model.run({"mels": mels[1:2, chunk * 32 : chunk * 32 + 32].astype(np.float32), **state})
        state = {name: found[next_name(name)] for name in state}
        logits = heard.labels[1, chunk * 8 : chunk * 8 + 8].astype(np.float32)
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), found["scores"][0], atol=2e-3)
