"""When each word was said: against what OpenAI's and Moonshine's own code finds, by brute force, and in captions of random models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from edge import Listener
from edge.bundle import Bundle
from edge.config import load
from edge.errors import BundleError
from edge.serve.broadcast import Broadcast
from edge.serve.transcriptions import Transcriptions
from edge.serve.web import Vital, Web, application
from edge.speech_prompt import SpeechOptions
from edge.transcriber import Transcriber, load_models
from edge.types import Samples, Turn
from edge.word_times import Span, _median, starts, timed, words_of

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
SCENE = HERE.parent / "edge/data/demo_scene.flac"
FOUND: dict[str, Any] = json.loads((GOLDEN / "word_times.json").read_text())
"""Made by golden/make_word_times.py."""


def attention(shape: Sequence[int]) -> Samples:
    """As golden/make_word_times.py makes it."""
    found = np.random.default_rng(shape).random(shape).astype(np.float32) ** 8
    return np.asarray(found / found.sum(axis=2, keepdims=True))


@pytest.mark.parametrize("case", FOUND["moonshine"], ids=lambda case: "x".join(map(str, case["shape"])))
def test_tokens_begin_in_the_rows_that_moonshine_s_own_code_finds(case: dict[str, Any]) -> None:
    looked = attention(case["shape"])
    # An end behind the last token, whose own attention does not count.
    found = starts(np.concatenate((looked, looked[:, :1]), axis=1), 1, "rows")
    assert found[:-1].tolist() == [int(start) for start in case["starts"]]  # words within one row share it there


@pytest.mark.parametrize("over", ["tokens", "rows"])
def test_the_way_through_the_rows_is_the_one_that_costs_least(over: str) -> None:
    """Against every way that there is: with attention so clear, what a token costs decides."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tokens, rows = int(rng.integers(2, 6)), 60
        wanted = np.array([0, *np.sort(rng.choice(np.arange(4, rows - 4, 5), tokens - 1, replace=False))])
        looked = np.full((1, tokens + 1, rows), 1e-3, np.float32) + rng.random((1, tokens + 1, rows)).astype(np.float32) * 1e-4
        for at, start in enumerate(wanted):
            looked[0, at, start : wanted[at + 1] if at + 1 < tokens else rows] = 1.0
        found = starts(looked / looked.sum(axis=2, keepdims=True), 1, over)
        assert np.abs(found - wanted).max() <= 1, (found, wanted)


def test_attention_that_is_the_same_everywhere_gives_times_all_the_same() -> None:
    for shape in ((1, 2, 1), (1, 5, 3), (3, 9, 40), (2, 40, 9)):
        for over in ("tokens", "rows"):
            found = starts(np.full(shape, 1 / shape[2], np.float32), 1, over)
            assert len(found) == shape[1] - 1
            assert (np.diff(found) >= 0).all()
            assert 0 <= found.min() <= found.max() < shape[2]


def test_the_running_median_is_numpy_s() -> None:
    x = np.random.default_rng(1).standard_normal((4, 50)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (3, 3)), mode="reflect")
    assert np.array_equal(_median(x), np.median(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=1), axis=2))
    assert np.array_equal(_median(x[:, :3]), x[:, :3])


def text_of(pieces: Sequence[str]) -> tuple[list[int], Any]:
    """Tokens for these pieces of UTF-8 (each may end within a character) and how they read."""
    data = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    return list(range(len(data))), lambda ids: b"".join(data[i] for i in ids).decode("utf-8", "replace").removesuffix("\ufffd").lstrip()


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([], []),
        ([" Sit", "!"], [("Sit!", 0, 2)]),
        ([" No", ",", " I", "'m", " not"], [("No,", 0, 2), ("I'm", 2, 4), ("not", 4, 5)]),
        ([' "', "Out", '."', " He"], [('"Out."', 0, 3), ("He", 3, 4)]),
        ([" na", b" na\xc3", b"\xafve", " it"], [("na", 0, 1), ("naïve", 1, 3), ("it", 3, 4)]),
        (["今日", "は", "、", "いい", "天気"], [("今日", 0, 1), ("は、", 1, 3), ("いい", 3, 4), ("天気", 4, 5)]),
        (["ก", "า", "ร", " ดี"], [("ก", 0, 1), ("า", 1, 2), ("ร", 2, 3), ("ดี", 3, 4)]),
        (["น", "้", "ำ"], [("น้", 0, 2), ("ำ", 2, 3)]),
        ([" ", " ", "So"], [("So", 2, 3)]),
    ],
)
def test_words_are_the_tokens_between_spaces_and_characters_where_there_are_none(pieces: list[Any], wanted: list[Any]) -> None:
    tokens, text = text_of(pieces)
    assert [tuple(span) for span in words_of(tokens, text)] == wanted


