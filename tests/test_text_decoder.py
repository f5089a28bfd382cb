"""The native text decoder: against the same arithmetic in numpy, bit for bit with itself, and against onnxruntime over the same weights."""

from __future__ import annotations

import gc
import struct
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge._native import TextDecoder as Native
from edge.backends.text_decoder import TextDecoder, _array
from edge.errors import BackendError
from edge.gguf_header import gguf_numbers, gguf_tensors
from edge.seq2seq import Seq2Seq
from export.decoder_gguf import rounded, write

WIDTH, HEADS, HIDDEN, VOCABULARY, LAYERS, MOST, ROWS = 36, 3, 56, 300, 2, 24, 29
SIZE = WIDTH // HEADS
Arrays = dict[str, Any]


def weights(gated: bool, seed: int = 1) -> Arrays:
    """Random, with what Whisper has (biases, positions) or what Moonshine has (gates, rotation, an own head)."""
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.35).astype(np.float32)

    found: Arrays = {"token_embd.weight": random(VOCABULARY, WIDTH), "output_norm.weight": 1 + random(WIDTH)}
    if gated:
        found |= {"rope_freqs.weight": np.array([[1.0, 0.2, 0.03]], np.float32), "output.weight": random(VOCABULARY, WIDTH)}
    else:
        found |= {"position_embd.weight": random(MOST, WIDTH), "output_norm.bias": random(WIDTH)}
    for i in range(LAYERS):
        shapes = {"attn_qkv": (3 * WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH), "cross_attn_q": (WIDTH, WIDTH)}
        shapes |= {"cross_attn_output": (WIDTH, WIDTH), "ffn_up": (HIDDEN * (1 + gated), WIDTH), "ffn_down": (WIDTH, HIDDEN)}
        for name, shape in shapes.items():
            found[f"blk.{i}.{name}.weight"] = random(*shape)
            if not gated or name.startswith("ffn"):
                found[f"blk.{i}.{name}.bias"] = random(shape[0])
        for name in ("attn_norm", "cross_attn_norm", "ffn_norm"):
            found[f"blk.{i}.{name}.weight"] = 1 + random(WIDTH)
            if not gated:
                found[f"blk.{i}.{name}.bias"] = random(WIDTH)
    return found


def as_read(of: Arrays, precision: str) -> Arrays:
    """What the file holds, in float64."""
    whole = ("position_embd.weight", "rope_freqs.weight")
    if precision == "int8":
        small = {k: rounded(v) for k, v in of.items() if v.ndim == 2 and k not in whole}
        of = of | {k: q.astype(np.float32) * scale[:, None] for k, (q, scale) in small.items()}
    return {k: v.astype(np.float64) for k, v in of.items()}


def file_of(folder: Path, gated: bool, precision: str, **changes: Any) -> bytes:
    of = weights(gated) | changes
    path = folder / "decoder.gguf"
    given = SimpleNamespace(heads=HEADS, gated=gated, tensors=lambda: {k: v for k, v in of.items() if v is not None})
    write(path, "random", given, [1], precision)
    return path.read_bytes()


def heard(seed: int = 5) -> Arrays:
    rng = np.random.default_rng(seed)
    found: Arrays = {}
    for i in range(LAYERS):
        found[f"{i}.encoder.key"] = rng.standard_normal((1, HEADS, SIZE, ROWS)).astype(np.float32)
        found[f"{i}.encoder.value"] = rng.standard_normal((1, HEADS, ROWS, SIZE)).astype(np.float32)
    return found


def fed(tokens: list[int], past: Mapping[str, Any] | None = None, skip: int = 0) -> Arrays:
    own = {f"{i}.decoder.{part}": np.zeros((1, HEADS, 0, SIZE), np.float32) for i in range(LAYERS) for part in ("key", "value")}
    given = {f"past_key_values.{n}": a for n, a in {**own, **(past or {}), **heard()}.items()}
    return {"input_ids": np.array([tokens], np.int64), "logits_from": np.array(skip), **given}


