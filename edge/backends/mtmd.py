"""The audio half of a published GGUF pair (model + mmproj) as a TensorModel: samples in, rows for the language model out, through mtmd.

llama.cpp's multimodal library does its own log-mels and windows (30 s for most). It looks into the language model for its width and its
special tokens only, so that file is mapped a second time and its weights are never read. Single-threaded use.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.llama import load_llama
from edge.backends.onnx import Placement, Ports
from edge.errors import BackendError
from edge.types import SAMPLE_RATE, Samples

TEXT, AUDIO = 0, 2
"""Kinds of a chunk, as mtmd.h numbers them."""
TRIAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Around:
    """What the model wants before and behind audio rows, as tokens (such as <|audio_bos|>)."""

    before: tuple[int, ...]
    behind: tuple[int, ...]


class MtmdTower:
    """One mmproj file beside its language model. Ports: samples float32[1, n] at 16 kHz -> vectors float32[1, T, D].

    Raises: BackendError where mtmd is absent, refuses the files, hears nothing, or wants what this runtime does not give.
    """

    def __init__(self, path: Path, language: Path, threads: int = 1, speak: bool = False) -> None:
        """speak: mtmd's own messages go to stderr."""
        self._llama, self.name = load_llama(), path.name
        self._mtmd = _load(speak)
        self._model: Any = None
        self._context: Any = None
        try:
            self._open(path, language, threads)
        except BaseException:
            self.close()
            raise
        self.inputs: Ports = {"samples": ("float32", (1, None))}
        self.outputs: Ports = {"vectors": ("float32", (1, None, self._width))}
        self.placement = Placement(asked=("cpu",), used=("cpu",), absent=())

    def _open(self, path: Path, language: Path, threads: int) -> None:
        llama, mtmd = self._llama, self._mtmd
        wanted = llama.llama_model_default_params()
        wanted.n_gpu_layers, wanted.use_extra_bufts = 0, False  # mapped, and no page of it is read
        self._model = llama.llama_model_load_from_file(str(language).encode(), wanted)
        if not self._model:
            raise BackendError(f"llama.cpp cannot load {language.name}; it is damaged or of an architecture that it does not know")
        self._width = int(llama.llama_model_n_embd(self._model))
        settings = mtmd.mtmd_context_params_default()
        settings.use_gpu, settings.print_timings, settings.n_threads, settings.warmup = False, False, threads, False
        self._context = mtmd.mtmd_init_from_file(str(path).encode(), self._model, settings)
        if not self._context:
            raise BackendError(
                f"mtmd cannot load {path.name} beside {language.name}: it is damaged, of a kind that this llama.cpp does not know, or of "
                "another model; take both files from one place"
            )
        if not mtmd.mtmd_support_audio(self._context):
            raise BackendError(f"{path.name} has no audio encoder; choose a model that hears")
        if (rate := mtmd.mtmd_get_audio_sample_rate(self._context)) != SAMPLE_RATE:
            raise BackendError(f"{path.name} hears {rate} Hz; this runtime gives {SAMPLE_RATE}; choose another model")

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """{"vectors": float32[1, T, D]}, new and owned by the caller. Raises: ValueError for other arrays; BackendError when it fails."""
        samples = arrays.get("samples")
        if len(arrays) != 1 or samples is None or samples.ndim != 2 or len(samples) != 1 or samples.shape[1] == 0:
            raise ValueError(f"{self.name} takes samples float32[1, n], not {', '.join(arrays) or 'nothing'}")
        rows, _ = self._encode(np.ascontiguousarray(samples[0], np.float32))
        return {"vectors": rows[None]}

    def around(self) -> Around:
        """The tokens that this model has around audio."""
        return self._encode(np.zeros(round(TRIAL_S * SAMPLE_RATE), np.float32))[1]

    def _encode(self, samples: Samples) -> tuple[Samples, Around]:
        mtmd = self._mtmd
        if not self._context:
            raise ValueError("this audio encoder has been closed; load it again")
        given = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        bitmap, chunks = mtmd.mtmd_bitmap_init_from_audio(len(samples), given), mtmd.mtmd_input_chunks_init()
        try:
            marker = mtmd.mtmd_get_marker(self._context)
            text = mtmd.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            status = mtmd.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1)
            if status != 0:
                raise BackendError(f"{self.name}: mtmd cannot take {len(samples)} samples (status {status}); choose another model")
            return self._rows_of(chunks)
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)

    def _rows_of(self, chunks: Any) -> tuple[Samples, Around]:
        mtmd = self._mtmd
        rows: list[Samples] = []
        around: tuple[list[int], list[int]] = ([], [])
        for index in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk = mtmd.mtmd_input_chunks_get(chunks, index)
            kind = mtmd.mtmd_input_chunk_get_type(chunk)
            if kind == TEXT:
                count = ctypes.c_size_t(0)
                tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
                around[bool(rows)].extend(tokens[: count.value])
            elif kind == AUDIO:
                if mtmd.mtmd_decode_use_non_causal(self._context, chunk):
                    raise BackendError(f"{self.name}: its rows see each other in both directions, which this runtime does not do")
                if (status := mtmd.mtmd_encode_chunk(self._context, chunk)) != 0:
                    raise BackendError(f"{self.name}: mtmd cannot encode the audio (status {status}); memory may be short")
                found = mtmd.mtmd_get_output_embd(self._context)
                count_rows = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
                rows.append(np.ctypeslib.as_array(found, shape=(count_rows, self._width)).copy())
        if not rows:
            raise BackendError(f"{self.name}: mtmd made no rows of the audio; choose another model")
        return np.concatenate(rows), Around(tuple(around[0]), tuple(around[1]))

    def close(self) -> None:
        """Frees both; may be called twice."""
        if self._context:
            self._mtmd.mtmd_free(self._context)
            self._context = None
        if self._model:
            self._llama.llama_model_free(self._model)
            self._model = None


_SILENT: list[Any] = []
"""Keeps the log callback alive: mtmd holds only its address."""


def _load(speak: bool) -> Any:
    try:
        mtmd = importlib.import_module("llama_cpp.mtmd_cpp")
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as cause:
        raise BackendError(
            "audio models as GGUF pairs need llama.cpp's multimodal library, which this llama-cpp-python was built without "
            f"({type(cause).__name__}); install one that was built with LLAVA_BUILD=ON"
        ) from cause
    if not _SILENT and not speak:
        quiet = importlib.import_module("llama_cpp").llama_log_callback(lambda level, text, user: None)
        mtmd.mtmd_log_set(quiet, None)
        mtmd.mtmd_helper_log_set(quiet, None)
        _SILENT.append(quiet)
    return mtmd