def test_a_pause_at_a_sentence_s_end_belongs_to_no_word() -> None:
    words = [Span("Well,", 0, 1), Span("yes.", 1, 2), Span("But", 2, 3), Span("no", 3, 4), Span("more.", 4, 5)]
    begins = np.array([0, 100, 115, 290, 300, 480])
    longest = 2 * 0.7  # half of the words last 2 s or more
    wanted = [(2.0 - longest, 2.0), (2.0, 2.3), (5.8 - longest, 5.8), (5.8, 6.0), (6.0, 6.0 + longest)]
    assert np.array(timed(words, begins, 0.02)) == pytest.approx(np.array(wanted))
    assert timed(words[:1], np.array([3, 3]), 0.02) == [(0.06, 0.06)]
    assert timed([], np.array([0]), 0.02) == []


# Random models, built by the toolchain


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of golden/published_whisper as a float bundle that tells times and says letters and spaces."""
    pytest.importorskip("torch", reason="the export environment runs this")
    from export.build import BuildOptions, build

    root = tmp_path_factory.mktemp("whisper")
    source = root / "source"
    source.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(GOLDEN / "published_whisper" / name, source / name)
    shutil.copy(GOLDEN / "published_whisper.safetensors", source / "model.safetensors")
    generation = json.loads((GOLDEN / "published_whisper/generation_config.json").read_text())
    pieces = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    unreadable = [id for piece, id in pieces.items() if not (piece == "Ġ" or (piece.isascii() and piece.isalpha()))]
    generation |= {"alignment_heads": FOUND["heads"], "no_timestamps_token_id": 263, "suppress_tokens": unreadable}
    (source / "generation_config.json").write_text(json.dumps(generation))
    return build(BuildOptions(str(source), root / "bundle", encoder="fp32"), quiet)


def opened(folder: Path, **options: Any) -> Transcriber:
    bundle = Bundle.open(folder)
    return Transcriber(bundle, load_models(bundle, 1), SpeechOptions(**options))


def test_tokens_begin_when_openai_s_own_code_says(whisper: Path) -> None:
    """find_alignment over 30 s of mels, filled up with silence, of which the rows about the sound are taken."""
    from export.onnx_parts import audios

    line = opened(whisper, word_times=True)
    line._least = 480_000
    for sound, wanted in zip(audios([s["seconds"] for s in FOUND["sounds"]], seed=11), FOUND["sounds"], strict=True):
        line._decoder.begin(line.encode(sound))
        looked = line._decoder.attention([262, 263, *wanted["tokens"], 261], line._alignment.heads if line._alignment else ())
        looked = looked[:, :, : len(sound) // 320]
        found = starts(looked / looked.sum(axis=2, keepdims=True), 2, "tokens") * 0.02
        assert found.tolist() == pytest.approx([*wanted["starts"], wanted["end"]], abs=1e-9)


def test_words_of_a_caption_are_its_text_in_order_within_its_time(whisper: Path) -> None:
    """Also over a full window, and the same whether the turn was seen at once or in hops of what was not committed."""
    from export.onnx_parts import audios

    sound = audios([41.0], seed=3)[0]
    line, plain = opened(whisper, word_times=True), opened(whisper)
    turn = Turn(1, 8_000, 8_000 + len(sound), True, "end", "speech", True)
    captions = []
    for reader in (line, plain):
        reader.begin(turn)
        captions.append(reader.revise(turn, reader.extend(sound), []))
    told, without = captions
    assert told is not None
    assert without is not None
    assert replace(told, words=()) == without
    assert len(told.words) > 1
    assert "".join(word.text for word in told.words) == "".join(told.text.split())
    edges = [edge for word in told.words for edge in (word.start, word.stop)]
    assert edges == sorted(edges)
    assert turn.start <= edges[0] <= edges[-1] <= turn.stop
    assert any(word.start >= 8_000 + 480_000 for word in told.words), "no word of the second window"
    hop = Turn(2, 0, 32_000, False, "hop", "speech", True)
    line.begin(hop)
    partial = line.revise(hop, line.extend(sound[:32_000]), [])
    assert partial is None or partial.words == ()


@pytest.mark.parametrize("streaming", [False, True])
def test_moonshine_tells_times_by_all_its_heads(tmp_path: Path, streaming: bool) -> None:
    torch = pytest.importorskip("torch", reason="the export environment runs this")
    import tiny_models

    from export.build import BuildOptions, build
    from export.onnx_parts import audios

    model = tiny_models.moonshine(tmp_path / "source", streaming)
    bundle = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32"), quiet)
    line = opened(bundle, word_times=True)
    assert line._alignment is not None
    (sound,) = audios([3.2], seed=2)
    line._decoder.begin(line.encode(sound))
    given = [*line._prompt.ids, 40, 41, 42, 50]
    found = line._decoder.attention(given, line._alignment.heads)
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        sizes = {"attention_mask": torch.ones(1, len(sound), dtype=torch.long)} if streaming else {}
        told = model(torch.from_numpy(sound)[None], decoder_input_ids=torch.tensor([given]), output_attentions=True, **sizes)
    wanted = torch.cat(told.cross_attentions, dim=1)[0].numpy()
    assert found.shape == wanted.shape
    assert float(np.abs(found - wanted).max()) < 1e-4
    turn = Turn(1, 0, len(sound), True, "end", "speech", True)
    line.begin(turn)
    caption = line.revise(turn, line.extend(sound), [])
    assert caption is not None
    assert caption.words


def test_a_listener_tells_times_beside_sounds_and_one_without_says_why_not(whisper: Path) -> None:
    with Listener(config=load(flags={"speech": str(whisper), "word_times": True})) as listener:
        finals = [r for r in listener.listen(SCENE) if r["type"] == "caption" and r["final"] and '"' in r["text"]]
    assert finals
    for record in finals:
        assert record["words"]
        assert all(record["start"] <= w["start"] <= w["end"] <= record["end"] for w in record["words"])
        assert all(w["text"] in record["text"] for w in record["words"])
    manifest = whisper / "manifest.json"
    held = manifest.read_text()
    try:
        for change, message in (
            (None, "does not know when its words are said; leave --word-times out"),
            ({"layers": [7], "heads": [0], "over": "tokens"}, "no output cross_attentions.7"),
            ({"layers": [0], "heads": [9], "over": "tokens"}, "do not go together"),
            ({"layers": [0, 1], "heads": [0], "over": "tokens"}, "one number >= 0 for each of `layers`"),
            ({"layers": [0], "heads": [0], "over": "time"}, "one of tokens, rows"),
        ):
            changed = json.loads(held)
            changed["caption"].pop("alignment")
            if change is not None:
                changed["caption"]["alignment"] = change
            manifest.write_text(json.dumps(changed))
            with pytest.raises(BundleError, match=message):
                Listener(str(whisper), config=load(flags={"word_times": True}))
            Listener(str(whisper)).close()
    finally:
        manifest.write_text(held)


def test_openai_s_client_gets_words_where_they_are_told(whisper: Path) -> None:
    for timed_words in (True, False):
        config = load(flags={"bundle": str(whisper), "word_times": timed_words})
        transcriptions = Transcriptions(config)
        served = application(Broadcast(), lambda question, last_s: {}, Vital(), transcriptions.routes())
        with Web(served, "127.0.0.1", 0, "0123456789abcdef-token") as web, SCENE.open("rb") as file:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{web.port}/v1", api_key="0123456789abcdef-token", max_retries=0)
            asked: dict[str, Any] = {"model": "w", "file": file, "response_format": "verbose_json", "timestamp_granularities": ["word"]}
            if not timed_words:
                with pytest.raises(openai.BadRequestError, match="--word-times"):
                    client.audio.transcriptions.create(**asked)
            else:
                told = client.audio.transcriptions.create(**asked)
                assert told.words
                assert all(w.start <= w.end for w in told.words)
                assert "".join(w.word for w in told.words) == "".join(told.text.split())
        transcriptions.close()


def test_bundles_of_files_without_attention_tell_no_times(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the export environment runs this")
    from export.build import BuildOptions, build

    source = tmp_path / "source"
    shutil.copytree(GOLDEN / "published_whisper", source)
    generation = json.loads((source / "generation_config.json").read_text()) | {"alignment_heads": [[0, 0]]}
    (source / "generation_config.json").write_text(json.dumps(generation))
    bundle = build(BuildOptions(str(source), tmp_path / "bundle"), quiet)
    assert "alignment" not in json.loads((bundle / "manifest.json").read_text())["caption"]