def wanted(of: Arrays, gated: bool, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and the second layer's attention by plain numpy in float64."""
    erf = np.vectorize(__import__("math").erf)

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5) * of[f"{name}.weight"] + of.get(f"{name}.bias", 0.0)

    def product(x: np.ndarray, name: str) -> np.ndarray:
        return x @ of[f"{name}.weight"].T + of.get(f"{name}.bias", 0.0)

    def turned(x: np.ndarray) -> np.ndarray:
        if not gated:
            return x
        angles = np.arange(len(tokens))[:, None] * of["rope_freqs.weight"]
        cos, sin, pairs = np.cos(angles), np.sin(angles), angles.shape[1]
        even, odd = x[..., 0 : 2 * pairs : 2], x[..., 1 : 2 * pairs : 2]
        pair = np.stack((even * cos - odd * sin, even * sin + odd * cos), axis=-1).reshape(*x.shape[:-1], 2 * pairs)
        return np.concatenate((pair, x[..., 2 * pairs :]), axis=-1)

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(tokens), HEADS, SIZE).transpose(1, 0, 2)

    def softmax(x: np.ndarray) -> np.ndarray:
        x = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(x / x.sum(axis=-1, keepdims=True))

    def joined(x: np.ndarray) -> np.ndarray:
        return x.transpose(1, 0, 2).reshape(len(tokens), WIDTH)

    x = of["token_embd.weight"][tokens] + (0 if gated else of["position_embd.weight"][: len(tokens)])
    encoder = {k: v[0].astype(np.float64) for k, v in heard().items()}
    for i in range(LAYERS):
        name = f"blk.{i}."
        q, k, v = np.split(product(normed(x, name + "attn_norm"), name + "attn_qkv"), 3, axis=1)
        scores = turned(split(q)) @ turned(split(k)).transpose(0, 2, 1)
        scores = np.where(np.tri(len(tokens), dtype=bool), scores, -np.inf)
        x = x + product(joined(softmax(scores) @ split(v)), name + "attn_output")
        q = split(product(normed(x, name + "cross_attn_norm"), name + "cross_attn_q"))
        looked = softmax(q @ encoder[f"{i}.encoder.key"])
        x = x + product(joined(looked @ encoder[f"{i}.encoder.value"]), name + "cross_attn_output")
        wide = product(normed(x, name + "ffn_norm"), name + "ffn_up")
        if gated:
            plain, gate = np.split(wide, 2, axis=1)
            wide = gate / (1 + np.exp(-gate)) * plain
        else:
            wide = wide / 2 * (1 + erf(wide / np.sqrt(2)))
        x = x + product(wide, name + "ffn_down")
    head = of.get("output.weight", of["token_embd.weight"])
    return normed(x, "output_norm") @ head.T, looked


TOKENS = [5, 299, 0, 17, 17, 120, 3]


