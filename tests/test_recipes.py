"""Recipes: small random instances of the real architectures, built into bundles and run by the runtime, against their reference."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
import os
import re
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models
import tokenizers

from edge import Listener
from edge.backends.llama import LlamaModel
from edge.backends.onnx import OnnxModel
from edge.bundle import Bundle
from edge.config import load
from edge.errors import BackendError, BundleError, EdgeError
from edge.features import whisper_log_mel
from edge.guards import cut_loops
from edge.sinks.record import as_dict
from edge.time_line import called
from edge.transcriber import Transcriber, load_models
from edge.types import Caption, Turn
from export import cli, prompts, seq2seq_parts
from export.build import BuildOptions, all_recipes, build, recipe_for
from export.gguf_parts import write_gguf
from export.onnx_parts import audios, quantize
from export.recipes.recipe import LIMITS, BuildError, Limit, cosine
from export.recipes.whisper import reference
from export.resume import Kept
from export.whisper_text import text_of

Whisper = tuple[Any, Path, Path]
"""The reference model, its folder, its float bundle."""
SCENE = Path(__file__).resolve().parents[1] / "edge/data/demo_scene.flac"
STARTER = Path(__file__).resolve().parents[1] / "edge/bundles/starter"


@pytest.fixture
def yamnet(shared_data: Path) -> Path:
    return shared_data / "yamnet"


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def figures(bundle: Path) -> dict[str, float]:
    return {f["name"]: f["value"] for f in json.loads((bundle / "manifest.json").read_text())["receipt"]["figures"]}


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    """The reference model, its folder and the float bundle."""
    root = tmp_path_factory.mktemp("whisper")
    model = tiny_models.whisper(root / "source")
    return model, root / "source", build(BuildOptions(str(root / "source"), root / "bundle", encoder="fp32"), quiet)


def transcriber(bundle: Path) -> Transcriber:
    opened = Bundle.open(bundle)
    return Transcriber(opened, load_models(opened, 1))


def generated(model: Any, samples: np.ndarray, forced: list[int], limit: int = 62) -> list[int]:
    """The reference's own generate over its own encoder at that length, behind tokens that are given."""
    from transformers import GenerationConfig, GenerationMixin

    state, _ = reference(model, whisper_log_mel(np.pad(samples, (0, -len(samples) % 320)), 80)[None])
    shape = GenerationConfig(
        max_new_tokens=limit - len(forced),
        do_sample=False,
        eos_token_id=tiny_models.END,
        pad_token_id=tiny_models.END,
        suppress_tokens=[1, 2],
    )
    if not forced:
        shape.begin_suppress_tokens = [tiny_models.END]
    start = torch.tensor([[tiny_models.START, *forced]])
    found = GenerationMixin.generate(model, encoder_outputs=state, decoder_input_ids=start, generation_config=shape)[0, 1:].tolist()
    return found[: found.index(tiny_models.END)] if tiny_models.END in found else found


def told(bundle: Path, samples: np.ndarray, stops: list[int]) -> tuple[Transcriber, list[Caption]]:
    """Captions of one turn that is seen up to each of these stops."""
    line, found = transcriber(bundle), []
    for stop in stops:
        turn = Turn(1, 0, stop, stop == stops[-1], "end" if stop == stops[-1] else "hop", "speech", True)
        begin = line.begin(turn)
        caption = line.revise(turn, line.extend(samples[begin:stop]), [])
        if caption is not None:
            found.append(caption)
    return line, found


@pytest.mark.usefixtures("unguarded")
def test_whisper_says_what_the_reference_says(whisper: Whisper) -> None:
    """20 sounds of 1 to 45 s: token for token what transformers generates, window by window."""
    model, _, bundle = whisper
    found = figures(bundle)
    assert found["encoder rows max abs"] <= 1e-4
    assert found["decoder logits max abs"] <= 1e-3
    texts = set()
    for samples in audios(np.linspace(1.0, 45.0, 20).tolist(), seed=7):
        line, captions = told(bundle, samples, [len(samples)])
        wanted = [t for at in range(0, len(samples), 480_000) for t in generated(model, samples[at : at + 480_000], [])]
        assert line._open.tokens == wanted
        assert captions[-1].text == line._tokenizer.text(wanted)
        texts.add(tuple(wanted))
    assert len(texts) > 10, "the sounds must be told apart, or this proves nothing"


@pytest.mark.usefixtures("unguarded")
def test_a_full_window_of_whisper_is_the_stock_model(whisper: Whisper) -> None:
    """30 s, no cut of the position embeddings: the unmodified `generate` of transformers."""
    model, _, bundle = whisper
    (samples,) = audios([30.0], seed=3)
    features = torch.from_numpy(whisper_log_mel(samples, 80)[None])
    said = model.generate(features, max_new_tokens=62, do_sample=False)[0].tolist()
    line, _ = told(bundle, samples, [len(samples)])
    ours = list(line._open.tokens)
    behind = said[said.index(tiny_models.START) + 1 :] if tiny_models.START in said else said
    assert behind[: len(ours)] == ours[: len(behind)]
    assert len(ours) > 20


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("seed", range(4))
def test_hops_of_whisper_end_as_the_reference_behind_what_was_committed(whisper: Whisper, seed: int) -> None:
    """Whatever was committed stays, and what follows is what the reference generates behind it."""
    model, _, bundle = whisper
    (samples,) = audios([6.0], seed=20 + seed)
    line, captions = told(bundle, samples, [16_000, 32_000, 48_000, 80_000, len(samples)])
    for before, after in pairwise(captions):
        assert after.text[: before.committed] == before.text[: before.committed]
        assert after.committed >= before.committed
    committed = 0
    line = transcriber(bundle)
    for stop in (16_000, 32_000, 48_000, 80_000):
        turn = Turn(1, 0, stop, False, "hop", "speech", True)
        line.revise(turn, line.extend(samples[line.begin(turn) : stop]), [])
        committed = line._open.committed
    forced = list(line._open.tokens[:committed])
    turn = Turn(1, 0, len(samples), True, "end", "speech", True)
    line.revise(turn, line.extend(samples[line.begin(turn) :]), [])
    assert line._open.tokens == generated(model, samples, forced)


