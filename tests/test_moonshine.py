"""Moonshine and Moonshine streaming: small random instances, built and run by the runtime, against transformers' own generate."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.transcriber import Transcriber, load_models
from edge.types import Turn
from export import cli
from export.build import BuildOptions, build
from export.moonshine_parts import heads_of
from export.onnx_parts import audios

LIMIT = 40
FRAME = 80
Built = tuple[bool, Any, Path, Path]
"""Whether it is the streaming one, the reference model, its folder, its float bundle."""


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module", params=[False, True], ids=["moonshine", "streaming"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("moonshine")
    model = tiny_models.moonshine(root / "source", request.param)
    bundle = build(BuildOptions(str(root / "source"), root / "bundle", encoder="fp32"), quiet)
    manifest = bundle / "manifest.json"
    held = json.loads(manifest.read_text())
    held["caption"]["limit_tokens"] = LIMIT
    manifest.write_text(json.dumps(held))
    return request.param, model, root / "source", bundle


def transcriber(bundle: Path) -> Transcriber:
    opened = Bundle.open(bundle)
    return Transcriber(opened, load_models(opened, 1))


def generated(built: Built, samples: np.ndarray, forced: list[int]) -> list[int]:
    """What the unmodified reference generates for the samples as its processor pads and masks them, the given tokens in front."""
    streaming, model, _, _ = built
    mask = torch.ones(1, len(samples), dtype=torch.long)
    if streaming:
        mask = torch.nn.functional.pad(mask, (0, -len(samples) % FRAME))
        samples = np.pad(samples, (0, -len(samples) % FRAME))
    given = {"input_values": torch.from_numpy(samples)[None], "attention_mask": mask}
    start = torch.tensor([[tiny_models.START, *forced]])
    said = model.generate(**given, decoder_input_ids=start, max_new_tokens=LIMIT - len(forced), do_sample=False)[0, 1:].tolist()
    return said[: said.index(tiny_models.END)] if tiny_models.END in said else said


@pytest.mark.usefixtures("unguarded")
def test_it_says_what_the_reference_says(built: Built) -> None:
    """20 sounds of 1 to 45 s, token for token, window by window."""
    figures = {f["name"]: f["value"] for f in json.loads((built[3] / "manifest.json").read_text())["receipt"]["figures"]}
    assert figures["encoder rows max abs"] <= 1e-4
    assert figures["decoder logits max abs"] <= 1e-3
    texts = set()
    for samples in audios(np.linspace(1.0, 45.0, 20).tolist(), seed=7):
        line = transcriber(built[3])
        turn = Turn(1, 0, len(samples), True, "end", "speech", True)
        line.begin(turn)
        line.revise(turn, line.extend(samples), [])
        wanted = [t for at in range(0, len(samples), 480_000) for t in generated(built, samples[at : at + 480_000], [])]
        assert list(line._open.tokens) == wanted
        texts.add(tuple(wanted))
    assert len(texts) > 10, "the sounds must be told apart, or this proves nothing"


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("seed", range(3))
def test_hops_end_as_the_reference_behind_what_was_committed(built: Built, seed: int) -> None:
    (samples,) = audios([5.37], seed=40 + seed)
    line, captions = transcriber(built[3]), []
    stops = [16_000, 31_234, 48_000, 70_001, len(samples)]
    committed: list[int] = []
    for stop in stops:
        committed = list(line._open.tokens[: line._open.committed])
        turn = Turn(1, 0, stop, stop == stops[-1], "end" if stop == stops[-1] else "hop", "speech", True)
        caption = line.revise(turn, line.extend(samples[line.begin(turn) : stop]), [])
        if caption is not None:
            captions.append(caption)
    assert list(line._open.tokens) == generated(built, samples, committed)
    assert captions[-1].final
    for before, after in pairwise(captions):
        assert after.text[: before.committed] == before.text[: before.committed]


PUBLISHED = Path(__file__).resolve().parent / "golden/published_moonshine"


@pytest.mark.usefixtures("unguarded")
def test_published_onnx_files_say_what_the_reference_says(tmp_path: Path) -> None:
    """Files that optimum itself exported, taken as they are, whole and in hops; nothing of the toolchain's heavy half is needed."""
    from safetensors.torch import load_file
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration

    model = MoonshineForConditionalGeneration(MoonshineConfig(**json.loads((PUBLISHED / "config.json").read_text()))).eval()
    missing, unexpected = model.load_state_dict(load_file(PUBLISHED.with_suffix(".safetensors")), strict=False)
    assert set(missing) <= {"proj_out.weight"}
    assert not unexpected
    model.tie_weights()
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = sys.modules['gguf'] = None\n"
        "from export.cli import main\n"
        f"assert main(['build', {str(PUBLISHED)!r}, '--out', {str(tmp_path / 'bundle')!r}]) == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = tmp_path / "bundle/manifest.json"
    held = json.loads(manifest.read_text())
    held["caption"]["limit_tokens"] = LIMIT
    manifest.write_text(json.dumps(held))
    texts = set()
    for samples in audios([1.0, 2.5, 7.3, 29.0], seed=4):
        wanted = generated((False, model, PUBLISHED, tmp_path), samples, [])
        for stops in ([len(samples)], [*range(12_000, len(samples), 12_000), len(samples)]):
            line = transcriber(tmp_path / "bundle")
            for stop in stops:
                turn = Turn(1, 0, stop, stop == len(samples), "end" if stop == len(samples) else "hop", "speech", True)
                begin = line.begin(turn)
                caption = line.revise(turn, line.extend(samples[begin:stop]), [])
            if len(stops) == 1:
                assert list(line._open.tokens) == wanted
            assert caption is None or caption.final
        texts.add(tuple(wanted))
    assert len(texts) > 2, "the sounds must be told apart, or this proves nothing"


