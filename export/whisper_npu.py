"""Whisper's encoder for NPUs: of one length, in the NPU's own format, judged against the reference before it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge.features import whisper_log_mel
from export.npu import ACCELERATORS, compile_vela, run_int8, to_tflite
from export.onnx_parts import audios, calibration, export
from export.recipes.recipe import Work
from export.rknn import PLATFORMS, to_rknn
from export.taggers import window_of

Arrays = list[np.ndarray]
NPU_WINDOW_S = 10.0


def mels(model: Any, sound: np.ndarray) -> np.ndarray:
    """float32[n] -> float32[1, bands, frames] as the runtime makes them."""
    return whisper_log_mel(sound, model.config.num_mel_bins)[None]


def for_npu(model: Any, work: Work, encoder: nn.Module) -> list[dict[str, Any]]:
    """The manifest's entry of an encoder for the target's NPU, for windows of --window (10) s; none for targets without one.

    Ethos-U: int8 by Vela, Rockchip: float16, or int8 with --encoder int8-static. Raises: BuildError, also where the rows are too far off.
    """
    if work.target not in (*ACCELERATORS, *PLATFORMS):
        return []
    window = window_of(work, model.config.max_source_positions / 50, NPU_WINDOW_S)
    judged = [mels(model, x) for x in audios([window / 16_000] * 4)]
    with torch.inference_mode():
        wanted = [encoder(torch.from_numpy(x))[0].numpy() for x in judged]
    work.tell(f"making the encoder for {work.target}")
    make_one = for_rockchip if work.target in PLATFORMS else for_ethos
    return [make_one(model, work, encoder, window, judged, wanted) | {"role": "encoder-npu", "source": dict(work.origin)}]


def heard(model: Any, work: Work, window: int) -> list[np.ndarray]:
    """Mels of the recordings that calibrate."""
    return [mels(model, np.resize(x, window)) for x in calibration(work, window / 16_000, always=True)]


def for_ethos(model: Any, work: Work, encoder: nn.Module, window: int, judged: Arrays, wanted: Arrays) -> dict[str, Any]:
    """int8 TFLite, compiled by Vela. Its entry."""
    small, out = work.folder / "int8.tflite", work.folder / f"encoder.{work.target}.tflite"
    to_tflite(encoder, torch.from_numpy(judged[0]), heard(model, work, window), small)
    found = [run_int8(small, x)[0] for x in judged]
    work.rows(f"encoder rows on {work.target}", "int8-static", found, wanted, f"{len(judged)} synthetic sounds of {window / 16_000:g} s")
    compiled = compile_vela(small, work.target, out)
    small.unlink()
    what = f"Vela's estimate for {ACCELERATORS[work.target]}, {window / 16_000:g} s of sound"
    work.measured(f"operators on {work.target}", compiled.share, "%", what, compiled.on_npu + sum(compiled.on_cpu.values()))
    work.measured(f"one run on {work.target}", compiled.milliseconds, "ms", what, 1)
    work.measured(f"fast memory on {work.target}", compiled.sram_kb, "KiB", what, 1)
    if compiled.on_cpu:
        work.tell(f"left to the processor: {', '.join(f'{n} {op}' for op, n in compiled.on_cpu.items())}")
    return entry_of(out, "tflite", "int8", "int8", list(judged[0].shape), list(found[0].shape))


def for_rockchip(model: Any, work: Work, encoder: nn.Module, window: int, judged: Arrays, wanted: Arrays) -> dict[str, Any]:
    """RKNN, judged in Rockchip's simulator. Its entry."""
    out, plain = work.folder / f"encoder.{work.target}.rknn", work.scratch / "encoder.onnx"
    with torch.inference_mode():
        export(Rows(encoder), {"input_features": torch.from_numpy(judged[0])}, {}, ["last_hidden_state"], plain)
    static = work.encoder == "int8-static"
    found = list(to_rknn(work, plain, out, judged, heard(model, work, window) if static else ()))
    data = f"{len(judged)} synthetic sounds of {window / 16_000:g} s, rknn-toolkit2's simulator"
    work.rows(f"encoder rows on {work.target}", "int8-static" if static else "fp16", found, wanted, data)
    work.measured(f"bytes of the encoder for {work.target}", out.stat().st_size, "bytes", work.target, 1)
    return entry_of(out, "rknn", "int8" if static else "fp16", "float32", list(judged[0].shape), list(found[0].shape))


class Rows(nn.Module):
    """An encoder's rows alone: what the decoder derives from them is small, and stays on the processor."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_features: Tensor) -> Tensor:
        rows: Tensor = self.encoder(input_features)[0]
        return rows


def entry_of(path: Path, runtime: str, precision: str, dtype: str, takes: list[int], gives: list[int]) -> dict[str, Any]:
    """The manifest's entry of a file with one input and one output, but for role and source."""
    ports = [{"name": "args_0", "dtype": dtype, "shape": takes}], [{"name": "output_0", "dtype": dtype, "shape": gives}]
    return {"runtime": runtime, "file": path.name, "inputs": ports[0], "outputs": ports[1], "precision": precision}