@pytest.mark.usefixtures("unguarded")
def test_audio_in_pieces_is_the_audio_at_once(whisper: Whisper) -> None:
    """Only the views count, not how the samples of one arrive."""
    (samples,) = audios([4.0], seed=5)
    one, _ = told(whisper[2], samples, [len(samples)])
    line = transcriber(whisper[2])
    for stop in range(1_000, len(samples) + 1, 1_000):
        turn = Turn(1, 0, stop, stop == len(samples), "end" if stop == len(samples) else "hop", "speech", True)
        encoding = line.extend(samples[line.begin(turn) : stop])
    line.revise(turn, encoding, [])
    assert line._open.tokens == one._open.tokens


def test_five_seconds_of_whisper_cost_five(whisper: Whisper) -> None:
    """The encoder's rows follow the length of the sound: 50 a second."""
    line = transcriber(whisper[2])
    assert [line.encode(s)["last_hidden_state"].shape[1] for s in audios([1.0, 5.0, 30.0])] == [50, 250, 1500]


def test_whisper_captions_speech_and_nothing_else(whisper: Whisper) -> None:
    """The shipped scene through the whole line: text inside the spans of speech only, one final each, no sound records."""
    with Listener(str(whisper[2])) as listener:
        records = list(listener.listen(SCENE))
    captions = [r for r in records if r["type"] == "caption"]
    speech = [(r["start"], r["end"]) for r in records if r["type"] == "speech"]
    assert captions
    assert not [r for r in records if r["type"] == "sound"]
    assert all(any(c["start"] < b and a < c["end"] for a, b in speech) for c in captions)
    ids = [c["id"] for c in captions if c["final"]]
    assert len(ids) == len(set(ids)) == len({c["id"] for c in captions})


def test_a_text_that_loops_is_the_reference_s_cut_where_it_begins_to(whisper: Whisper) -> None:
    """A random Whisper says the same without end."""
    reader, model = transcriber(whisper[2]), whisper[0]
    cut = 0
    for samples in audios([1.5, 4.0, 9.0, 20.0, 28.0], seed=1):
        wanted = generated(model, samples, [])
        assert reader.transcribe(samples) == cut_loops(wanted)
        cut += cut_loops(wanted) != wanted
    assert cut > 2, "nothing looped, or this proves nothing"


def test_what_is_committed_stays_when_a_loop_is_cut_and_the_record_names_the_guard(whisper: Whisper) -> None:
    reader, cut = transcriber(whisper[2]), 0
    for turn, samples in enumerate(audios([6.0, 9.0, 14.0], seed=2)):
        committed = ""
        for stop in range(16_000, len(samples) + 1, 16_000):
            view = Turn(turn + 1, 0, stop, stop == len(samples), "hop", "speech", speech=True)
            reader.begin(view)
            caption = reader.revise(view, reader.extend(samples[stop - 16_000 : stop]), [])
            if caption is None:
                continue
            assert caption.text.startswith(committed)
            committed = caption.text[: caption.committed]
            assert as_dict(caption).get("guard", "") == caption.guard
            assert caption.guard in ("", "loop", "compression")
            cut += bool(caption.guard)
    assert cut > 5


def test_words_where_nobody_speaks_are_left_out(whisper: Whisper) -> None:
    """The token for silence likelier than 0.6, the words less likely than -1 each: whatever is committed stays."""
    reader = transcriber(whisper[2])
    (samples,) = audios([4.0], seed=1)
    said = reader.transcribe(samples)
    decoder = reader._decoder
    decoder.silence = tiny_models.SPECIAL["<|nothing|>"]
    logits = decoder._model.run
    shape = {"likely": 0.0}

    def swayed(feed: dict[str, Any]) -> dict[str, Any]:
        found = logits(feed)
        found["logits"][..., decoder.silence] = found["logits"].max(axis=-1) + shape["likely"]
        return found

    decoder._model = SimpleNamespace(run=swayed, inputs=decoder._model.inputs, outputs=decoder._model.outputs)
    decoder._never = [*decoder._never, decoder.silence]
    shape["likely"] = -20.0
    assert reader.transcribe(samples) == said
    shape["likely"] = 9.0
    assert reader.transcribe(samples) == []
    assert decoder.guard == "no_speech"
    assert reader.transcribe(samples, said[:3], 3)[:3] == said[:3]