def test_very_short_sounds_are_filled_up(built: Built) -> None:
    line = transcriber(built[3])
    for count in (0, 1, 81, 894, 1600):
        assert isinstance(line.transcribe(np.zeros(count, np.float32)), list)


def test_a_quantized_one_stays_within_its_limit(built: Built, tmp_path: Path) -> None:
    bundle = build(BuildOptions(str(built[2]), tmp_path / "small", encoder="int8"), quiet)
    figures = {f["name"]: f["value"] for f in json.loads((bundle / "manifest.json").read_text())["receipt"]["figures"]}
    assert figures["encoder rows cosine"] >= 0.998


def test_what_it_cannot_do_is_told(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = str(built[2]), str(tmp_path / "bundle")
    assert cli.main(["build", source, "--out", out, "--language", "de"]) == 1
    assert "takes no --language" in capsys.readouterr().err
    config = json.loads((built[2] / "config.json").read_text())
    kind = "num_key_value_heads" if built[0] else "decoder_num_key_value_heads"
    grouped = type("Grouped", (), config | {kind: 1})
    with pytest.raises(EdgeError, match=kind):
        heads_of(grouped, kind.replace("key_value", "attention"), kind)
    assert not Path(out).exists()


def test_of_a_turn_that_grows_only_the_newest_rows_are_encoded(tmp_path: Path) -> None:
    """Rows, keys and values are those of the whole turn, whatever the hops; another sound is encoded from its beginning."""
    tiny_models.moonshine(tmp_path / "source", True)
    line = transcriber(build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32"), quiet))
    other = transcriber(tmp_path / "bundle")

    def whole(sound: np.ndarray) -> dict[str, np.ndarray]:
        other._growing._rows = 0
        return other.encode(sound)

    given, run = list[int](), line._growing._model.run

    def counted(feed: Any) -> Any:
        given.append(feed["input_values"].shape[1])
        return run(feed)

    line._growing._model = SimpleNamespace(run=counted)
    rng = np.random.default_rng(3)
    for sound in audios([14.0, 3.0, 21.3], seed=6):
        stop, hops = 0, 0
        given_before = sum(given)
        while stop < len(sound):
            stop = min(len(sound), stop + int(rng.integers(300, 16_000)))
            hops += 1
            found, wanted = line.encode(sound[:stop]), whole(sound[:stop])
            assert found.keys() == wanted.keys()
            for name, array in wanted.items():
                assert found[name].shape == array.shape, name
                assert float(np.abs(found[name] - array).max()) < 1e-4, (name, stop)
        assert line._growing._reach is not None
        row, left, right = line._growing._reach.row, line._growing._reach.left, line._growing._reach.right
        assert (row, left, right) == (4 * FRAME, 3 + 3 * 15, 2 * 3)
        assert sum(given) - given_before <= len(sound) + hops * (left + right + 1) * row
    first, second = audios([6.0, 6.0], seed=9)
    for other_sound in (first, second, first[:20_000], second[:9_000], first, np.concatenate((first, second))):
        wanted = whole(other_sound)["last_hidden_state"]
        assert float(np.abs(line.encode(other_sound)["last_hidden_state"] - wanted).max()) < 1e-4
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    del manifest["encoder"]["left_rows"]
    (tmp_path / "bundle/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EdgeError, match="'left_rows' is missing"):
        transcriber(tmp_path / "bundle")
