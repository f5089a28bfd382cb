"""From trained weights to a bundle: float ONNX, int8 by calibration on real scenes, GGUF, manifest."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.backends.onnx import OnnxModel
from edge.types import SAMPLE_RATE
from export.pack import pack
from export.quantize import quantize_int8, streaming_feeds
from export.to_gguf import write_llama
from export.to_onnx import export_streaming
from export.train.fit_language import Speaker
from export.train.labels import STARTER_LABELS
from export.train.language import BEGIN
from export.train.model import BANDS, CHUNK_FRAMES, ROW_FRAMES, Encoder
from export.train.shards import HIGH_HZ, LOW_HZ

LIMIT_TOKENS = 96
CONTEXT = 256
ENCODER_FILE, CAPTIONER_FILE = "encoder.int8.onnx", "captioner.q8_0.gguf"


def assemble(
    encoder: Encoder,
    speaker: Speaker,
    tokenizer: Path,
    calibration: Sequence[np.ndarray],
    sounds: Mapping[str, Any],
    out: Path,
    about: Mapping[str, Any],
) -> None:
    """Writes a bundle to `out` (replaced when it is there).

    calibration: log-mels float32[T, 64] of scenes the encoder was fitted on. sounds: the manifest's table. about: version, card,
    receipt, created_by. encoder and speaker are not modified.
    """
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / out.name
        work.mkdir()
        plain = Path(name) / "encoder.onnx"
        export_streaming(encoder, speaker.projector, plain)
        quantize_int8(plain, work / ENCODER_FILE, streaming_feeds(plain, calibration, CHUNK_FRAMES))
        write_llama(speaker.decoder, tokenizer, work / CAPTIONER_FILE, "auricle-starter", "Q8_0")
        pack(work, _manifest(work, sounds, about))
        if out.exists():
            shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(work, out)


def commit() -> str:
    """The commit that the recipe stands at, "unknown" outside a checkout."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def _manifest(folder: Path, sounds: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    source = {"recipe": "export.train.starter", "commit": commit()}
    model = OnnxModel(folder / ENCODER_FILE)
    ports = [[{"name": n, "dtype": d, "shape": list(s)} for n, (d, s) in side.items()] for side in (model.inputs, model.outputs)]
    return {
        "name": "starter",
        "version": about["version"],
        "licence": "Apache-2.0",
        "created_by": source,
        "models": [
            {
                "role": "encoder",
                "runtime": "onnx",
                "file": ENCODER_FILE,
                "inputs": ports[0],
                "outputs": ports[1],
                "precision": "int8",
                "source": source,
            },
            {
                "role": "captioner",
                "runtime": "gguf",
                "file": CAPTIONER_FILE,
                "inputs": [],
                "outputs": [],
                "precision": "q8_0",
                "source": source,
            },
        ],
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
        "sounds": dict(sounds),
        "caption": {"prompt": BEGIN, "limit_tokens": LIMIT_TOKENS, "context": CONTEXT, "unspoken": ["Noise"]},
        "receipt": {"figures": list(about.get("figures", []))},
        "card": about.get("card", ""),
    }
