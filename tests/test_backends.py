"""Laws of llama.cpp and LiteRT as backends: the numbers are the model's, faults are one clear sentence, and the process outlives them."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import line_bundle
import numpy as np
import pytest
from line_bundle import CAPTION, CONTEXT, END, HEADS, LAYERS, NORM_EPS, ROPE_BASE, WIDTH, weights, write_llama

from edge.backends import litert, tflite_file
from edge.backends.litert import LiteRtModel
from edge.backends.llama import BATCH, LlamaModel
from edge.errors import BackendError

PROMPT = [CAPTION]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama") / "random.gguf")


@pytest.fixture(scope="module")
def loaded(path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(path, context=CONTEXT)
    yield model
    model.close()


@pytest.fixture
def llama(loaded: LlamaModel) -> LlamaModel:
    loaded.reset()
    return loaded


def prefix(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(np.float32) * np.float32(0.5)


def logits(model: LlamaModel) -> np.ndarray:
    """Of the first position after decode(PROMPT, [], 0, 1): the numbers that the first token of the text is taken from."""
    model.decode(PROMPT, [], 0, 1)
    found = np.ctypeslib.as_array(model._llama.llama_get_logits_ith(model._context, 0), shape=(len(line_bundle.vocabulary()),))
    return found.copy()


def forward(rows: np.ndarray, tokens: list[int]) -> np.ndarray:
    """Llama by the book in float64: [T, width] rows, then tokens -> logits [T, vocabulary]. Source: Touvron et al. 2023; Su et al. 2021."""
    w = {name: array.astype(np.float64) for name, array in weights().items()}
    x = np.concatenate([rows.astype(np.float64), w["token_embd.weight"][tokens]])
    count, width = len(x), WIDTH // HEADS
    angles = np.arange(count)[:, None] * ROPE_BASE ** (-np.arange(0, width, 2) / width)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]

    def norm(v: np.ndarray, name: str) -> np.ndarray:
        return v / np.sqrt((v * v).mean(axis=1, keepdims=True) + NORM_EPS) * w[name]

    def turned(v: np.ndarray) -> np.ndarray:
        even, odd = v[..., 0::2], v[..., 1::2]
        return np.stack((even * cos - odd * sin, even * sin + odd * cos), axis=-1).reshape(v.shape)

    for layer in range(LAYERS):
        at = f"blk.{layer}."
        h = norm(x, at + "attn_norm.weight")
        q, k, v = ((h @ w[f"{at}attn_{part}.weight"].T).reshape(count, HEADS, width) for part in "qkv")
        scores = np.einsum("ihd,jhd->hij", turned(q), turned(k)) / np.sqrt(width)
        scores[:, np.triu(np.ones((count, count), bool), 1)] = -np.inf
        share = np.exp(scores - scores.max(axis=2, keepdims=True))
        share /= share.sum(axis=2, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", share, v).reshape(count, WIDTH) @ w[at + "attn_output.weight"].T
        h = norm(x, at + "ffn_norm.weight")
        gate = h @ w[at + "ffn_gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[at + "ffn_up.weight"].T)) @ w[at + "ffn_down.weight"].T
    return norm(x, "output_norm.weight") @ w["token_embd.weight"].T


@pytest.mark.parametrize("rows", [1, 7, BATCH, BATCH + 1])
def test_rows_as_a_prefix_give_the_logits_of_an_independent_llama(llama: LlamaModel, rows: int) -> None:
    llama.extend(prefix(rows))
    expected = forward(prefix(rows), PROMPT)[-1]
    assert np.abs(expected).max() > 1
    assert np.abs(logits(llama) - expected).max() < 1e-4


def test_the_text_is_the_greedy_one_of_an_independent_llama(llama: LlamaModel) -> None:
    for seed in range(4):
        rows, text = prefix(9, seed), list[int]()
        while len(text) < 10 and (best := int(forward(rows, PROMPT + text)[-1].argmax())) != END:
            text.append(best)
        llama.reset()
        llama.extend(rows)
        assert llama.decode(PROMPT, [], 0, 10) == text


@pytest.mark.parametrize("cuts", [[1] * 90, [64, 26], [63, 2, 25], [5, 0, 85]])
def test_rows_in_any_pieces_are_the_same_prefix(llama: LlamaModel, cuts: list[int]) -> None:
    rows = prefix(90)
    llama.extend(rows)
    whole = llama.decode(PROMPT, [], 0, 12), logits(llama)
    llama.reset()
    start = 0
    for count in cuts:
        llama.extend(rows[start : start + count])
        llama.decode(PROMPT, [], 0, 3)  # a text between two pieces is dropped again
        start += count
    assert llama.rows == 90
    assert llama.decode(PROMPT, [], 0, 12) == whole[0]
    assert np.abs(logits(llama) - whole[1]).max() < 1e-4


def test_a_draft_changes_the_cost_and_not_the_text(llama: LlamaModel) -> None:
    rng = np.random.default_rng(3)
    texts = set()
    for seed in range(12):
        llama.reset()
        llama.extend(prefix(int(rng.integers(1, 60)), seed))
        alone = llama.decode(PROMPT, [], 0, 40)
        texts.add(tuple(alone))
        wrong = [*alone[: len(alone) // 2], 260, *alone[len(alone) // 2 :], 261]
        for draft in (alone, alone[:3], wrong, [270] * 50, [END, *alone]):
            assert llama.decode(PROMPT, draft, 0, 40) == alone
    assert len(texts) > 6, "the random model says too little for this law to mean anything"


def test_what_is_forced_stays_whatever_the_model_thinks(llama: LlamaModel) -> None:
    llama.extend(prefix(5))
    free = llama.decode(PROMPT, [], 0, 12)
    wanted = [(token + 1 - 258) % 14 + 258 for token in free[:6]]
    kept = llama.decode(PROMPT, wanted, 4, 12)
    assert kept[:4] == wanted[:4] != free[:4]
    assert kept[4:] == llama.decode([*PROMPT, *wanted[:4]], [], 0, 8)


def test_forced_text_longer_than_one_evaluation_stays_whole(llama: LlamaModel) -> None:
    """Also in the prompt: more than a batch at once would abort the process."""
    llama.extend(prefix(3))
    wanted = [258 + i % 14 for i in range(BATCH + 20)]
    assert llama.decode(PROMPT, wanted, len(wanted), CONTEXT)[: len(wanted)] == wanted
    long = [*PROMPT, *wanted]
    assert llama.decode(long, [], 0, 5) == llama.decode(PROMPT, wanted, len(wanted), len(wanted) + 5)[len(wanted) :]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("length", [0, 1, 5, BATCH - 1, BATCH, BATCH + 3])
def test_the_score_is_the_log_probability_of_an_independent_llama(llama: LlamaModel, length: int) -> None:
    llama.extend(prefix(9))
    text = [int(token) for token in np.random.default_rng(length).integers(0, len(line_bundle.vocabulary()), length)]
    for prompt in (PROMPT, [CAPTION, 260, 261]):
        found = log_probabilities(forward(prefix(9), prompt + text))[-length - 1 :]
        expected = sum(found[at, token] for at, token in enumerate([*text, END]))
        assert expected < -0.1
        assert llama.score(prompt, text) == pytest.approx(expected, abs=1e-4 * (length + 1))


def test_scores_are_probabilities_whose_best_is_the_greedy_token(llama: LlamaModel) -> None:
    llama.extend(prefix(7, 4))
    every = range(len(line_bundle.vocabulary()))
    ended = np.array([llama.score(PROMPT, [token]) for token in every])
    first = ended - np.array([llama.score([*PROMPT, token], []) for token in every])
    assert np.exp(first).sum() == pytest.approx(1, abs=1e-5), "one of all tokens comes first"
    assert 0 < np.exp(ended).sum() + np.exp(llama.score(PROMPT, [])) < 1, "and longer texts have their share"
    assert int(first.argmax()) == llama.decode(PROMPT, [], 0, 1)[0]


def test_a_score_leaves_the_prefix_as_it_was(llama: LlamaModel) -> None:
    llama.extend(prefix(6))
    text, numbers = llama.decode(PROMPT, [], 0, 12), logits(llama)
    score = llama.score(PROMPT, text)
    assert llama.score(PROMPT, [*text[1:], 260]) != score
    assert llama.rows == 6
    assert llama.decode(PROMPT, [], 0, 12) == text
    assert np.array_equal(logits(llama), numbers)
    assert llama.score(PROMPT, text) == score
    llama.score(PROMPT, text)
    llama.extend(prefix(3, 1))
    longer = llama.decode(PROMPT, [], 0, 12)
    llama.reset()
    llama.extend(prefix(6))
    llama.extend(prefix(3, 1))
    assert llama.decode(PROMPT, [], 0, 12) == longer


def test_reset_forgets_everything(llama: LlamaModel) -> None:
    llama.extend(prefix(4, 1))
    fresh = llama.decode(PROMPT, [], 0, 12)
    llama.extend(prefix(30, 2))
    llama.decode(PROMPT, [], 0, 12)
    llama.reset()
    assert llama.rows == 0
    llama.extend(prefix(4, 1))
    assert llama.decode(PROMPT, [], 0, 12) == fresh


def test_what_does_not_fit_is_refused_and_nothing_is_lost(llama: LlamaModel) -> None:
    llama.extend(prefix(CONTEXT - 3))
    before = llama.decode(PROMPT, [], 0, 12)
    assert len(before) <= 2, "text and prefix share the context"
    with pytest.raises(ValueError, match=r"125 \+ 4 rows do not fit into a context of 128"):
        llama.extend(prefix(4))
    with pytest.raises(ValueError, match="125 rows and a prompt of 4 tokens do not fit into a context of 128"):
        llama.decode([CAPTION] * 4, [], 0, 5)
    assert llama.decode(PROMPT, [], 0, 12) == before
    llama.extend(prefix(3))
    with pytest.raises(ValueError, match="128 rows and a prompt of 1 tokens"):
        llama.decode(PROMPT, [], 0, 1)


def test_wrong_use_of_a_language_model_is_refused(llama: LlamaModel, path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 63\), expected \[T, 64\]"):
        llama.extend(np.zeros((2, 63), np.float32))
    with pytest.raises(ValueError, match="a prompt of at least one token"):
        llama.decode([], [], 0, 5)
    for prompt, draft in (([9999], []), (PROMPT, [-1])):
        with pytest.raises(ValueError, match="is not one of the model's"):
            llama.decode(prompt, draft, 0, 5)
        with pytest.raises(ValueError, match="is not one of the model's"):
            llama.score(prompt, draft)
    with pytest.raises(ValueError, match="score needs a prompt of at least one token"):
        llama.score([], [260])
    llama.extend(prefix(CONTEXT - 5))
    llama.score(PROMPT, [260] * 4)
    with pytest.raises(ValueError, match="123 rows, a prompt of 1 and a text of 5 tokens do not fit into a context of 128"):
        llama.score(PROMPT, [260] * 5)
    with pytest.raises(ValueError, match="must be >= 1"):
        LlamaModel(path, context=0)


def test_text_goes_to_tokens_and_back(llama: LlamaModel) -> None:
    for text in ("a dog barks, then rain.", "Ein Hühnchen – 鶏", "", "<caption> <end>"):
        back = llama.detokenize(llama.tokenize(text))
        assert back == text.replace("<caption>", "").replace("<end>", "")
    assert llama.tokenize("<caption>") == PROMPT
    assert llama.tokenize(" a dog")[0] == line_bundle.vocabulary().index("Ġa"), "merges are used"
    half = llama.tokenize("鶏")[:-1]
    assert llama.detokenize(half) == "", "an incomplete character waits for its last byte"


def test_a_model_closes_twice_and_then_refuses(path: Path) -> None:
    model = LlamaModel(path, context=32)
    model.close()
    model.close()
    for call in (
        model.reset,
        lambda: model.extend(prefix(1)),
        lambda: model.decode(PROMPT, [], 0, 1),
        lambda: model.score(PROMPT, []),
        lambda: model.tokenize("a"),
    ):
        with pytest.raises(ValueError, match="has been closed"):
            call()


def test_a_missing_gguf_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot load nowhere\.gguf: there is no such file"):
        LlamaModel(tmp_path / "nowhere.gguf")


def test_the_process_outlives_damaged_ggufs(path: Path, tmp_path: Path) -> None:
    """Cut anywhere, or with a byte of the header changed; in a process of its own, since an abort would take this one along."""
    whole = path.read_bytes()
    header = whole.index(b"blk.1.")
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in (0, 3, 4, 24, 100, header // 2, header, header + 300, len(whole) // 2, len(whole) - 1)]
    damaged += [whole[:at] + b"\xff" + whole[at + 1 :] for at in (0, 4, 8, 16)]
    damaged += [whole[: (at := int(i))] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :] for i in rng.integers(24, 600, 12)]
    for index, data in enumerate(damaged):
        (tmp_path / f"{index}.gguf").write_bytes(data)
    code = """