def test_words_and_sounds_stand_on_one_line(whisper: Whisper, capsys: pytest.CaptureFixture[str]) -> None:
    """The starter's sounds and a random Whisper's words, over the demo scene: every sound of a turn in brackets, questions as before."""
    with Listener(config=load(flags={"speech": str(whisper[2])})) as listener:
        records = list(listener.listen(SCENE))
        assert listener.ask("How often did someone knock?", SCENE)["text"]
    finals = [r["text"] for r in records if r["type"] == "caption" and r["final"]]
    labels = {r["label"] for r in records if r["type"] == "sound" and r["label"] not in ("Speech", "Noise")}
    shown = {name for text in finals for name in re.findall(r"\[([^]]*)\]", text)}
    assert {called(label) for label in labels} <= {name.removesuffix("!") for name in shown}
    assert {name for name in shown if name.endswith("!")} == {"smoke detector!"}, "what must not be overlooked is marked"
    assert any('"' in text for text in finals)
    captions: dict[int, str] = {}
    for record in records:
        if record["type"] == "caption":
            assert record["text"].startswith(captions.get(record["id"], ""))
            captions[record["id"]] = record["text"][: record["committed"]]
    with pytest.raises(BundleError, match="transcribes by itself"):
        Listener(whisper[2], load(flags={"speech": str(whisper[2])}))


def test_a_bundle_that_transcribes_answers_no_questions(whisper: Whisper) -> None:
    with Listener(str(whisper[2])) as listener, pytest.raises(BundleError, match="answers no questions"):
        listener.ask("what is heard?", SCENE)


@pytest.mark.parametrize("precision", ["int8", "int8-static", "int4"])
def test_a_quantized_whisper_stays_within_its_limit(whisper: Whisper, tmp_path: Path, precision: str) -> None:
    """int8-static takes its ranges from a recording: every convolution and product with weights is in 8 bits, both sides."""
    options = {"calibrate": str(SCENE.parent)} if precision == "int8-static" else {}
    bundle = build(BuildOptions(str(whisper[1]), tmp_path / "small", encoder=precision, options=options), quiet)
    assert figures(bundle)["encoder rows cosine"] >= LIMITS[precision].cosine
    small, whole = (sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".onnx", ".gguf")) for folder in (bundle, whisper[2]))
    assert small < 0.8 * whole if precision != "int4" else small < whole  # an ONNX decoder so small is mostly its graph
    assert bundle.joinpath("decoder.onnx" if precision == "int4" else "decoder.gguf").is_file()
    assert told(bundle, audios([3.0])[0], [48_000])[1][-1].final


def test_calibration_wants_recordings(whisper: Whisper, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BuildError, match=r"--calibrate .*empty: there are no sound files"):
        build(BuildOptions(str(whisper[1]), tmp_path / "x", encoder="int8-static", options={"calibrate": str(tmp_path / "empty")}), quiet)


def test_over_the_limit_there_is_no_bundle(whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what lay there before still does."""
    kept = shutil.copytree(whisper[2], tmp_path / "kept")
    before = (kept / "manifest.json").read_bytes()
    monkeypatch.setitem(LIMITS, "int8", Limit(cosine=0.9999999))
    with pytest.raises(BuildError, match="too far from the reference"):
        build(BuildOptions(str(whisper[1]), kept, encoder="int8"), quiet)
    assert (kept / "manifest.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


SECONDS = [1.0, 3.3, 9.77, 29.995, 30.0, 45.0, 1.7, 2.1, 4.4, 5.0, 7.3, 8.8, 12.5, 15.9, 18.2, 21.0, 26.6, 33.3, 38.7, 42.1]


@pytest.mark.parametrize("kind", tiny_models.AUDIO_LMS)
def test_an_audio_language_model_answers_as_the_reference(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 sounds of 1 to 45 s through the runtime: what transformers generates from windows of 30 s as its own processor makes them."""
    monkeypatch.setattr(prompts, "ANSWER_TOKENS", 40)
    model = tiny_models.audio_lm(tmp_path / "source", kind)
    bundle = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32", llm="f32"), quiet)
    caption = json.loads((bundle / "manifest.json").read_text())["caption"]
    end, texts = model.config.text_config.eos_token_id, set()
    with Listener(str(bundle)) as listener:
        lm = listener._line.text_model
        assert lm is not None
        for samples in audios(SECONDS, seed=9):
            try:
                answer = listener._line.ask(samples, "What is heard?").text
            except EdgeError:  # no answer: the reference must then say nothing as well
                answer = ""
            ids, given = asked_of(model, lm, caption, samples)
            said = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                **given,
                max_new_tokens=caption["ask_tokens"],
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )[0, ids.shape[1] :].tolist()
            said = said[: said.index(end)] if end in said else said
            assert answer == lm.detokenize(said).strip()
            texts.add(answer)
        assert len(texts) > 4, "the sounds must be told apart, or this proves nothing"
        hops_are_the_whole(listener._line.upper_stairs()[0], kind == "voxtral")
        finals = [r for r in listener.listen(SCENE) if r["type"] == "caption" and r["final"]]
    assert finals
    assert all(r["text"] for r in finals)


def hops_are_the_whole(encoder: Any, filled: bool) -> None:
    """A window that is filled up, a second window that is turned on: whatever the cuts of the stream."""
    (samples,) = audios([41.0], seed=3)
    whole = encoder.whole([samples]).vectors
    for at in range(0, len(samples), 144_000):
        stop = min(at + 144_000, len(samples))
        encoder.begin(Turn(2, 0, stop, stop == len(samples), "hop", "sound"))
        rows = encoder.extend(samples[at:stop]).vectors
    assert rows.shape == whole.shape
    if filled:  # the reference scales by the loudest of all 41 s, a stream knows only what has come
        rows, whole = rows[375:], encoder.encode(samples[480_000:], 1)
    np.testing.assert_allclose(rows, whole, atol=1e-5)


