"""AST and CLAP: small random instances whose spectrogram is part of the graph, run by the runtime, against transformers' own chain."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models

from edge import cli as edge_cli
from edge.backends.onnx import OnnxModel
from edge.bundle import Bundle
from edge.types import Turn
from edge.windows import WindowEncoder
from export import cli
from export.build import BuildOptions, build
from export.onnx_parts import audios
from export.recipes.clap import PROMPT
from export.recipes.recipe import BuildError
from export.spectrogram import faster

WORDS = ("a dog barking", "rain on a roof", "somebody laughing", "an engine")


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def figures(bundle: Path) -> dict[str, float]:
    return {f["name"]: f["value"] for f in json.loads((bundle / "manifest.json").read_text())["receipt"]["figures"]}


def ast(folder: Path) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """Scores of a window by the published chain, and what to build with."""
    from transformers import ASTFeatureExtractor

    model = tiny_models.ast(folder)
    extractor = ASTFeatureExtractor.from_pretrained(folder)

    def score(window: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given = extractor(window, sampling_rate=16_000, return_tensors="pt")["input_values"].float()
            return np.asarray(model(given).logits[0].sigmoid())

    return score, {"window": "1.5"}


def clap(folder: Path) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """The same, by the processor and both towers: zero-shot classification as transformers' pipeline computes it."""
    from transformers import AutoTokenizer, ClapFeatureExtractor

    model = tiny_models.clap(folder)
    extractor, tokenizer = ClapFeatureExtractor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    (folder / "labels.txt").write_text("\n".join(WORDS) + "\n")

    def score(window: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            heard = extractor(faster(window, 3), sampling_rate=48_000, return_tensors="pt")
            text = tokenizer([PROMPT.format(word) for word in WORDS], padding=True, return_tensors="pt")
            found = model(
                input_ids=text["input_ids"],
                attention_mask=text["attention_mask"],
                input_features=heard["input_features"].float(),
                is_longer=heard["is_longer"],
            )
            return np.asarray(found.logits_per_audio[0].softmax(dim=0))

    return score, {"labels": str(folder / "labels.txt")}


@pytest.mark.parametrize("kind", [ast, clap])
def test_windows_score_as_the_published_chain_does(tmp_path: Path, kind: Any) -> None:
    """Every window of sounds of 1 to 20 s, heard in hops; what is shorter than a window is filled up with silence."""
    score, options = kind(tmp_path / "source")
    path = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32", options=options), quiet)
    assert figures(path)["logits max abs"] <= 1e-4
    bundle = Bundle.open(path)
    window, hop = bundle.encoder.integer("window", 1, 10**6), bundle.encoder.integer("hop", 1, 10**6)
    model, told = OnnxModel(path / "encoder.onnx"), []
    for samples in audios([1.0, 3.3, 8.0, 20.0], seed=11):
        encoder, found = WindowEncoder(bundle, model), []
        stops = [*range(9_600, len(samples), 9_600), len(samples)]
        for stop in stops:
            turn = Turn(1, 0, stop, stop == len(samples), "end" if stop == len(samples) else "hop", "sound")
            begin = encoder.begin(turn)
            found.extend(encoder.extend(samples[begin:stop]).scores)
        padded = np.pad(samples, (0, window))
        wanted = np.stack([score(padded[i * hop : i * hop + window]) for i in range(len(found))])
        assert len(found) >= max(1, (len(samples) - window) // hop + 1)
        np.testing.assert_allclose(np.stack(found), wanted, atol=1e-4)
        told += found
    assert np.ptp(np.stack(told), axis=0).max() > 0.01, "the sounds must be told apart, or this proves nothing"
    bundle.close()


@pytest.mark.parametrize("kind", [ast, clap])
def test_a_quantized_one_keeps_its_filter_bank(tmp_path: Path, kind: Any) -> None:
    """With the bank in 8 bits, AST's logits have a cosine of 0.78 with the reference's."""
    _, options = kind(tmp_path / "source")
    path = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="int8", options=options), quiet)
    assert figures(path)["logits cosine"] >= 0.998


GOLDEN = json.loads((Path(__file__).parent / "golden/hts_at.json").read_text())
"""Scores by the authors' own code, golden/make_hts_at.py."""


@pytest.mark.parametrize("index", range(len(GOLDEN["seconds"])))
def test_hts_at_scores_as_its_authors_code_does(tmp_path: Path, index: int) -> None:
    """The same checkpoint and sounds; a window that is shorter than 10 s is repeated as their infer_mode does."""
    source, seconds = tmp_path / "source", GOLDEN["seconds"][index]
    tiny_models.hts_at(source)
    table = "index,mid,display_name\n" + "".join(f'{i},/m/{i},"Label, {i}"\n' for i in range(527))
    (source / "class_labels_indices.csv").write_text(table)
    options = BuildOptions(str(source), tmp_path / "bundle", encoder="fp32", options={"window": str(seconds)})
    path = build(options, quiet)
    assert figures(path)["logits max abs"] <= 1e-4
    assert json.loads((path / "manifest.json").read_text())["labels"][7] == "Label, 7"
    sound = audios(GOLDEN["seconds"], seed=3)[index]
    found = OnnxModel(path / "encoder.onnx").run({"samples": sound[None]})["scores"][0]
    wanted = np.array(GOLDEN["scores"][index])
    np.testing.assert_allclose(found[: len(wanted)], wanted, atol=2e-5)
    assert np.ptp(np.array(GOLDEN["scores"]), axis=0).max() > 0.01, "the sounds must be told apart, or this proves nothing"