import sys
import types
from pathlib import Path
from edge.backends import litert, tflite_file
from edge.backends.litert import LiteRtModel
from edge.backends.llama import LlamaModel
from edge.errors import BackendError
refused = 0
for index in range(int(sys.argv[2])):
    try:
        LlamaModel(Path(sys.argv[1]) / f"{index}.gguf", context=32).close()
    except BackendError as error:
        assert f"{index}.gguf" in str(error) and "rebuild it" in str(error), error
        refused += 1
print(refused)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(len(damaged))], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", "llama.cpp talks to itself"
    assert int(run.stdout) >= 14, "every cut and every damaged head is refused"


def test_a_context_that_cannot_be_had_frees_the_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_cpp

    freed = []
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda model, parameters: None)
    free = llama_cpp.llama_model_free
    monkeypatch.setattr(llama_cpp, "llama_model_free", lambda model: (freed.append(model), free(model)))
    with pytest.raises(BackendError, match="cannot make a context of 64 positions"):
        LlamaModel(path, context=64)
    assert len(freed) == 1


def test_an_installation_without_llama_cpp_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(BackendError, match="captions need llama-cpp-python"):
        LlamaModel(path)


@pytest.fixture(scope="module")
def yamnet(shared_data: Path) -> Path:
    return shared_data / "yamnet" / "yamnet.tflite"