def test_an_audio_language_model_is_verified_and_takes_very_short_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_models.audio_lm(tmp_path / "source", "qwen2_audio")
    bundle = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32", llm="q8_0"), quiet)
    assert cli.main(["verify", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "100 rows of 256 values" in said
    assert "characters written" in said
    assert cli.main(["compare", str(bundle), str(bundle)]) == 0
    with Listener(str(bundle)) as listener:
        captioner = listener._line.upper_stairs()[1]
        assert captioner is not None
        encoder = listener._line.upper_stairs()[0]
        turn = Turn(1, 0, 500, True, "end", "sound")
        encoder.begin(turn)
        assert captioner.revise(turn, encoder.extend(np.zeros(500, np.float32)), []) is None


def asked_of(model: Any, lm: Any, caption: dict[str, Any], samples: np.ndarray) -> tuple[Any, dict[str, Any]]:
    """The reference's inputs: tokens with one audio token for each row; mels of each window of 30 s, their masks where it takes some."""
    windows = [samples[at : at + 480_000] for at in range(0, len(samples), 480_000)]
    frames = [-(-len(w) // 160) for w in windows]
    kind, given = model.config.model_type, {}
    if kind == "voxtral":
        rows = 375 * len(windows)
        mels = np.split(whisper_log_mel(np.pad(samples, (0, len(windows) * 480_000 - len(samples))), 128), len(windows), axis=1)
    else:
        rows = sum(int(model.model.audio_tower._get_feat_extract_output_lengths(torch.tensor(f))[1]) for f in frames)
        mels = [whisper_log_mel(np.concatenate((w, np.zeros(480_000 - len(w), np.float32))), 128) for w in windows]
        mask = torch.zeros(len(windows), 3000, dtype=torch.long)
        for index, count in enumerate(frames):
            mask[index, :count] = 1
        given["feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"] = mask
    token = model.config.audio_token_index if kind == "qwen2_audio" else model.config.audio_token_id
    before, after = lm.tokenize(caption["before"]), lm.tokenize(caption["ask_prompt"].replace("{question}", "What is heard?"))
    ids = torch.tensor([[*before, *[token] * rows, *after]])
    return ids, given | {"input_features": torch.from_numpy(np.stack(mels))}


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_a_language_model_is_the_reference(tmp_path: Path, kind: str) -> None:
    tiny_models.language(tmp_path / kind, kind)
    found = figures(build(BuildOptions(str(tmp_path / kind), tmp_path / "f32", llm="f32"), quiet))
    assert found["language model logits max abs"] <= 1e-3
    assert found["greedy 32 tokens the same"] == 100
    for llm in ("f16", "q8_0", "q4_k_m"):
        assert figures(build(BuildOptions(str(tmp_path / kind), tmp_path / llm, llm=llm), quiet))["language model top-1 agreement"] > 30


def test_a_sentencepiece_tokenizer_splits_as_the_hubs_file_does(tmp_path: Path) -> None:
    """Llama 2, TinyLlama, Mistral: on texts of known words, of unknown characters and of none."""
    count = tiny_models.sentencepiece(tmp_path / "pieces.json")
    tiny_models.language(tmp_path / "source", "llama", vocab_size=count, bos_token_id=1, eos_token_id=2)
    shutil.copyfile(tmp_path / "pieces.json", tmp_path / "source/tokenizer.json")
    path = build(BuildOptions(str(tmp_path / "source"), tmp_path / "out", llm="f32"), quiet)
    assert figures(path)["greedy 32 tokens the same"] == 100
    wanted, model = tokenizers.Tokenizer.from_file(str(tmp_path / "pieces.json")), LlamaModel(path / "language.f32.gguf", context=64)
    letters = np.random.default_rng(1)
    texts = ["", "the dog at home", "it barks at the doorbells, then rings?", "  two  spaces ", "é ü 日本\n\t.", "</s> and <s>"]
    texts += ["".join(letters.choice(list("dogbarkshelt e"), 40)) for _ in range(50)]
    assert len({len(wanted.encode(text).ids) for text in texts}) > 8, "they are split in more ways than one"
    for text in texts:
        ids = wanted.encode(text, add_special_tokens=False).ids
        assert model.tokenize(text) == ids, text
        assert model.detokenize(ids).strip() == wanted.decode(ids).strip()
    model.close()


def test_a_width_that_cannot_be_quantized_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """llama.cpp would store other types with no more than a line in its log."""
    tiny_models.language(tmp_path / "narrow", "llama", hidden_size=192, head_dim=48)
    assert cli.main(["build", str(tmp_path / "narrow"), "--llm", "q4_k_m", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "rows of 192 values" in said
    assert "--llm q8_0" in said
    assert not (tmp_path / "out").exists()
    build(BuildOptions(str(tmp_path / "narrow"), tmp_path / "out", llm="q8_0"), quiet)


def test_scaled_positions_and_foreign_tensors_are_refused(tmp_path: Path) -> None:
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    model = tiny_models.language(tmp_path / "scaled", "llama", rope_parameters=scaled)
    with pytest.raises(BuildError, match="scaled"):
        build(BuildOptions(str(tmp_path / "scaled"), tmp_path / "out"), quiet)
    model.config.rope_parameters = {"rope_type": "default", "rope_theta": 10_000.0}
    state = {**model.state_dict(), "model.layers.0.extra.weight": torch.zeros(4, 256)}
    with pytest.raises(BuildError, match=r"model\.layers\.0\.extra\.weight"):
        write_gguf(model.config, state, tmp_path / "scaled/tokenizer.json", tmp_path / "x.gguf", "f32", "scaled")


def test_yamnet_scores_as_the_bare_interpreter_does(yamnet: Path, tmp_path: Path) -> None:
    """Through windows, hops and the filled-up end: every row is the published model's on those samples."""
    from ai_edge_litert.interpreter import Interpreter

    from edge.encoder import load_model
    from edge.windows import WindowEncoder

    bundle = Bundle.open(build(BuildOptions(str(yamnet), tmp_path / "yamnet"), quiet))
    bare = Interpreter(model_path=str(yamnet / "yamnet.tflite"))
    bare.allocate_tensors()
    given, scored = bare.get_input_details()[0]["index"], bare.get_output_details()[0]["index"]
    for samples in audios([0.4, 0.975, 3.1, 7.77], seed=11):
        encoder = WindowEncoder(bundle, load_model(bundle, 1))
        rows, starts = [], []
        for stop in sorted({*range(5_000, len(samples), 5_000), len(samples)}):
            final = stop == len(samples)
            turn = Turn(1, 0, stop, final, "end" if final else "hop", "sound")
            found = encoder.extend(samples[encoder.begin(turn) : stop])
            rows += list(found.scores)
            starts += [found.start] * (len(found.scores) > 0)
        count = max(1, 1 + -(-(len(samples) - 15_600) // 7_680))
        padded = np.concatenate((samples, np.zeros(15_600, np.float32)))
        assert len(rows) == count
        for index, row in enumerate(rows):
            bare.set_tensor(given, padded[index * 7_680 : index * 7_680 + 15_600].reshape(bare.get_input_details()[0]["shape"]))
            bare.invoke()
            np.testing.assert_allclose(row, bare.get_tensor(scored).reshape(-1), atol=1e-5)
        assert starts[0] == (15_600 - 7_680) // 2


def test_yamnet_names_the_sounds_of_the_scene(yamnet: Path, tmp_path: Path) -> None:
    with Listener(str(build(BuildOptions(str(yamnet), tmp_path / "yamnet"), quiet))) as listener:
        labels = {r["label"] for r in listener.listen(SCENE) if r["type"] == "sound"}
    assert {"Speech", "Knock", "Doorbell"} <= labels


def test_a_folder_without_a_config_finds_its_recipe(yamnet: Path) -> None:
    assert recipe_for(yamnet).name == "yamnet"


def test_every_recipe_is_whole() -> None:
    recipes = all_recipes()
    assert {"language", "whisper", "yamnet"} <= set(recipes)
    types = [t for r in recipes.values() for t in r.model_types]
    assert len(types) == len(set(types)), "one recipe for each model type"
    assert all(r.about and r.targets for r in recipes.values())
    as_they_are = {name for name, r in recipes.items() if not r.encoders and not r.llms}
    assert as_they_are == {"gguf-pair"}, "whoever makes something says in which precisions"


def test_wrong_sources_are_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], whisper: Whisper) -> None:
    """No model, no weights, an unknown type, a damaged config, a name that is nowhere; nothing is left half-written."""
    cases = {
        "empty": ({}, "no config.json"),
        "unknown": ({"config.json": '{"model_type": "bark"}'}, "no recipe is for model_type 'bark'"),
        "typeless": ({"config.json": "{}"}, "names no model_type"),
        "damaged": ({"config.json": "{"}, "names no model_type"),
        "weightless": ({"config.json": '{"model_type": "whisper"}', "tokenizer.json": "{}"}, "it has no weights"),
        "wordless": ({"config.json": '{"model_type": "whisper"}'}, "tokenizer.json is missing"),
    }
    for name, (files, said) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        assert cli.main(["build", str(folder), "--out", str(tmp_path / "out")]) == 1
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(list(cases)[: list(cases).index(name) + 1])
    assert cli.main(["build", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    assert cli.main(["build", str(whisper[1]), "--recipe", "nothing", "--out", str(tmp_path / "out")]) == 1
    assert cli.main(["build", str(whisper[1]), "--recipe", "language", "--out", str(tmp_path / "out")]) == 1
    assert cli.main(["build", str(whisper[1]), "--llm", "q8_0", "--out", str(tmp_path / "out")]) == 1
    assert cli.main(["build", str(whisper[1]), "--encoder", "int4", "--target", "rk3588", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [
        word in line
        for word, line in zip(("no such folder", "no recipe", "config.json says", "no such part", "--rknn-python"), said, strict=True)
    ] == [True] * 5
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/photo.jpg").write_text("mine")
    assert cli.main(["build", str(whisper[1]), "--out", str(tmp_path / "precious")]) == 1
    assert (tmp_path / "precious/photo.jpg").read_text() == "mine"


def test_an_interrupted_build_leaves_nothing(
    whisper: Whisper, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    def stop(line: str) -> None:
        if "decoder" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(BuildOptions(str(whisper[1]), tmp_path / "out"), stop)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_build_goes_on_from_its_whole_parts(whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported graphs are taken over, what was made of them is made again, and the bundle is the same; another option begins anew."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    wanted = build(BuildOptions(str(whisper[1]), tmp_path / "whole", encoder="int8"), quiet)
    assert not list(cache.glob("auricle/builds/*"))
    exported: list[str] = []
    export = seq2seq_parts.export

    def noted(*args: Any) -> None:
        exported.append(args[-1].name)
        export(*args)

    def stop(*args: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(seq2seq_parts, "export", noted)
    with monkeypatch.context() as once:
        once.setattr(seq2seq_parts, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            build(BuildOptions(str(whisper[1]), tmp_path / "out", encoder="int8"), quiet)
    assert exported == ["encoder.onnx"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "whole"]
    (kept,) = cache.glob("auricle/builds/*")
    assert sorted(p.name for p in kept.iterdir()) == ["decoder.gguf", "encoder.onnx"]
    said: list[str] = []
    found = build(BuildOptions(str(whisper[1]), tmp_path / "out", encoder="int8"), said.append)
    assert len(exported) == 1
    for name in ("encoder.onnx", "decoder.gguf"):
        assert f"taking {name} from the build that was interrupted" in said
    assert not list(cache.glob("auricle/builds/*"))
    for name in ("encoder.onnx", "decoder.gguf"):
        assert (found / name).read_bytes() == (wanted / name).read_bytes()
    build(BuildOptions(str(whisper[1]), tmp_path / "other", encoder="fp32"), quiet)
    assert len(exported) == 2


def test_a_full_disk_is_told(whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shutil, "copyfile", full)
    assert cli.main(["build", str(whisper[1]), "--out", str(tmp_path / "out")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_kept_parts_have_their_weights_beside_them_and_are_not_changed_by_what_is_made_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model above what one ONNX file holds; int8 folds its graph in place."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    nodes = [helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]), helper.make_node("MatMul", ["x", "turned"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("x", 32), ("y", 64)))
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (tmp_path / "source").mkdir()
    (tmp_path / "names.txt").write_text("a")
    kept, said = Kept(tmp_path / "source", {"labels": str(tmp_path / "names.txt")}, "1"), list[str]()
    for name, big in (("small.onnx", False), ("big.onnx", True)):
        path, rows = tmp_path / name, {"x": np.ones((1, 32), np.float32)}
        where = {"save_as_external_data": True, "location": f"{name}.data", "size_threshold": 0} if big else {}
        kept.step(path, lambda path=path, where=where: onnx.save(model, str(path), **where), said.append)
        wanted = OnnxModel(path).run(rows)["y"]
        quantize(path, "int8")
        for part in (path, path.with_name(f"{name}.data")):
            part.unlink(missing_ok=True)
        kept.step(path, lambda: pytest.fail("it was kept"), said.append)
        np.testing.assert_array_equal(OnnxModel(path).run(rows)["y"], wanted)
        assert [node.op_type for node in onnx.load(str(path)).graph.node] == ["Transpose", "MatMul"]
    assert len(said) == 2
    (tmp_path / "names.txt").write_text("another")
    assert Kept(tmp_path / "source", {"labels": str(tmp_path / "names.txt")}, "1").folder != kept.folder
    Kept(tmp_path / "source", {"licence": "free text " * 50}, "1")


def test_figures_are_compared_on_the_same_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The starter's receipt tells each figure of two editions."""
    bundle = Path(shutil.copytree(STARTER, tmp_path / "other"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    figures = manifest["receipt"]["figures"]
    kind = next(f["name"] for f in figures if sum(g["name"] == f["name"] for g in figures) > 1)
    both = [figure for figure in figures if figure["name"] == kind]
    both[0]["value"] = 0.123
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["compare", str(STARTER), str(bundle)]) == 0
    told = capsys.readouterr().out.splitlines()
    for figure in both:
        at = told.index(f"on {figure['data']}:")
        line = next(line for line in told[at:] if line.startswith(f"  {kind[:31]}"))
        assert line.split()[-2] == f"{figure['value']:g}"
    only = {**figures[0], "name": "bytes of one part"}
    for folder, data, value in ((tmp_path / "one", "q8_0", 3.0), (bundle, "f16", 6.0)):
        path = (folder if folder == bundle else Path(shutil.copytree(STARTER, folder))) / "manifest.json"
        manifest["receipt"]["figures"] = [{**only, "data": data, "value": value}]
        path.write_text(json.dumps(manifest))
    assert cli.main(["compare", str(tmp_path / "one"), str(bundle)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[told.index("on q8_0 and f16:") + 1].split()[-4::2] == ["3", "6"]


def test_every_token_that_ends_a_text_ends_it(tmp_path: Path) -> None:
    tiny_models.language(tmp_path / "source", "llama", seed=5)

    def said(*ends: int) -> list[int]:
        generation = {"eos_token_id": [tiny_models.END, *ends]}
        (tmp_path / "source/generation_config.json").write_text(json.dumps(generation))
        path = build(BuildOptions(str(tmp_path / "source"), tmp_path / f"with-{len(ends)}", llm="f32"), quiet)
        model = LlamaModel(path / "language.f32.gguf", context=64)
        try:
            return model.decode([70, 71, 72], [], 0, 20)
        finally:
            model.close()

    alone = said()
    late = next(token for token in alone if alone.index(token) > 3)
    assert said(late) == alone[: alone.index(late)]
    assert said(tiny_models.START, late) == alone[: alone.index(late)]
    assert said(tiny_models.END, tiny_models.START, late, late) == alone[: alone.index(late)]
    with pytest.raises(BuildError, match="4 tokens end a text"):
        said(tiny_models.START, 70, late)


def test_a_whisper_whose_languages_only_the_tokenizer_names_speaks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_models.whisper(tmp_path / "source")
    monkeypatch.setattr("export.whisper_text.MULTILINGUAL", 264)
    path = tmp_path / "source/tokenizer.json"
    tokens = json.loads(path.read_text())
    free = [i for i in range(200, 260) if i not in {entry["id"] for entry in tokens["added_tokens"]}]
    names = ["<|en|>", "<|de|>", "<|yue|>", "<|translate|>", "<|notimestamps|>", "<|transcribe|>"]
    own = dict(zip(names, free, strict=False))
    tokens["added_tokens"] += [{**tokens["added_tokens"][0], "content": name, "id": id} for name, id in own.items()]
    path.write_text(json.dumps(tokens))
    work = SimpleNamespace(source=tmp_path / "source", options={"language": "de"}, setting=_settings(tmp_path / "source"))
    work.json = lambda name, optional=False: json.loads((tmp_path / "source" / name).read_text())
    told = text_of(work)
    assert told["prompt_ids"] == [tiny_models.START, own["<|de|>"], own["<|transcribe|>"], own["<|notimestamps|>"]]
    assert told["languages"] == {"en": own["<|en|>"], "de": own["<|de|>"], "yue": own["<|yue|>"]}
    assert told["tasks"] == {"transcribe": own["<|transcribe|>"], "translate": own["<|translate|>"]}
    tokens["added_tokens"].pop()
    path.write_text(json.dumps(tokens))
    with pytest.raises(BuildError, match=r"has <\|transcribe\|>"):
        text_of(work)


def _settings(source: Path) -> Any:
    return json.loads((source / "config.json").read_text()).__getitem__


def test_verify_and_compare_run_what_they_judge(whisper: Whisper, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(whisper[2])]) == 0
    assert "200 rows of 64 values" in capsys.readouterr().out
    assert cli.main(["compare", str(whisper[2]), str(whisper[2])]) == 0
    assert "1.000000" in capsys.readouterr().out
    damaged = shutil.copytree(whisper[2], tmp_path / "damaged")
    data = bytearray((damaged / "encoder.onnx").read_bytes())
    data[1_000] ^= 1
    (damaged / "encoder.onnx").write_bytes(data)
    assert cli.main(["verify", str(damaged)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_a_tokenizer_that_is_none_is_refused(whisper: Whisper, tmp_path: Path) -> None:
    import hashlib

    broken = shutil.copytree(whisper[2], tmp_path / "broken")
    manifest = json.loads((broken / "manifest.json").read_text())
    for text, error in (("[]", BundleError), ('{"model": {"type": "Nothing"}}', BackendError)):
        (broken / "tokenizer.json").write_text(text)
        (entry,) = (m for m in manifest["models"] if m["role"] == "tokenizer")
        entry |= {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        (broken / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(error, match=r"tokenizer\.json"):
            Listener(str(broken))


def test_cosine_of_rows() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert cosine(rows, rows) == pytest.approx(1.0)
    assert cosine(rows, rows[::-1]) == pytest.approx(0.0)


PUBLISHED = Path(__file__).resolve().parent / "golden/published_whisper"


@pytest.mark.usefixtures("unguarded")
def test_published_onnx_files_say_what_the_reference_says(tmp_path: Path) -> None:
    """Files that optimum itself exported, taken as they are, with the merged decoder's two branches; 30 s of mels for every window."""
    from safetensors.torch import load_file
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(**json.loads((PUBLISHED / "config.json").read_text()))
    model = WhisperForConditionalGeneration(config).eval()
    missing, unexpected = model.load_state_dict(load_file(PUBLISHED.with_suffix(".safetensors")), strict=False)
    assert set(missing) <= {"proj_out.weight"}
    assert not unexpected
    model.tie_weights()
    bundle = build(BuildOptions(str(PUBLISHED), tmp_path / "bundle"), quiet)
    texts = set()
    for samples in audios([1.0, 2.5, 7.3, 29.0, 41.0], seed=4):
        full = np.concatenate((samples, np.zeros(-len(samples) % 480_000, np.float32)))
        wanted = [t for at in range(0, len(full), 480_000) for t in generated(model, full[at : at + 480_000], [])]
        line, _ = told(bundle, samples, [len(samples)])
        assert line._open.tokens == wanted
        texts.add(tuple(wanted))
    assert len(texts) > 2, "the sounds must be told apart, or this proves nothing"
    line, captions = told(bundle, samples[:64_000], [16_000, 32_000, 48_000, 64_000])
    forced = list(line._open.tokens)
    assert captions[-1].final
    assert forced == told(bundle, samples[:64_000], [16_000, 32_000, 48_000, 64_000])[0]._open.tokens


def test_published_files_need_no_torch(tmp_path: Path) -> None:
    """A device builds the bundle and captions with it: nothing of the toolchain's heavy half is imported."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = sys.modules['gguf'] = None\n"
        "from export.cli import main\n"
        f"assert main(['build', {str(PUBLISHED)!r}, '--out', {str(tmp_path / 'bundle')!r}]) == 0\n"
        f"assert main(['verify', {str(tmp_path / 'bundle')!r}]) == 0\n"
        "assert main(['list']) == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1500 rows of 16 values" in done.stdout
    assert "whisper-onnx" in done.stdout


def test_what_is_published_in_another_precision_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"no encoder_model\*\.onnx in int8"):
        build(BuildOptions(str(PUBLISHED), tmp_path / "bundle", encoder="int8"), quiet)
    split = shutil.copytree(PUBLISHED, tmp_path / "split")
    (split / "encoder_model.onnx_data").write_bytes(b"weights")
    with pytest.raises(BuildError, match="second file"):
        build(BuildOptions(str(split), tmp_path / "bundle"), quiet)


def test_only_a_whole_bundle_is_replaced(whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's manifest.json makes no bundle; and a bundle comes back when the new one cannot take its place."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text('{"name": "web app"}')
    (site / "photo.jpg").write_text("mine")
    with pytest.raises(BuildError, match="no whole bundle"):
        build(BuildOptions(str(PUBLISHED), site), quiet)
    assert (site / "photo.jpg").read_text() == "mine"
    kept = shutil.copytree(whisper[2], tmp_path / "kept")
    replace, moves = os.replace, []

    def second_fails(old: Any, new: Any) -> None:
        moves.append(Path(new).name)
        if moves.count("kept") == 1 and Path(old).name == ".kept.part":
            raise OSError(5, "Input/output error")
        replace(old, new)

    monkeypatch.setattr("edge.hub.os.replace", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        build(BuildOptions(str(PUBLISHED), kept), quiet)
    assert Bundle.open(kept).name == "bundle"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "site"]


def test_a_model_of_several_files_is_quantized_into_one(whisper: Whisper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch writes what is larger than 1.5 GB."""
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 0)
    bundle = build(BuildOptions(str(whisper[1]), tmp_path / "int8", encoder="int8"), quiet)
    assert sorted(p.name for p in bundle.iterdir()) == ["decoder.gguf", "encoder.onnx", "manifest.json", "tokenizer.json"]
    with pytest.raises(BuildError, match="larger than one ONNX file may be"):
        build(BuildOptions(str(whisper[1]), tmp_path / "fp32", encoder="fp32"), quiet)


def test_damaged_weights_and_foreign_folders_are_told(whisper: Whisper, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = shutil.copytree(whisper[1], tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0nothing of use")
    other = shutil.copytree(PUBLISHED, tmp_path / "other")
    (other / "config.json").write_text('{"model_type": "wav2vec2"}')
    thin = shutil.copytree(PUBLISHED, tmp_path / "thin")
    (thin / "config.json").write_text('{"model_type": "whisper"}')
    endless = tmp_path / "endless"
    tiny_models.language(endless, "llama", eos_token_id=None)
    cases = {
        damaged: "cannot read its weights",
        other: "no recipe is for model_type 'wav2vec2'",
        thin: "names no ",
        endless: "which token ends",
    }
    for folder, said in cases.items():
        assert cli.main(["build", str(folder), "--out", str(tmp_path / "out")]) == 1
        told = capsys.readouterr().err.splitlines()
        assert said in told[-1]
        assert not (tmp_path / "out").exists()
    assert cli.main(["build", str(PUBLISHED), "--language", "de", "--out", str(tmp_path / "out")]) == 1
    assert "English only" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"caption": {"never_ids": [1_000_000]}},
        {"front_end": {"bands": 40}},
        {"caption": {"prompt_ids": [70_000]}},
        {"encoder": {"pad_to_s": 5}},
    ],
)
def test_a_manifest_that_is_not_its_models_is_refused_when_loaded(tmp_path: Path, change: dict[str, dict[str, Any]]) -> None:
    bundle = build(BuildOptions(str(PUBLISHED), tmp_path / "bundle"), quiet)
    manifest = json.loads((bundle / "manifest.json").read_text())
    for table, keys in change.items():
        manifest[table] |= keys
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="do not go together"):
        Listener(str(bundle))


def test_scores_of_a_very_short_turn_lie_inside_it(yamnet: Path, tmp_path: Path) -> None:
    from edge.encoder import load_model
    from edge.windows import WindowEncoder

    bundle = Bundle.open(build(BuildOptions(str(yamnet), tmp_path / "yamnet"), quiet))
    encoder = WindowEncoder(bundle, load_model(bundle, 1))
    turn = Turn(1, 100, 2_100, True, "end", "sound")
    encoder.begin(turn)
    found = encoder.extend(np.zeros(2_000, np.float32))
    assert 100 <= found.start < found.stop <= 2_100
    assert len(found.scores) == 1


def test_the_layer_that_quantization_hurts_is_named(tmp_path: Path) -> None:
    """One weight far outside the others' range makes one activation far outside its fellows': their 8 bits leave the next layer nothing."""
    source = tmp_path / "source"
    model = tiny_models.whisper(source)
    with torch.no_grad():
        model.model.encoder.layers[1].fc1.weight[0, 0] = 60.0
    model.save_pretrained(source)
    with pytest.raises(BuildError, match=r"0\.998; of\.layers\.1\.fc2, .* lose most\); choose --encoder fp32"):
        build(BuildOptions(str(source), tmp_path / "bundle", encoder="int8"), quiet)


def test_a_receipt_names_three_layers(whisper: Whisper, tmp_path: Path) -> None:
    found = figures(build(BuildOptions(str(whisper[1]), tmp_path / "bundle", encoder="int8"), quiet))
    losses = [value for name, value in found.items() if name.startswith("loss of cosine in ")]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    assert all(-0.01 < value < 0.01 for value in losses)