def test_hts_at_in_8_bits_and_with_labels_of_its_own(tmp_path: Path) -> None:
    """One of the few labels of a fine-tuned model: scores add up to 1."""
    source = tmp_path / "source"
    tiny_models.hts_at(source, labels=4)
    (source / "words.txt").write_text("\n".join(WORDS))
    path = build(BuildOptions(str(source), tmp_path / "bundle", encoder="int8", options={"labels": str(source / "words.txt")}), quiet)
    assert figures(path)["logits cosine"] >= 0.998
    bundle = Bundle.open(path)
    scores = OnnxModel(path / "encoder.onnx").run({"samples": audios([2.0])[0][None]})["scores"][0]
    assert (bundle.labels, scores.sum()) == (WORDS, pytest.approx(1.0, abs=1e-5))
    bundle.close()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda source: (source / "words.txt").write_text("dog\ncat\n"), "tells 4 labels, the list names 2"),
        (lambda source: (source / "HTSAT.ckpt").write_bytes(b"no weights"), "holds more than weights, or is damaged"),
        (lambda source: torch.save({"state_dict": {"sed_model.bn0.weight": torch.ones(3)}}, source / "HTSAT.ckpt"), "has no patch_embed"),
        (lambda source: _without(source, "layers.2.blocks.1.norm1.bias"), "are not those of an HTS-AT .*is missing"),
        (lambda source: _without(source, "layers.1.blocks.0.attn.relative_position_bias_table"), "are not numbered from 0"),
        (lambda source: (source / "words.txt").unlink(), "cannot be read"),
    ],
)
def test_what_is_no_hts_at_is_told(tmp_path: Path, spoil: Callable[[Path], Any], why: str) -> None:
    source = tmp_path / "source"
    tiny_models.hts_at(source, labels=4)
    (source / "words.txt").write_text("\n".join(WORDS))
    spoil(source)
    with pytest.raises(BuildError, match=why):
        build(BuildOptions(str(source), tmp_path / "bundle", options={"labels": str(source / "words.txt")}), quiet)
    assert not (tmp_path / "bundle").exists()


def test_hts_at_without_a_list_of_labels_says_where_there_is_one(tmp_path: Path) -> None:
    tiny_models.hts_at(tmp_path / "source", labels=4)
    with pytest.raises(BuildError, match=r"class_labels_indices\.csv"):
        build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle"), quiet)


def _without(source: Path, name: str) -> None:
    weights = tiny_models.hts_at(source, labels=4)
    weights.pop(name)
    torch.save({"state_dict": weights}, source / "HTSAT.ckpt")


def test_words_become_sound_records(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`auricle caption` over a scene names what was put on the list."""
    clap(tmp_path / "source")
    command = ["build", str(tmp_path / "source"), "--encoder", "fp32", "--out", str(tmp_path / "bundle")]
    assert cli.main([*command, "--labels", str(tmp_path / "source/labels.txt")]) == 0
    manifest = tmp_path / "bundle/manifest.json"
    held = json.loads(manifest.read_text())
    assert held["labels"] == list(WORDS)
    held["sounds"]["default"] |= {"on": 0.26, "off": 0.255}
    manifest.write_text(json.dumps(held))
    capsys.readouterr()
    scene = Path(__file__).resolve().parents[1] / "edge/data/demo_scene.flac"
    assert edge_cli.main(["caption", str(scene), "--bundle", str(tmp_path / "bundle"), "--format", "jsonl"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {r["label"] for r in records if r["type"] == "sound"} & set(WORDS)
    assert not [r for r in records if r["type"] == "caption"]


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tiny_models.clap(source)

    def fails(match: str, **options: str) -> None:
        with pytest.raises(BuildError, match=match):
            build(BuildOptions(str(source), tmp_path / "bundle", options=options), quiet)
        assert not (tmp_path / "bundle").exists()

    fails("windows of 0.1 to 10 s", window="11")
    fails("windows of 0.1 to 10 s", window="two")
    fails("cannot be read", labels=str(tmp_path / "nothing.txt"))
    (tmp_path / "one.txt").write_text("dog\n\n")
    fails("at least two labels", labels=str(tmp_path / "one.txt"))
    (tmp_path / "twice.txt").write_text("dog\ndog\n")
    fails("each once", labels=str(tmp_path / "twice.txt"))
    config = json.loads((source / "config.json").read_text())
    config["audio_config"]["enable_fusion"] = True
    (source / "config.json").write_text(json.dumps(config))
    fails("take the unfused")
