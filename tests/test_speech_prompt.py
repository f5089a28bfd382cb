"""Language, task, earlier text and beam of a random multilingual Whisper, against its reference."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models

from edge import Listener
from edge.bundle import Bundle
from edge.config import load
from edge.errors import BundleError
from edge.features import whisper_log_mel
from edge.sinks.record import as_dict
from edge.speech_prompt import SpeechOptions
from edge.transcriber import Transcriber, load_models
from edge.types import Turn
from export.build import BuildOptions, build
from export.onnx_parts import audios
from export.recipes.whisper import reference

LANGUAGES = {"en": 19, "de": 106, "fr": 63}
TASKS = {"transcribe": 80, "translate": 81}
PREVIOUS = tiny_models.SPECIAL["<|nothing|>"]
SCENE = Path(__file__).resolve().parents[1] / "edge/data/demo_scene.flac"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A random Whisper with three languages, and its float bundle."""
    root = tmp_path_factory.mktemp("whisper")
    made = tiny_models.whisper(root / "source", seed=3, max_target_positions=96)
    generation = json.loads((root / "source/generation_config.json").read_text())
    generation |= {"lang_to_id": {f"<|{k}|>": v for k, v in LANGUAGES.items()}, "task_to_id": TASKS}
    (root / "source/generation_config.json").write_text(json.dumps(generation))
    tokens = json.loads((root / "source/tokenizer.json").read_text())
    for entry in tokens["added_tokens"]:
        if entry["id"] == PREVIOUS:
            entry["content"] = "<|startofprev|>"
    tokens["model"]["vocab"].pop("<|nothing|>", None)
    (root / "source/tokenizer.json").write_text(json.dumps(tokens))
    bundle = build(BuildOptions(str(root / "source"), root / "bundle", encoder="fp32"), lambda line: None)
    caption = json.loads((bundle / "manifest.json").read_text())["caption"]
    assert caption["languages"] == LANGUAGES
    assert caption["tasks"] == TASKS
    assert (caption["previous_id"], caption["positions"]) == (PREVIOUS, 96)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["caption"]["limit_tokens"] = 24
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return made, bundle


def reader(bundle: Path, **options: Any) -> Transcriber:
    opened = Bundle.open(bundle)
    return Transcriber(opened, load_models(opened, 1), SpeechOptions(**options))


def generated(model: Any, samples: np.ndarray, prompt: list[int], beams: int = 1, forced: int = 0) -> list[int]:
    from transformers import GenerationConfig, GenerationMixin

    state, _ = reference(model, whisper_log_mel(np.pad(samples, (0, -len(samples) % 320)), 80)[None])
    shape = GenerationConfig(
        max_new_tokens=24 - forced,
        do_sample=False,
        num_beams=beams,
        length_penalty=1.0,
        early_stopping=False,
        eos_token_id=tiny_models.END,
        pad_token_id=tiny_models.END,
        suppress_tokens=[1, 2],
        begin_suppress_tokens=None if forced else [tiny_models.END],
    )
    found = GenerationMixin.generate(model, encoder_outputs=state, decoder_input_ids=torch.tensor([prompt]), generation_config=shape)
    said = found[0, len(prompt) :].tolist()
    return said[: said.index(tiny_models.END)] if tiny_models.END in said else said


def prompt(language: str = "en", task: str = "transcribe") -> list[int]:
    return [tiny_models.START, LANGUAGES[language], TASKS[task]]


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(("language", "translate"), [("de", False), ("fr", True), (None, False)])
def test_a_language_and_a_task_are_the_reference_s_tokens(model: tuple[Any, Path], language: str | None, translate: bool) -> None:
    line = reader(model[1], language=language, translate=translate)
    task = "translate" if translate else "transcribe"
    for samples in audios([1.3, 4.0, 7.7], seed=2):
        assert line.transcribe(samples) == generated(model[0], samples, prompt(language or "en", task))


