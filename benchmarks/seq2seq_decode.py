"""How fast is our decoding of an encoder-decoder model, against CTranslate2 (faster-whisper's engine), whisper.cpp and onnxruntime?

    PEER=/tmp/peers/bin/python WHISPER_CPP=/tmp/whisper.cpp .venv-export/bin/python benchmarks/seq2seq_decode.py [--output FILE]

A random Whisper of whisper-tiny's size (vocabulary 51,865) is built by `auricle-export` in float and int8, and made into a model of
CTranslate2 by that one's own converter. PEER is a Python with ctranslate2, transformers and torch; it runs this file again as a server of
its half, so that each engine has a process of its own. One thread each; the same mels of 5 and 30 s; texts of one length, none of them
ended. Rounds alternate; medians and the median of their ratios. onnxruntime runs what `auricle-export --target jetson` writes of the same
weights, in our loop. Further: what a view costs that checks 30 tokens of which 24 are committed, and the times of a final text's words.

WHISPER_CPP, if set, is a clone with a static build in it (cmake -B build -DBUILD_SHARED_LIBS=OFF -DGGML_OPENMP=OFF; targets whisper and
whisper-quantize), which decodes the same mels of 30 s (its encoder has no other length) with flash attention, as it does by itself; its own
scripts convert and quantize (f32 and q8_0), which rounds every weight to 16 bits on the way, so its tokens may differ.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, SECONDS = 9, (5, 30)
START, END, PLAIN = 262, 261, 263
HEADS = ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5))
"""Whisper-tiny's that follow the words."""
WIDTH = {"encoder_layers": 4, "decoder_layers": 4, "d_model": 384, "encoder_attention_heads": 6, "decoder_attention_heads": 6}
WIDTH |= {"encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "max_target_positions": 448, "vocab_size": 51865}


def convert(source: Path, out: Path, kind: str) -> None:
    """The same weights for CTranslate2, by its own converter; only what it asks a published tokenizer is left out."""
    from ctranslate2.converters import transformers as conversion
    from ctranslate2.specs import whisper_spec
    from transformers import WhisperForConditionalGeneration

    loader = conversion._MODEL_LOADERS["WhisperConfig"]
    model = WhisperForConditionalGeneration.from_pretrained(source).eval()
    shape = model.config
    spec = whisper_spec.WhisperSpec(
        shape.encoder_layers, shape.encoder_attention_heads, shape.decoder_layers, shape.decoder_attention_heads
    )
    loader.set_encoder(spec.encoder, model.model.encoder)
    loader.set_decoder(spec.decoder, model.model.decoder)
    loader.set_linear(spec.decoder.projection, model.proj_out)
    named = {START: "<|startoftranscript|>", END: "<|endoftext|>", PLAIN: "<|notimestamps|>", 260: "<|nospeech|>"}
    spec.register_vocabulary([named.get(i, f"t{i}") for i in range(shape.vocab_size)])
    for name in ("suppress_ids", "suppress_ids_begin", "lang_ids", "alignment_heads"):
        setattr(spec.config, name, [])
    spec.validate()
    spec.optimize(quantization=kind)
    out.mkdir()
    spec.save(str(out))


def peer(source: Path, mels: Path, tokens: int) -> None:
    """Serves one line of JSON for each line of stdin: {"kind", "seconds"} -> {"encode_ms", "decode_ms", "tokens"}."""
    import ctranslate2

    models: dict[str, Any] = {}
    for kind in ("float32", "int8"):
        convert(source, source.parent / f"ct2-{kind}", kind)
        models[kind] = ctranslate2.models.Whisper(str(source.parent / f"ct2-{kind}"), device="cpu", compute_type=kind, intra_threads=1)
    given = np.load(mels)
    print(json.dumps({"version": ctranslate2.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(given[str(asked["seconds"])]))
        began = time.perf_counter()
        encoded = models[asked["kind"]].encode(view)
        middle = time.perf_counter()
        found = models[asked["kind"]].generate(
            encoded, [[START, PLAIN]], beam_size=1, max_length=2 * tokens, suppress_blank=False, suppress_tokens=[1, 2, END]
        )
        told = {"encode_ms": 1000 * (middle - began), "decode_ms": 1000 * (time.perf_counter() - middle)}
        print(json.dumps(told | {"tokens": list(found[0].sequences_ids[0])}), flush=True)


class WhisperCpp:
    """whisper.cpp with the weights of `source`, in a process for each kind. clone: with its build."""

    KINDS: ClassVar[dict[str, str]] = {"float32": "f32", "int8": "q8_0"}

    def __init__(self, clone: Path, source: Path, mels: NDArray[np.float32], tokens: int) -> None:
        root = source.parent / "whisper.cpp"
        assets = root / "whisper/assets"
        assets.mkdir(parents=True)
        np.savez(assets / "mel_filters.npz", mel_80=np.zeros((80, 201), np.float32))  # the mels are given
        names = ("".join(letters) for length in range(1, 6) for letters in itertools.product(string.ascii_lowercase, repeat=length))
        (source / "vocab.json").write_text(json.dumps({next(names): index for index in range(50_257)}))
        (source / "added_tokens.json").write_text("{}")
        mels.astype(np.float32).tofile(root / "mels")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for more in ((), ("use-f32",)):
            subprocess.run([sys.executable, clone / "models/convert-h5-to-ggml.py", source, root, root, *more], **quiet)
        subprocess.run([clone / "build/bin/whisper-quantize", root / "ggml-model.bin", root / "q8_0.bin", "q8_0"], **quiet)
        (root / "ggml-model-f32.bin").rename(root / "f32.bin")
        libraries = [clone / "build/src/libwhisper.a", *sorted((clone / "build/ggml").rglob("*.a"))]
        include = [f"-I{clone / folder}" for folder in ("include", "ggml/include")]
        built = ["c++", "-O2", "-std=c++17", *include, ROOT / "benchmarks/seq2seq_whisper_cpp.cpp", "-o", root / "decode"]
        subprocess.run([*built, "-Wl,--start-group", *libraries, "-Wl,--end-group", "-pthread", "-ldl"], check=True)
        self._served = {
            kind: subprocess.Popen(
                [root / "decode", root / f"{file}.bin", root / "mels", *map(str, (tokens, START, PLAIN, END))],
                env=os.environ | {"FLASH": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for kind, file in self.KINDS.items()
        }
        log = subprocess.run(["git", "-C", clone, "log", "-1", "--format=%h"], capture_output=True, text=True).stdout.strip()
        self.version = f"whisper.cpp {log}"

    def ask(self, kind: str) -> tuple[float, float, list[int]]:
        """Milliseconds of encoding and of decoding, and the tokens."""
        served = self._served[kind]
        assert served.stdin is not None
        assert served.stdout is not None
        served.stdin.write("\n")
        served.stdin.flush()
        encoded, decoded, *said = served.stdout.readline().split()
        return float(encoded), float(decoded), [int(token) for token in said]

    def close(self) -> None:
        for served in self._served.values():
            served.communicate()


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        peer(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        return 0
    sys.path.insert(0, str(ROOT / "tests"))
    sys.path.insert(0, str(ROOT))
    from common import parser, unmeasured
    from native_ring import machine

    parse = parser(__doc__)
    parse.add_argument("--tokens", type=int, default=64)
    options = parse.parse_args()
    python = os.environ.get("PEER", "")
    if not python:
        return unmeasured("PEER names no Python with ctranslate2; see the top of this file")
    import tiny_models

    from edge.backends.onnx import OnnxModel
    from edge.backends.text_decoder import TextDecoder
    from edge.features import whisper_log_mel
    from edge.seq2seq import Seq2Seq
    from edge.word_times import starts
    from export.build import BuildOptions, build
    from export.onnx_parts import audios

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny_models.whisper(root / "source", seed=1, sharp=2.0, **WIDTH)
        generation = json.loads((root / "source/generation_config.json").read_text())
        (root / "source/generation_config.json").write_text(json.dumps(generation | {"alignment_heads": HEADS}))
        own = {}
        for kind, precision in (("float32", "fp32"), ("int8", "int8")):
            folders = [
                build(BuildOptions(str(root / "source"), root / f"{kind}-{target}", encoder=precision, target=target), lambda line: None)
                for target in ("cpu", "jetson")
            ]
            models = TextDecoder((folders[0] / "decoder.gguf").read_bytes(), kind), OnnxModel(folders[1] / "decoder.onnx")
            own[kind] = OnnxModel(folders[0] / "encoder.onnx"), *(Seq2Seq(model, (), [1, 2, END]) for model in models)
        given = {str(s): whisper_log_mel(audios([float(s)], seed=3)[0], 80)[None] for s in SECONDS}
        np.savez(root / "mels.npz", **given)
        command = [python, __file__, "--serve", str(root / "source"), str(root / "mels.npz"), str(options.tokens)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdin is not None
        assert server.stdout is not None
        version = json.loads(server.stdout.readline())["version"]
        clone = os.environ.get("WHISPER_CPP", "")
        cpp = WhisperCpp(Path(clone), root / "source", given["30"][0], options.tokens) if clone else None
        peers = [f"CTranslate2 {version}", *([cpp.version] if cpp else [])]
        found: dict[str, Any] = {}
        for kind in own:
            for seconds in SECONDS:
                times: dict[str, list[float]] = {"ours encode": [], "ours decode": [], "peer encode": [], "peer decode": []}
                times |= {f"{who} {what}": [] for who in ("ours", "onnxruntime") for what in ("decode", "view")} | {"words": []}
                for _ in range(ROUNDS):
                    encoder, decoder, other = own[kind]
                    began = time.perf_counter()
                    rows = encoder.run({"input_features": given[str(seconds)]})
                    middle = time.perf_counter()
                    decoder.begin(rows)
                    said = decoder.decode([START, PLAIN], (), 0, options.tokens)
                    times["ours decode"].append(1000 * (time.perf_counter() - middle))
                    times["ours encode"].append(1000 * (middle - began))
                    began = time.perf_counter()
                    looked = decoder.attention([START, PLAIN, *said, END], HEADS)
                    starts(looked / looked.sum(axis=2, keepdims=True), 2, "tokens")
                    times["words"].append(1000 * (time.perf_counter() - began))
                    other.begin(rows)
                    began = time.perf_counter()
                    theirs = other.decode([START, PLAIN], (), 0, options.tokens)
                    times["onnxruntime decode"].append(1000 * (time.perf_counter() - began))
                    for who, runs in (("ours", decoder), ("onnxruntime", other)):
                        began = time.perf_counter()
                        runs.decode([START, PLAIN], said[:30], 24, 30)
                        times[f"{who} view"].append(1000 * (time.perf_counter() - began))
                    server.stdin.write(json.dumps({"kind": kind, "seconds": seconds}) + "\n")
                    server.stdin.flush()
                    told = json.loads(server.stdout.readline())
                    times["peer encode"].append(told["encode_ms"])
                    times["peer decode"].append(told["decode_ms"])
                    if cpp is not None and seconds == 30:
                        encoded, decoded, written = cpp.ask(kind)
                        times.setdefault("whisper.cpp encode", []).append(encoded)
                        times.setdefault("whisper.cpp decode", []).append(decoded)
                medians = {what: round(statistics.median(ms), 2) for what, ms in times.items()}

                def ratio(what: str, who: str, times: dict[str, list[float]] = times) -> float:
                    pairs = zip(times[f"ours {what}"], times[f"{who} {what}"], strict=True)
                    return round(statistics.median(a / b for a, b in pairs), 3)

                same = said == told["tokens"]
                found[f"{kind}, {seconds} s"] = medians | {
                    "decode, ours to peer": ratio("decode", "peer"),
                    "decode, ours to onnxruntime": ratio("decode", "onnxruntime"),
                    "view, ours to onnxruntime": ratio("view", "onnxruntime"),
                    "same tokens": same,
                    "same tokens as onnxruntime": said == theirs,
                    "tokens": [len(said), len(told["tokens"])],
                }
                if "whisper.cpp decode" in times:
                    found[f"{kind}, {seconds} s"] |= {
                        "decode, ours to whisper.cpp": ratio("decode", "whisper.cpp"),
                        "tokens of whisper.cpp": len(written),
                    }
                print(f"{kind}, {seconds} s: {found[f'{kind}, {seconds} s']}", flush=True)
        if cpp is not None:
            cpp.close()
        server.stdin.close()
        server.wait()
    result = {"machine": machine(), "peers": peers, "tokens": options.tokens, "rounds": ROUNDS, "found": found}
    bars = {
        f"{name}: not slower than {peer}": value[f"decode, ours to {key}"] <= 1.0
        for name, value in found.items()
        for key, peer in (("peer", "CTranslate2"), ("whisper.cpp", "whisper.cpp"), ("onnxruntime", "onnxruntime"))
        if f"decode, ours to {key}" in value
    }
    if options.output:
        options.output.write_text(json.dumps(result | {"bars": bars}, indent=1) + "\n")
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'}  {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
