"""Published GGUF pairs through mtmd: rows of the reference, answers of the reference behind them, faults in one sentence."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models

from edge.backends.llama import LlamaModel
from edge.backends.mtmd import MtmdTower
from edge.features import whisper_log_mel
from edge.listener import Listener
from export import cli
from export.build import BuildOptions, build, recipe_for
from export.onnx_parts import audios
from export.recipes.recipe import BuildError


def quiet(line: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("pair")
    return tiny_models.gguf_pair(folder), folder


@pytest.fixture(scope="module")
def bundle(pair: tuple[Any, Path]) -> Path:
    out = pair[1].parent / "pair-bundle"
    return build(BuildOptions(str(pair[1]), out, options={"chat_template": "chatml"}), quiet)


def test_a_pair_hears_what_the_reference_hears(pair: tuple[Any, Path], bundle: Path) -> None:
    """Rows of mtmd against transformers (its products are of 16 bits), text against the reference's language model behind the same rows."""
    model, _ = pair
    manifest = json.loads((bundle / "manifest.json").read_text())
    caption, window = manifest["caption"], round(manifest["encoder"]["window_s"] * 16_000)
    assert caption["before"] == "<|im_start|>user\n<|audio_bos|>"
    texts = set()
    with Listener(str(bundle)) as listener:
        lm = listener._line.text_model
        assert lm is not None
        encoder = listener._line.upper_stairs()[0]
        for samples in audios([1.0, 9.77, 29.9, 45.0], seed=9):
            rows = encoder.whole([samples]).vectors
            windows = [samples[at : at + window] for at in range(0, len(samples), window)]
            assert len(rows) == 750 * len(windows)
            mels = [whisper_log_mel(np.concatenate((w, np.zeros(480_000 - len(w), np.float32))), 128) for w in windows]
            with torch.inference_mode():
                states = [model.model.audio_tower(torch.from_numpy(mel[None])).last_hidden_state[0] for mel in mels]
                wanted = model.model.multi_modal_projector(torch.cat(states)).numpy()
                cosines = (rows * wanted).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(wanted, axis=1)
                assert cosines.min() > 0.999
                after = lm.tokenize(caption["ask_prompt"].replace("{question}", "What is heard?"))
                embed = model.get_input_embeddings()
                parts = embed(torch.tensor(lm.tokenize(caption["before"]))), torch.from_numpy(rows), embed(torch.tensor(after))
                x = torch.cat(parts)[None]
                end = model.config.text_config.eos_token_id
                said = model.generate(
                    inputs_embeds=x,
                    attention_mask=torch.ones(x.shape[:2], dtype=torch.long),
                    max_new_tokens=caption["ask_tokens"],
                    do_sample=False,
                    eos_token_id=end,
                    pad_token_id=end,
                )[0].tolist()
            said = said[: said.index(end)] if end in said else said
            answer = listener._line.ask(samples, "What is heard?").text
            assert answer == lm.detokenize(said).strip()
            texts.add(answer)
    assert len(texts) > 2, "the sounds must be told apart, or this proves nothing"


def test_a_folder_of_a_pair_finds_its_recipe(pair: tuple[Any, Path]) -> None:
    assert recipe_for(pair[1]).name == "gguf-pair"


def test_what_is_no_pair_is_told(pair: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, mmproj = pair[1] / "model.gguf", pair[1] / "mmproj.gguf"
    cases = {
        "no template": ([model, mmproj], {}, "no chat template"),
        "unknown template": ([model, mmproj], {"chat_template": "tekno"}, "does not know its chat template"),
        "alone": ([mmproj], {}, "exactly one mmproj and one language model"),
        "two models": ([model, model, mmproj], {}, "exactly one mmproj and one language model"),
    }
    for name, (files, options, what) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        for index, file in enumerate(files):
            shutil.copyfile(file, folder / f"{index}.gguf")
        with pytest.raises(BuildError, match=what):
            build(BuildOptions(str(folder), tmp_path / "out", recipe="gguf-pair", options=options), quiet)
    other = tmp_path / "strangers"
    other.mkdir()
    tiny_models.language(tmp_path / "small", "llama", hidden_size=128, intermediate_size=256, head_dim=32)
    assert cli.main(["build", str(tmp_path / "small"), "--llm", "f32", "--out", str(tmp_path / "small-bundle")]) == 0
    shutil.copyfile(tmp_path / "small-bundle" / "language.f32.gguf", other / "model.gguf")
    shutil.copyfile(mmproj, other / "mmproj.gguf")
    capsys.readouterr()
    assert cli.main(["build", str(other), "--out", str(tmp_path / "out"), "--chat-template", "chatml"]) == 1
    said = capsys.readouterr().err
    assert "another model" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_pair_on_which_llama_cpp_aborts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Voxtral, as of llama-cpp-python 0.3.36: it counts 187 rows in 30 s, makes 188 and ends the process."""
    tiny_models.gguf_pair(tmp_path / "pair", "voxtral")
    assert cli.main(["build", str(tmp_path / "pair"), "--out", str(tmp_path / "out"), "--chat-template", "mistral-v7"]) == 1
    said = capsys.readouterr().err
    assert "expected output 187 tokens, got 188" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_tower_takes_samples_and_is_closed_once(pair: tuple[Any, Path]) -> None:
    tower = MtmdTower(pair[1] / "mmproj.gguf", pair[1] / "model.gguf")
    with pytest.raises(ValueError, match="takes samples"):
        tower.run({"mels": np.zeros((1, 80), np.float32)})
    assert tower.run({"samples": np.zeros((1, 50), np.float32)})["vectors"].shape == (1, 750, 256)
    tower.close()
    tower.close()
    with pytest.raises(ValueError, match="closed"):
        tower.run({"samples": np.zeros((1, 500), np.float32)})


def test_positions_of_several_axes_are_those_of_one(tmp_path: Path) -> None:
    """A Qwen2 written as one of Qwen2.5-Omni's kind (three axes of positions): the same answers behind the same rows."""
    import gguf

    tiny_models.language(tmp_path / "source", "qwen2")
    built = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", llm="f32"), quiet)
    plain, axes = built / "language.f32.gguf", tmp_path / "axes.gguf"
    reader = gguf.GGUFReader(plain)
    out = gguf.GGUFWriter(str(axes), "qwen2vl")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        out.add_key_value(name.replace("qwen2.", "qwen2vl."), field.contents(), kind, sub_type=sub)
    out.add_rope_dimension_sections([8, 12, 12, 0])
    for tensor in reader.tensors:
        out.add_tensor(tensor.name, tensor.data)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    said = []
    for path in (plain, axes):
        model = LlamaModel(path, context=256)
        rng = np.random.default_rng(4)
        model.extend(rng.normal(0, 1, (70, model.width)).astype(np.float32))
        model.extend(rng.normal(0, 1, (9, model.width)).astype(np.float32))
        said.append((model.logits([3, 4, 5]), model.decode([3, 4, 5], [], 0, 32)))
        model.close()
    np.testing.assert_allclose(said[0][0], said[1][0], atol=2e-3)
    assert said[0][1] == said[1][1]