@pytest.mark.parametrize("gated", [False, True], ids=["whisper", "moonshine"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_computes_what_numpy_does_with_what_the_file_holds(tmp_path: Path, gated: bool, precision: str) -> None:
    """In 8 bits too: there, activations have 16."""
    model = TextDecoder(file_of(tmp_path, gated, precision), "it")
    found = model.run(fed(TOKENS))
    logits, looked = wanted(as_read(weights(gated), precision), gated, TOKENS)
    assert found.keys() == model.outputs.keys()
    limit = 2e-5 if precision == "fp32" else 2e-3
    assert np.abs(found["logits"][0] - logits).max() < limit * np.abs(logits).max()
    assert np.abs(found["cross_attentions.1"][0] - looked).max() < limit
    for name, (dtype, shape) in model.outputs.items():
        assert found[name].dtype == dtype
        assert all(want in (None, got) for want, got in zip(shape, found[name].shape, strict=True)), name


@pytest.mark.parametrize("gated", [False, True], ids=["whisper", "moonshine"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_draft_in_one_run_is_to_the_last_bit_what_single_tokens_are(tmp_path: Path, gated: bool, precision: str) -> None:
    """So a text that was checked is the text that would have been decoded, for any number of threads."""
    data = file_of(tmp_path, gated, precision)
    models = [TextDecoder(data, "it", threads) for threads in (1, 2)]
    whole = models[1].run(fed(TOKENS))
    past: Arrays = {}
    for at, token in enumerate(TOKENS):
        one = models[at % 2].run(fed([token], past))
        past = {n.removeprefix("present."): a for n, a in one.items() if n.startswith("present.")}
        assert np.array_equal(one["logits"][0, 0], whole["logits"][0, at])
    assert all(np.array_equal(a, whole[f"present.{n}"]) for n, a in past.items())
    part = models[0].run(fed(TOKENS, skip=5))["logits"]
    assert np.array_equal(part, whole["logits"][:, 5:])
    # What a draft is cut to is a view of the cache, no array of its own.
    cut = {n: whole[f"present.{n}"][:, :, :4] for n in past}
    assert np.array_equal(models[0].run(fed(TOKENS[4:], cut))["logits"], whole["logits"][:, 4:])


def test_greedy_text_is_the_same_with_every_draft(tmp_path: Path) -> None:
    decoder = Seq2Seq(TextDecoder(file_of(tmp_path, False, "int8"), "it"), ())
    decoder.begin({f"present.{n}": a for n, a in heard().items()})
    fresh = decoder.decode([1, 2], (), 0, 20)
    assert len(set(fresh)) > 2
    for cut in range(21):
        assert decoder.decode([1, 2], fresh[:cut], cut // 2, 20) == fresh
        assert decoder.decode([1, 2], [*fresh[:cut], 7, 7], 0, 20) == fresh
    steered = decoder.decode([1, 2], [9, 8, 7], 3, 20)
    assert steered[:3] == [9, 8, 7]
    assert decoder.decode([1, 2], [*steered, 3], 3, 20) == steered


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input_ids": np.array([[VOCABULARY]])}, "no such token"),
        ({"input_ids": np.array([[-1]])}, "no such token"),
        ({"input_ids": np.full((1, MOST + 1), 3)}, "longer than the decoder has positions"),
        ({"input_ids": np.zeros((1, 0), np.int64)}, "int64"),
        ({"input_ids": np.zeros((1, 2), np.float32)}, "input_ids is float32, not int64"),
        ({"logits_from": np.array(9)}, "logits_from one of them"),
        ({"logits_from": np.array([0, 1])}, "size 1"),
        ({"past_key_values.0.decoder.key": np.zeros((1, HEADS, 0, SIZE))}, "0.decoder.key is float64, not float32"),
        ({"past_key_values.1.encoder.value": np.zeros((1, HEADS, ROWS + 1, SIZE), np.float32)}, "do not go together"),
        ({"past_key_values.0.decoder.key": np.zeros((1, HEADS, 3, SIZE), np.float32)}, "do not go together"),
        ({"past_key_values.0.decoder.key": np.zeros((HEADS, 3), np.float32)}, "do not go together"),
        ({"more": np.zeros(1)}, "takes input_ids"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path: Path, change: Arrays, says: str) -> None:
    model = TextDecoder(file_of(tmp_path, False, "fp32"), "bundle b: decoder")
    with pytest.raises((ValueError, IndexError), match=says) as told:
        model.run(fed([3, 4]) | change)
    assert str(told.value).startswith("bundle b: decoder")
    assert np.isfinite(model.run(fed([3, 4]))["logits"]).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"blk.1.ffn_up.weight": None}, "no weights called blk.1.ffn_up.weight"),
        ({"blk.0.attn_qkv.bias": np.zeros(5, np.float32)}, r"blk.0.attn_qkv.bias must be float32\[108\]"),
        ({"blk.0.attn_output.weight": np.zeros((WIDTH, WIDTH + 1), np.float32)}, "own attention has another shape"),
        ({"output.weight": np.zeros((VOCABULARY + 1, WIDTH), np.float32)}, "head is not of the embedding's shape"),
        ({"token_embd.weight": np.zeros((VOCABULARY, WIDTH), np.float16)}, "type 1, not F32 or I8"),
        ({"position_embd.weight": np.zeros((MOST, WIDTH - 1), np.float32)}, "as wide as the embedding"),
    ],
)
def test_a_file_that_is_no_decoder_is_refused_with_what_is_wrong(tmp_path: Path, changes: Arrays, says: str) -> None:
    with pytest.raises(BackendError, match=says):
        file_of(tmp_path, False, "fp32", **changes)


@pytest.mark.parametrize(("key", "claims"), [(b"block_count", 2**63), (b"head_count", 2**31 - 1), (b"block_count", 0)])
def test_numbers_that_no_decoder_has_are_refused(tmp_path: Path, key: bytes, claims: int) -> None:
    data = file_of(tmp_path, False, "fp32")
    at = data.index(key) + len(key)
    length = {4: 4, 10: 8}[struct.unpack_from("<I", data, at)[0]]
    wide = data[:at] + struct.pack("<IQ", 10, claims) + data[at + 4 + length :]
    with pytest.raises(BackendError, match=r"decoder\.gguf: it is no decoder .* layers of"):
        TextDecoder(wide, "decoder.gguf")


def test_what_is_not_finite_comes_out_as_no_number_in_8_bits_too(tmp_path: Path) -> None:
    """So that it is never taken for text."""
    for precision in ("fp32", "int8"):
        broken = fed([3, 4])
        broken["past_key_values.1.encoder.value"][0, :, 0] = np.nan
        logits = TextDecoder(file_of(tmp_path, False, precision), "it").run(broken)["logits"]
        assert np.isnan(logits).all(), precision


def test_its_arrays_live_as_long_as_it_does(tmp_path: Path) -> None:
    data = file_of(tmp_path, False, "int8")
    shape, entries = gguf_numbers(data), gguf_tensors(data)
    held = {key: _array(data, *entry) for key, entry in entries.items()}
    native = Native(held, shape["block_count"], shape["head_count"], False, 1)
    left = weakref.ref(held["blk.0.ffn_up.weight"])
    held.clear()
    gc.collect()
    assert left() is not None
    del native
    gc.collect()
    assert left() is None


def test_the_process_outlives_damaged_files(tmp_path: Path) -> None:
    """Behind the look that bundles take first: what passes it is run, or refused with a sentence."""
    whole = file_of(tmp_path, False, "int8")
    rng = np.random.default_rng(0)
    header = whole.index(b"blk.1.attn_norm")
    damaged = [whole[:n] for n in (0, 4, 24, header, len(whole) // 2, len(whole) - 1)]
    damaged += [whole[: (at := int(i))] + bytes([whole[at] ^ int(x)]) + whole[at + 1 :] for i, x in rng.integers(1, 255, (400, 2)) * [7, 1]]
    for index, data in enumerate(damaged):
        (tmp_path / f"{index}.bin").write_bytes(data)
    code = """
import sys
from pathlib import Path
from edge import prescan
from edge._native import TextDecoder as Native
from edge.backends.text_decoder import TextDecoder, _array
from edge.errors import BackendError
from edge.gguf_header import gguf_numbers, gguf_tensors
sys.path.insert(0, "tests")
from test_text_decoder import fed
ran = refused = 0
for index in range(int(sys.argv[2])):
    data = (Path(sys.argv[1]) / f"{index}.bin").read_bytes()
    try:
        prescan.scan("gguf", data, len(data))
        model = TextDecoder(data, "it")
        model.run(fed([1, 2, 3]))
        ran += 1
    except (prescan.Unsafe, BackendError, ValueError, IndexError):
        refused += 1
print(ran, refused)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(len(damaged))], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    ran, refused = map(int, run.stdout.split())
    assert ran > 20
    assert refused > 20


# With torch: over the weights of random models of transformers


@pytest.mark.parametrize("kind", ["whisper", "moonshine"])
def test_it_says_what_onnxruntime_says_over_the_same_weights(tmp_path: Path, kind: str) -> None:
    """--target jetson builds the ONNX decoder."""
    pytest.importorskip("torch", reason="the export environment runs this")
    import tiny_models

    from edge.backends.onnx import OnnxModel
    from edge.bundle import Bundle
    from edge.transcriber import Transcriber, load_models
    from export.build import BuildOptions, build
    from export.onnx_parts import audios

    {"whisper": tiny_models.whisper, "moonshine": tiny_models.moonshine}[kind](tmp_path / "source")
    lines = []
    for target in ("cpu", "jetson"):
        options = BuildOptions(str(tmp_path / "source"), tmp_path / target, encoder="fp32", target=target)
        lines.append(Bundle.open(build(options, lambda line: None)))
    ours, theirs = (load_models(bundle, 1) for bundle in lines)
    assert isinstance(theirs[1], OnnxModel)
    assert isinstance(ours[1], TextDecoder)
    assert ours[1].inputs.keys() - theirs[1].inputs.keys() == {"logits_from"}
    assert ours[1].outputs.keys() == theirs[1].outputs.keys()
    transcribers = [Transcriber(bundle, (ours[0], models[1])) for bundle, models in zip(lines, (ours, theirs), strict=True)]
    texts = []
    for sound in audios([1.0, 2.7, 5.0, 11.0], seed=3):
        texts.append([line.transcribe(sound) for line in transcribers])
    assert all(a == b for a, b in texts)
    assert len({tuple(a) for a, _ in texts}) > 1
    with pytest.raises(BackendError, match="runs on the processor alone; build it with --target jetson"):
        load_models(lines[0], 1, ("cuda", "cpu"), strict=True)