def waveforms() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    tones = [np.sin(np.arange(15600, dtype=np.float32) * f) * np.float32(0.3) for f in (0.05, 0.4)]
    return [*tones, rng.standard_normal(15600).astype(np.float32) * np.float32(0.1), np.zeros(15600, np.float32)]


def test_yamnet_gives_exactly_what_the_bare_interpreter_gives(yamnet: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bare = Interpreter(model_path=str(yamnet), num_threads=1)
    bare.allocate_tensors()
    (source,), (target,) = bare.get_input_details(), bare.get_output_details()
    ours, from_bytes = LiteRtModel(yamnet), LiteRtModel(yamnet.read_bytes())
    assert ours.inputs == {"waveform_binary": ("float32", (15600,))}
    assert list(ours.outputs.values()) == [("float32", (1, 521))]
    assert ours.placement.used == ("cpu",)
    scores = []
    for wave in waveforms():
        bare.set_tensor(source["index"], wave)
        bare.invoke()
        expected = bare.get_tensor(target["index"])
        for model in (ours, from_bytes):
            (found,) = model.run({"waveform_binary": wave}).values()
            assert np.array_equal(found, expected)
        scores.append(found)
    assert all(np.abs(a - b).max() > 0.01 for a, b in pairwise(scores)), "outputs are not views of one buffer"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "takes waveform_binary, not nothing"),
        ({"wave": np.zeros(15600, np.float32)}, "takes waveform_binary, not wave"),
        ({"waveform_binary": np.zeros(15600)}, r"waveform_binary must be float32\[15600\], not float64\[15600\]"),
        ({"waveform_binary": np.zeros(16000, np.float32)}, r"waveform_binary must be float32\[15600\], not float32\[16000\]"),
    ],
)
def test_wrong_arrays_are_refused_by_name(yamnet: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LiteRtModel(yamnet).run(arrays)


def changed(content: bytes, what: str, value: int) -> bytes:
    """A TFLite file with the number of its schema ("version") or the first digit of the runtime that it asks for changed."""
    found = bytearray(content)
    if what == "version":
        found[tflite_file._field(content, tflite_file._u32(content, 0), tflite_file.VERSION)] = value
    else:
        found[content.index(b"2.5.0\0")] = ord(str(value))
    return bytes(found)


def test_a_file_that_needs_a_newer_runtime_is_refused_before_it_is_loaded(yamnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ai_edge_litert.interpreter as interpreter

    content = yamnet.read_bytes()
    assert tflite_file.minimum_runtime(content) == "2.5.0"
    newer = changed(content, "runtime", 9)
    assert tflite_file.minimum_runtime(newer) == "9.5.0"
    LiteRtModel(newer)  # LiteRT counts anew and knows them all
    device = types.SimpleNamespace(__version__="2.14.0")
    classes = types.SimpleNamespace(__name__="tflite_runtime.interpreter", Interpreter=interpreter.Interpreter)
    for name, module in ((litert.PACKAGES[0], None), ("tflite_runtime", device), (litert.PACKAGES[1], classes)):
        monkeypatch.setitem(sys.modules, name, module)
    LiteRtModel(content)
    with pytest.raises(BackendError, match=r"model in memory: it needs tflite_runtime 9\.5\.0, here is 2\.14\.0; install a newer"):
        LiteRtModel(newer)


def test_no_damage_gets_past_the_first_look_as_anything_but_a_sentence(yamnet: Path) -> None:
    whole, rng, said = yamnet.read_bytes(), np.random.default_rng(0), []
    root = int.from_bytes(whole[:4], "little")
    for _ in range(300):
        content = bytearray(whole)
        for at in rng.integers(root - 40, root + 40, 4):
            content[max(8, int(at))] = int(rng.integers(256))
        try:
            said.append(tflite_file.minimum_runtime(bytes(content)))
        except ValueError as error:
            said.append(str(error))
    known = ("", "2.5.0", "it is no TFLite file", "the file is damaged")
    assert all(text in known or text.startswith("its schema is") for text in said)
    assert said.count("the file is damaged") > 30, "some of it must be found out"


def test_what_is_no_tflite_model_is_refused(yamnet: Path, tmp_path: Path) -> None:
    whole = yamnet.read_bytes()
    emptied = bytearray(whole)
    emptied[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    for content, why in (
        (b"", "it is no TFLite file"),
        (b"not a model", "it is no TFLite file"),
        (whole[:8], "the file is damaged"),
        (whole[:100_000], "the file is damaged"),
        (changed(whole, "version", 4), "its schema is 4, this version reads 3"),
        (bytes(emptied), "the file is damaged|ai_edge_litert cannot load it"),
    ):
        (tmp_path / "broken.tflite").write_bytes(content)
        with pytest.raises(BackendError, match=rf"broken\.tflite: ({why})"):
            LiteRtModel(tmp_path / "broken.tflite")
        with pytest.raises(BackendError, match=f"model in memory: ({why})"):
            LiteRtModel(content)
    with pytest.raises(BackendError, match=r"nowhere\.tflite: there is no such model file"):
        LiteRtModel(tmp_path / "nowhere.tflite")


def test_an_absent_delegate_is_named_with_its_library(yamnet: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackendError, match=r"the delegate edgetpu cannot be loaded \(libedgetpu.*install its vendor's libedgetpu\.so\.1"):
        LiteRtModel(yamnet, delegate="edgetpu")
    other = str(next(Path(np.__file__).parent.rglob("_multiarray_umath*.so")))
    with pytest.raises(BackendError, match="the library is no TFLite delegate"):
        LiteRtModel(yamnet, delegate=other)
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(ValueError, match="delegate must be one of edgetpu"):
        LiteRtModel(yamnet, delegate="tpu")
    with pytest.raises(ValueError, match="threads"):
        LiteRtModel(yamnet, threads=0)


DENSE = Path(__file__).parent / "golden/dense.int8.tflite"
"""tanh(W x + b) with W, b of default_rng(0), int8 inside and at its ends; made by export.npu.to_tflite. Its input ends at +-0.73."""


def test_a_model_with_int8_ends_takes_and_gives_float32() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(0, 1, (4, 8)).astype(np.float32), rng.normal(0, 1, 4).astype(np.float32)
    model = LiteRtModel(DENSE)
    ((name, (dtype, shape)),) = model.inputs.items()
    assert (dtype, shape) == ("float32", (1, 8))
    errors = []
    for _ in range(20):
        given = rng.uniform(-0.4, 0.4, (1, 8)).astype(np.float32)
        (found,) = model.run({name: given}).values()
        assert found.dtype == np.float32
        errors.append(np.abs(found - np.tanh(given @ weight.T + bias)))
    assert np.max(errors) < 0.08
    assert np.mean(errors) < 0.04
    (far,) = model.run({name: np.full((1, 8), 100.0, np.float32)}).values()  # held at the end of its range, not wrapped around
    (edge,) = model.run({name: np.full((1, 8), 1.05, np.float32)}).values()
    np.testing.assert_allclose(far, edge, atol=0.06)


def test_a_delegate_is_asked_for_by_providers() -> None:
    content = DENSE.read_bytes()
    loaded = LiteRtModel.load(content, "bundle b: encoder", 1, ("ethosu", "cpu"), strict=False)
    (short,) = loaded.placement.shortfalls()
    assert short.startswith("ethosu refused it, it runs on cpu (the delegate ethosu cannot be loaded")
    assert not LiteRtModel.load(content, "b", 1, ("cuda", "cpu"), strict=False).placement.refused
    for providers, strict, why in (
        (("ethosu",), False, "bundle b: encoder: the delegate ethosu cannot be loaded.*ask for cpu behind it"),
        (("ethosu", "cpu"), True, "leave --strict out"),
        (("cuda",), True, "cuda runs no TFLite models"),
    ):
        with pytest.raises(BackendError, match=why):
            LiteRtModel.load(content, "bundle b: encoder", 1, providers, strict)


def test_an_installation_without_litert_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in litert.PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=r"need LiteRT, which cannot be imported .*pip install auricle\[tflite\]"):
        LiteRtModel(tmp_path / "any.tflite")


def test_what_a_device_brings_serves_where_litert_is_absent(yamnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ai_edge_litert.interpreter as interpreter

    monkeypatch.setitem(sys.modules, litert.PACKAGES[0], None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", interpreter)  # the same classes under the older name
    monkeypatch.setitem(sys.modules, litert.PACKAGES[1], interpreter)
    assert LiteRtModel(yamnet).run({"waveform_binary": waveforms()[0]})
