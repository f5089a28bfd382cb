"""How fast is our decoding of an encoder-decoder model, against CTranslate2 (faster-whisper's engine) with the same weights?

    PEER=/tmp/peers/bin/python .venv-export/bin/python benchmarks/seq2seq_decode.py [--tokens 64] [--output FILE]

A random Whisper of whisper-tiny's size (vocabulary 51,865) is built by `auricle-export` in float and int8, and made into a model of
CTranslate2 by that one's own converter. PEER is a Python with ctranslate2, transformers and torch; it runs this file again as a server of
its half, so that each engine has a process of its own. One thread each; the same mels of 5 and 30 s; texts of one length, none of them
ended. Rounds alternate; medians and the median of their ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, SECONDS = 9, (5, 30)
START, END, PLAIN = 262, 261, 263
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
    from edge.features import whisper_log_mel
    from edge.seq2seq import Seq2Seq
    from export.build import BuildOptions, build
    from export.onnx_parts import audios

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny_models.whisper(root / "source", seed=1, sharp=2.0, **WIDTH)
        own = {}
        for kind, precision in (("float32", "fp32"), ("int8", "int8")):
            folder = build(BuildOptions(str(root / "source"), root / kind, encoder=precision), lambda line: None)
            decoder = Seq2Seq(OnnxModel(folder / "decoder.onnx"), (), [1, 2, END])
            own[kind] = OnnxModel(folder / "encoder.onnx"), decoder
        given = {str(s): whisper_log_mel(audios([float(s)], seed=3)[0], 80)[None] for s in SECONDS}
        np.savez(root / "mels.npz", **given)
        command = [python, __file__, "--serve", str(root / "source"), str(root / "mels.npz"), str(options.tokens)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdin is not None
        assert server.stdout is not None
        version = json.loads(server.stdout.readline())["version"]
        found: dict[str, Any] = {}
        for kind in own:
            for seconds in SECONDS:
                times: dict[str, list[float]] = {"ours encode": [], "ours decode": [], "peer encode": [], "peer decode": []}
                for _ in range(ROUNDS):
                    encoder, decoder = own[kind]
                    began = time.perf_counter()
                    rows = encoder.run({"input_features": given[str(seconds)]})
                    middle = time.perf_counter()
                    decoder.begin(rows)
                    said = decoder.decode([START, PLAIN], (), 0, options.tokens)
                    times["ours decode"].append(1000 * (time.perf_counter() - middle))
                    times["ours encode"].append(1000 * (middle - began))
                    server.stdin.write(json.dumps({"kind": kind, "seconds": seconds}) + "\n")
                    server.stdin.flush()
                    told = json.loads(server.stdout.readline())
                    times["peer encode"].append(told["encode_ms"])
                    times["peer decode"].append(told["decode_ms"])
                medians = {what: round(statistics.median(ms), 2) for what, ms in times.items()}
                ratio = statistics.median(a / b for a, b in zip(times["ours decode"], times["peer decode"], strict=True))
                same = said == told["tokens"]
                found[f"{kind}, {seconds} s"] = medians | {
                    "decode, ours to peer": round(ratio, 3),
                    "same tokens": same,
                    "tokens": [len(said), len(told["tokens"])],
                }
                print(f"{kind}, {seconds} s: {found[f'{kind}, {seconds} s']}", flush=True)
        server.stdin.close()
        server.wait()
    result = {"machine": machine(), "peer": f"CTranslate2 {version}", "tokens": options.tokens, "rounds": ROUNDS, "found": found}
    bars = {f"{name}: not slower": value["decode, ours to peer"] <= 1.0 for name, value in found.items()}
    if options.output:
        options.output.write_text(json.dumps(result | {"bars": bars}, indent=1) + "\n")
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'}  {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