@pytest.mark.usefixtures("unguarded")
def test_auto_takes_the_likeliest_language_of_each_turn(model: tuple[Any, Path]) -> None:
    line, heard = reader(model[1], language="auto"), set()
    for samples in audios(np.linspace(1.0, 8.0, 12).tolist(), seed=4):
        state, _ = reference(model[0], whisper_log_mel(np.pad(samples, (0, -len(samples) % 320)), 80)[None])
        with torch.inference_mode():
            logits = model[0](encoder_outputs=state, decoder_input_ids=torch.tensor([[tiny_models.START]])).logits[0, 0]
        likeliest = max(LANGUAGES, key=lambda name: float(logits[LANGUAGES[name]]))
        said = line.transcribe(samples)
        assert line._prompt.heard == likeliest
        assert said == generated(model[0], samples, prompt(likeliest))
        heard.add(likeliest)
    assert len(heard) > 1, "the sounds must be told apart, or this proves nothing"


@pytest.mark.usefixtures("unguarded")
def test_the_turn_before_is_what_came_earlier(model: tuple[Any, Path]) -> None:
    line, said, other = reader(model[1], carry_tokens=10), list[int](), 0
    for number, samples in enumerate(audios([2.0, 3.0, 4.4], seed=6)):
        turn = Turn(number + 1, 0, len(samples), True, "end", "speech", speech=True)
        line.begin(turn)
        caption = line.revise(turn, line.extend(samples), [])
        before = [PREVIOUS, *said[-10:]] if said else []
        assert line._prompt.before == before
        assert list(line._open.tokens) == generated(model[0], samples, [*before, *prompt()])
        other += list(line._open.tokens) != generated(model[0], samples, prompt())
        said = list(line._open.tokens)
        assert caption is not None
        assert as_dict(caption)["language"] == "en"
    assert len(said) > 10
    assert other > 0, "else nobody listened to it"


def test_what_was_cut_by_a_guard_is_not_carried(model: tuple[Any, Path]) -> None:
    """A loop that is fed to the next turn would go on there."""
    line = reader(model[1], carry_tokens=10)
    line._open.tokens, line._guard = [65] * 12, "loop"
    line.begin(Turn(9, 0, 16_000, True, "end", "speech", speech=True))
    assert line._prompt.before == []


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("beams", [2, 3, 5])
def test_a_beam_finds_what_the_reference_finds(model: tuple[Any, Path], beams: int) -> None:
    line, other = reader(model[1], beam=beams), 0
    for samples in audios([1.0, 2.2, 3.1, 5.0, 6.5, 9.0], seed=8):
        found = line.transcribe(samples, final=True)
        assert found == generated(model[0], samples, prompt(), beams)
        other += found != line.transcribe(samples)
    assert other > 0, "else greedy would have done"


@pytest.mark.usefixtures("unguarded")
def test_a_beam_keeps_what_is_committed(model: tuple[Any, Path]) -> None:
    line = reader(model[1], beam=3)
    (samples,) = audios([4.0], seed=9)
    forced = [90, 91, 92]
    found = line.transcribe(samples, forced, 3, final=True)
    assert found[:3] == forced
    assert found == [*forced, *generated(model[0], samples, [*prompt(), *forced], 3, forced=3)]


def test_what_a_bundle_cannot_do_is_refused_in_one_sentence(model: tuple[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"does not know the language 'xx'; it knows de, en, fr"):
        Listener(model[1], load(flags={"language": "xx"}))
    tiny_models.whisper(tmp_path / "source")
    english = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32"), lambda line: None)
    for flags, says in (
        ({"language": "de"}, "does not know the language 'de'"),
        ({"language": "auto"}, "knows one language"),
        ({"translate": True}, "does not translate"),
        ({"carry_tokens": 5}, "takes no earlier text"),
    ):
        with pytest.raises(BundleError, match=says):
            Listener(english, load(flags=flags))


def test_the_whole_line_takes_the_options(model: tuple[Any, Path]) -> None:
    with Listener(model[1], load(flags={"language": "auto", "carry_tokens": 12, "beam": 2})) as listener:
        captions = [r for r in listener.listen(SCENE) if r["type"] == "caption"]
    assert {c["language"] for c in captions} <= set(LANGUAGES)
    assert captions
    with Listener(config=load(flags={"language": "de"})) as starter:
        assert "add --speech" in starter._line.notices[0]
