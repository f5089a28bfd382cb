"""A bundle of the starter's form in miniature: a causal ONNX encoder with two states and a random Llama, both made here without torch.

Its labels are four ranges of pitch, each heard when the loudest band of its range is loud; the text is words in random order that
depends on every row of the prefix. So everything of the line moves, except that nothing is understood.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.pack import pack

Array = NDArray[np.float32]

LABELS = ("Hum", "Tone", "Whistle", "Hiss")
PITCH_HZ = {"Hum": 180.0, "Tone": 1000.0, "Whistle": 2600.0, "Hiss": 5600.0}
UNSPOKEN = "Hiss"
BANDS, CHUNK_FRAMES, SCORE_HOP, VECTOR_HOP = 64, 32, 640, 5120
WIDTH, HIDDEN, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 128
ROPE_BASE, NORM_EPS = 10_000.0, 1e-5
LIMIT_TOKENS = 12
END, CAPTION = 0, 1
WORDS = (
    " a",
    " dog",
    " barks",
    " the",
    " rain",
    " falls",
    " then",
    " bell",
    " rings",
    " and",
    " is",
    " heard",
    ",",
    ".",
    " while",
    " wind",
)


def _constants(width: int) -> dict[str, Array | NDArray[np.int64]]:
    rng = np.random.default_rng(7)
    return {
        "groups": np.array([1, 8, len(LABELS), BANDS // len(LABELS)], np.int64),
        "last": np.array([3], np.int64),
        "threshold": np.float32(1.0).reshape(1),
        "gain": np.float32(1.5).reshape(1),
        "flat": np.array([1, 1, 8 * len(LABELS)], np.int64),
        "keep": np.float32(0.7).reshape(1),
        "add": np.float32(0.3).reshape(1),
        "project": rng.standard_normal((2 * 8 * len(LABELS), width)).astype(np.float32) * np.float32(0.5),
        "tail_from": np.array([CHUNK_FRAMES], np.int64),
        "tail_to": np.array([CHUNK_FRAMES + 4], np.int64),
        "frames": np.array([1], np.int64),
    }


def encoder_bytes(width: int = WIDTH, score_name: str = "scores") -> bytes:
    """Rows of 40 ms over windows of 80 ms; state_00 is the last four frames, state_01 a running mean of the scores."""
    node = helper.make_node
    nodes = [
        node("Concat", ["state_00", "mels"], ["all"], axis=1),
        node("Transpose", ["all"], ["by_band"], perm=[0, 2, 1]),
        node("AveragePool", ["by_band"], ["pooled_by_band"], kernel_shape=[8], strides=[4]),
        node("Transpose", ["pooled_by_band"], ["pooled"], perm=[0, 2, 1]),
        node("Reshape", ["pooled", "groups"], ["grouped"]),
        node("ReduceMax", ["grouped", "last"], ["loudest"], keepdims=0),
        node("Sub", ["loudest", "threshold"], ["over"]),
        node("Mul", ["over", "gain"], ["logits"]),
        node("Sigmoid", ["logits"], [score_name]),
        node("Reshape", [score_name, "flat"], ["now"]),
        node("Mul", ["state_01", "keep"], ["kept"]),
        node("Mul", ["now", "add"], ["added"]),
        node("Add", ["kept", "added"], ["next_01"]),
        node("Concat", ["now", "next_01"], ["evidence"], axis=2),
        node("MatMul", ["evidence", "project"], ["vectors"]),
        node("Slice", ["all", "tail_from", "tail_to", "frames"], ["next_00"]),
    ]
    graph = helper.make_graph(
        nodes, "miniature", *_ports(width, score_name), [numpy_helper.from_array(array, name) for name, array in _constants(width).items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


INPUTS = {"mels": [1, CHUNK_FRAMES, BANDS], "state_00": [1, 4, BANDS], "state_01": [1, 1, 8 * len(LABELS)]}
OUTPUTS = {
    "scores": [1, 8, len(LABELS)],
    "vectors": [1, 1, WIDTH],
    "next_00": [1, 4, BANDS],
    "next_01": [1, 1, 8 * len(LABELS)],
}


def _ports(width: int, score_name: str) -> tuple[list[Any], list[Any]]:
    outputs = {score_name if name == "scores" else name: shape for name, shape in OUTPUTS.items()}
    outputs["vectors"] = [1, 1, width]
    return tuple(  # type: ignore[return-value]
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()] for ports in (INPUTS, outputs)
    )


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte (Radford et al. 2019, encoder.py)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def vocabulary() -> list[str]:
    """Tokens by id: two specials, 256 bytes, words."""
    letters = _byte_letters()
    return ["<end>", "<caption>", *letters, *("".join(letters[b] for b in word.encode()) for word in WORDS if len(word) > 1)]


@cache
def weights(seed: int = 1) -> dict[str, Array]:
    """Tensors of the random Llama by llama.cpp's names, as [out, in]."""
    rng = np.random.default_rng(seed)
    tokens = len(vocabulary())

    def normal(rows: int, columns: int, scale: float) -> Array:
        return (rng.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    embed = normal(tokens, WIDTH, 1.0)
    embed[258:] *= 6.0  # mostly whole words
    embed[[258 - 256 + b for b in b",."]] *= 5.0
    embed[END] *= 5.0
    found = {"token_embd.weight": embed, "output_norm.weight": np.ones(WIDTH, np.float32)}
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        for name, scale in {"attn_q": 1.0, "attn_k": 1.0, "attn_v": 1.5, "attn_output": 4.0}.items():
            found[f"{at}{name}.weight"] = normal(WIDTH, WIDTH, scale)
        found[f"{at}ffn_gate.weight"], found[f"{at}ffn_up.weight"] = normal(HIDDEN, WIDTH, 1.5), normal(HIDDEN, WIDTH, 1.5)
        found[f"{at}ffn_down.weight"] = normal(WIDTH, HIDDEN, 5.0)
        for name in ("attn_norm", "ffn_norm"):
            found[f"{at}{name}.weight"] = (1.0 + 0.1 * rng.standard_normal(WIDTH)).astype(np.float32)
    return found


def write_llama(path: Path, seed: int = 1) -> Path:
    """The random Llama as F32 GGUF, byte-level BPE inside, in the form of export/to_gguf.py."""
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name("miniature")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(HIDDEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_rope_freq_base(ROPE_BASE)
    out.add_layer_norm_rms_eps(NORM_EPS)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens = vocabulary()
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.CONTROL if i < 2 else gguf.TokenType.NORMAL for i in range(len(tokens))])
    out.add_token_merges(["Ġ a"])
    out.add_bos_token_id(CAPTION)
    out.add_eos_token_id(END)
    out.add_add_bos_token(False)
    for name, array in weights(seed).items():
        out.add_tensor(name, array)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def _ports_description(ports: dict[str, list[int]]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": "float32", "shape": shape} for name, shape in ports.items()]


def description(captioner: bool = True, **changes: Any) -> dict[str, Any]:
    """What `export.pack.pack` takes."""
    source = {"precision": "float32", "source": {"recipe": "tests/line_bundle.py", "commit": "0"}}
    models: list[dict[str, Any]] = [
        {
            "role": "encoder",
            "runtime": "onnx",
            "file": "encoder.onnx",
            "inputs": _ports_description(INPUTS),
            "outputs": _ports_description(OUTPUTS),
            **source,
        }
    ]
    if captioner:
        models.append({"role": "captioner", "runtime": "gguf", "file": "captioner.gguf", "inputs": [], "outputs": [], **source})
    return {
        "name": "miniature",
        "version": "0.1.0",
        "licence": "Apache-2.0",
        "created_by": {"recipe": "tests/line_bundle.py", "commit": "0"},
        "models": models,
        "labels": list(LABELS),
        "front_end": {"sample_rate": 16000, "frame": 400, "hop": 160, "fft": 512, "bands": BANDS, "low_hz": 50.0, "high_hz": 8000.0},
        "encoder": {"chunk_frames": CHUNK_FRAMES, "score_hop": SCORE_HOP, "vector_hop": VECTOR_HOP},
        "sounds": {"default": {"on": 0.5, "off": 0.25}},
        "caption": {"prompt": "<caption>", "limit_tokens": LIMIT_TOKENS, "context": CONTEXT, "unspoken": [UNSPOKEN]},
        "receipt": {"figures": [{"name": "steps", "value": 0, "unit": "", "data": "none", "origin": "synthetic", "n": 0}]},
        **changes,
    }


def make(folder: Path, captioner: bool = True, model: bytes | None = None, seed: int = 1, **changes: Any) -> Path:
    """Writes the bundle into a new folder and returns it. model: another ONNX encoder. changes: of the manifest."""
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(model or encoder_bytes())
    if captioner:
        write_llama(folder / "captioner.gguf", seed)
    pack(folder, description(captioner, **changes))
    return folder


def tone(label: str, seconds: float, amplitude: float = 0.2, seed: int = 0) -> Array:
    """A tone that the bundle hears as `label`, with 10 ms ramps."""
    n = round(seconds * 16_000)
    t = np.arange(n) / 16_000
    ramp = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / 160)
    # A slow wobble, so that no two rows are alike.
    wave = np.sin(2 * np.pi * PITCH_HZ[label] * t + 0.5 * np.sin(2 * np.pi * (1.3 + seed) * t)) * (0.8 + 0.2 * np.sin(2 * np.pi * 0.7 * t))
    return (amplitude * ramp * wave).astype(np.float32)


def quiet(seconds: float, seed: int = 0) -> Array:
    """Noise of a quiet room, about -75 dBFS."""
    return (np.random.default_rng(seed).standard_normal(round(seconds * 16_000)) * 1.8e-4).astype(np.float32)


def scene(*parts: tuple[str, float], seed: int = 0) -> Array:
    """Tones ("" for a pause) one after another, (label, seconds) each, over a quiet room."""
    pieces = [
        tone(label, seconds, seed=index) if label else np.zeros(round(seconds * 16_000), np.float32)
        for index, (label, seconds) in enumerate(parts)
    ]
    whole = np.concatenate(pieces)
    return whole + quiet(len(whole) / 16_000, seed)
