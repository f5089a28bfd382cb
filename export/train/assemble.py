"""From trained weights to a bundle: ONNX in float or with weights in int8, GGUF, manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.backends.onnx import OnnxModel
from edge.types import SAMPLE_RATE
from export.pack import commit, pack, put_in_place
from export.quantize import quantize_weights
from export.to_gguf import write_llama
from export.to_onnx import export_streaming
from export.train.evidence import Evidence
from export.train.fit_language import Speaker
from export.train.labels import STARTER_LABELS
from export.train.language import ANSWER, BEGIN, FINAL, QUESTION
from export.train.model import BANDS, CHUNK_FRAMES, ROW_FRAMES, Encoder
from export.train.shards import HIGH_HZ, LOW_HZ
from export.train.tracking import SOUND_TABLE

LIMIT_TOKENS = 96
ASK_TOKENS = 96
CONTEXT = 256
PRECISIONS = {"int8": ("encoder.int8.onnx", "captioner.q8_0.gguf", "Q8_0"), "float": ("encoder.onnx", "captioner.f32.gguf", "F32")}
"""Of a bundle: its two files and the type of the language model's weights. The float one is what the other is compared with."""


def assemble(
    encoder: Encoder,
    speaker: Speaker,
    tokenizer: Path,
    out: Path,
    about: Mapping[str, Any],
    precision: str = "int8",
    sounds: Mapping[str, Any] = SOUND_TABLE,
) -> None:
    """Writes a bundle to `out` (replaced when it is there).

    about: version, card, receipt. sounds: thresholds, as `tracking.sound_table` writes them.
    encoder and speaker are not modified. Raises: KeyError for a precision that is not one of PRECISIONS.
    """
    encoder_file, captioner_file, kind = PRECISIONS[precision]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / out.name
        work.mkdir()
        plain = Path(name) / "encoder.onnx"
        export_streaming(encoder, Evidence(sounds), speaker.projector, plain)
        if precision == "int8":
            quantize_weights(plain, work / encoder_file)
        else:
            shutil.copy(plain, work / encoder_file)
        write_llama(speaker.decoder, tokenizer, work / captioner_file, "auricle-starter", kind)
        pack(work, _manifest(work, precision, about) | {"sounds": dict(sounds)})
        put_in_place(work, out)


def _manifest(folder: Path, precision: str, about: Mapping[str, Any]) -> dict[str, Any]:
    encoder_file, captioner_file, kind = PRECISIONS[precision]
    source = {"recipe": "export.train.starter", "commit": commit()}
    model = OnnxModel(folder / encoder_file)
    ports = [[{"name": n, "dtype": d, "shape": list(s)} for n, (d, s) in side.items()] for side in (model.inputs, model.outputs)]
    heard = {"role": "encoder", "runtime": "onnx", "file": encoder_file, "inputs": ports[0], "outputs": ports[1], "precision": precision}
    said = {"role": "captioner", "runtime": "gguf", "file": captioner_file, "inputs": [], "outputs": [], "precision": kind.lower()}
    return {
        "name": "starter",
        "version": about["version"],
        "licence": "Apache-2.0",
        "created_by": source,
        "models": [heard | {"source": source}, said | {"source": source}],
        "labels": list(STARTER_LABELS),
        "front_end": {
            "sample_rate": SAMPLE_RATE,
            "frame": 400,
            "hop": 160,
            "fft": 512,
            "bands": BANDS,
            "low_hz": LOW_HZ,
            "high_hz": HIGH_HZ,
        },
        "encoder": {"chunk_frames": CHUNK_FRAMES, "score_hop": ROW_FRAMES * 160, "vector_hop": CHUNK_FRAMES * 160},
        "caption": {
            "prompt": BEGIN,
            "final_prompt": FINAL,
            "ask_prompt": QUESTION + "{question}" + ANSWER,
            "limit_tokens": LIMIT_TOKENS,
            "ask_tokens": ASK_TOKENS,
            "context": CONTEXT,
            "unspoken": ["Noise"],
        },
        "receipt": {"figures": list(about.get("figures", []))},
        "card": about.get("card", ""),
    }
