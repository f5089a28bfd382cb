"""llama.cpp as a TextModel: audio rows as a prefix in the KV cache, text behind them; through llama-cpp-python's low-level interface.

Single-threaded use; one sequence.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge.backends.tokens import log_probability
from edge.errors import BackendError
from edge.types import Samples, Tell

BATCH = 64
"""Rows or tokens in one evaluation. llama.cpp aborts the process when a batch is larger than its n_batch, so longer input is split."""

_SILENT: list[Any] = []
"""Keeps the log callback alive: llama.cpp holds only its address."""


def load_llama() -> ModuleType:
    """llama-cpp-python, silent. Raises: BackendError when it cannot be imported."""
    try:
        llama = importlib.import_module("llama_cpp")
    except ImportError as cause:
        raise BackendError(
            f"captions need llama-cpp-python, which cannot be imported ({cause}): install it with `pip install auricle` or use a "
            "bundle without a language model"
        ) from cause
    if not _SILENT:
        quiet = llama.llama_log_callback(lambda level, text, user: None)
        llama.llama_log_set(quiet, None)
        llama.llama_backend_init()
        _SILENT.append(quiet)
    return llama


class LlamaModel:
    """A GGUF language model with one sequence of audio rows and text. Satisfies `edge.types.TextModel`."""

    def __init__(self, path: Path, context: int = 512, threads: int = 1, before: str = "") -> None:
        """context: rows and tokens together. before: text in front of all audio, special tokens by their names.

        Raises: BackendError when the file cannot be loaded.
        """
        if context < 1 or threads < 1:
            raise ValueError(f"context and threads must be >= 1, not {context} and {threads}")
        self._llama = load_llama()
        self._model: Any = None
        self._context: Any = None
        self._tokens: Any = None
        self._embeddings: Any = None
        try:
            self._open(path, context, threads)
            self._before = self.tokenize(before) if before else []
            self.reset()
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, context: int, threads: int) -> None:
        llama = self._llama
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self._model = llama.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise BackendError(f"llama.cpp cannot load {path.name}: {_why_not(path)}")
        wanted = llama.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = context, BATCH, BATCH
        wanted.n_threads = wanted.n_threads_batch = threads
        # F32 keys and values: a revision from kept rows is then the same computation as a fresh one, and the cache is small.
        wanted.type_k = wanted.type_v = llama.GGML_TYPE_F32
        wanted.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        wanted.no_perf = True
        self._context = llama.llama_init_from_model(self._model, wanted)
        if not self._context:
            raise BackendError(
                f"llama.cpp cannot make a context of {context} positions for {path.name}: not enough memory; free some or lower it"
            )
        self._vocab: Any = llama.llama_model_get_vocab(self._model)
        self._vocabulary = int(llama.llama_vocab_n_tokens(self._vocab))
        self._width = int(llama.llama_model_n_embd(self._model))
        self._end = int(llama.llama_vocab_eos(self._vocab))
        self._memory: Any = llama.llama_get_memory(self._context)
        self._positions = context
        self._rows = 0
        # Where positions have several axes (Qwen2.5-Omni), a row of audio has the same place on all but the last.
        self._axes = 4 if llama.llama_model_rope_type(self._model) in (llama.LLAMA_ROPE_TYPE_MROPE, llama.LLAMA_ROPE_TYPE_IMROPE) else 1
        self._tokens = llama.llama_batch_init(BATCH, 0, 1)
        self._embeddings = llama.llama_batch_init(BATCH, self._width, 1)
        self._own_places = ctypes.cast(self._embeddings.pos, ctypes.c_void_p).value or 0  # a field's pointer would follow the field
        self._places = (llama.llama_pos * (BATCH * self._axes))()
        self._embeddings.pos = ctypes.cast(self._places, ctypes.POINTER(llama.llama_pos))

    @property
    def width(self) -> int:
        """Length of one embedding row."""
        return self._width

    @property
    def rows(self) -> int:
        """Rows of the prefix: the text before the audio, and the audio's."""
        return self._rows

    @property
    def context(self) -> int:
        """Rows and tokens that fit together."""
        return self._positions

    def reset(self) -> None:
        """Forgets the rows and the text; what stands before all audio is kept."""
        self._need()
        if self._rows < len(self._before) or not self._before:
            self._llama.llama_memory_clear(self._memory, True)
            self._rows = 0
        if self._before and self._rows == 0:
            self._best(self._before, 0)
        self._rows = len(self._before)
        self._llama.llama_memory_seq_rm(self._memory, 0, self._rows, -1)

    def extend(self, rows: Samples) -> None:
        """Appends float32[T, width] to the prefix, evaluating only these rows; the text behind the prefix is dropped.

        Raises: ValueError when they have another width or do not fit into the context.
        """
        self._need()
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise ValueError(f"rows have the shape {rows.shape}, expected [T, {self._width}]")
        if self._rows + len(rows) > self._positions:
            raise ValueError(f"{self._rows} + {len(rows)} rows do not fit into a context of {self._positions}")
        self._llama.llama_memory_seq_rm(self._memory, 0, self._rows, -1)
        for start in range(0, len(rows), BATCH):
            part = np.ascontiguousarray(rows[start : start + BATCH], np.float32)
            batch = self._embeddings
            batch.n_tokens = len(part)
            ctypes.memmove(batch.embd, part.ctypes.data, part.nbytes)
            self._address(batch, len(part), self._rows, 0)
            for axis in range(1, self._axes):
                for i in range(len(part)):
                    batch.pos[axis * len(part) + i] = self._rows + i if axis < self._axes - 1 else 0
            self._evaluate(batch)
            self._rows += len(part)

    def decode(self, prompt: Sequence[int], draft: Sequence[int], forced: int, limit: int, tell: Tell | None = None) -> list[int]:
        """Greedy tokens behind prefix and prompt, the end token excluded, at most `limit` and what the context holds.

        draft: tokens expected; checked together, the part that the model agrees with is kept. The first `forced` of them are kept
        whatever the model thinks. tell: gets the tokens so far behind each that is said. Raises: ValueError for no prompt, one that does
        not fit behind the rows, or an unknown token.
        """
        self._check("decode", prompt, draft)
        limit = min(limit, self._positions - self._rows - len(prompt))
        draft = list(draft[: max(0, limit)])
        self._llama.llama_memory_seq_rm(self._memory, 0, self._rows, -1)
        best = self._best([*prompt, *draft], self._rows)[len(prompt) - 1 :]
        text: list[int] = []
        for index, token in enumerate(draft):
            if index >= forced and best[index] != token:
                break
            text.append(token)
        following = best[len(text)]
        at = self._rows + len(prompt) + len(text)
        self._llama.llama_memory_seq_rm(self._memory, 0, at, -1)
        while not self._llama.llama_vocab_is_eog(self._vocab, following) and len(text) < limit:
            text.append(following)
            if tell is not None:
                tell(text)
            if len(text) == limit:
                break
            following = self._best([following], at)[-1]
            at += 1
        return text

    def score(self, prompt: Sequence[int], text: Sequence[int]) -> float:
        """Sum of the natural-log probabilities that the model gives to each token of `text` and to the end token behind it.

        Behind prefix and prompt, which stay as they are. Raises: ValueError for no prompt, prompt and text that do not fit behind the
        rows, or an unknown token.
        """
        self._check("score", prompt, text)
        if self._rows + len(prompt) + len(text) > self._positions:
            raise ValueError(
                f"{self._rows} rows, a prompt of {len(prompt)} and a text of {len(text)} tokens do not fit into a context of "
                f"{self._positions}"
            )
        self._llama.llama_memory_seq_rm(self._memory, 0, self._rows, -1)
        # The last token of the prompt gives the first of the text, the last of the text gives the end.
        expected = [*prompt[1:], *text, self._end]
        total = 0.0
        for index, logits in enumerate(self._feed([*prompt, *text], self._rows)):
            if index >= len(prompt) - 1:
                total += log_probability(logits, expected[index])
        return total

    def logits(self, tokens: Sequence[int]) -> Samples:
        """float32[n, vocabulary]: behind the prefix and each of n >= 1 tokens. Raises: ValueError as `score`."""
        self._check("logits", tokens, ())
        self._llama.llama_memory_seq_rm(self._memory, 0, self._rows, -1)
        return np.stack([row.copy() for row in self._feed(tokens, self._rows)])

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text; special tokens are recognised by their names."""
        self._need()
        data = text.encode()
        room = len(data) + 8
        tokens = (self._llama.llama_token * room)()
        count = self._llama.llama_tokenize(self._vocab, data, len(data), tokens, room, False, True)
        if count < 0:
            raise BackendError(f"the language model's tokenizer refuses a text of {len(data)} bytes: shorten it")
        return list(tokens[:count])

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of token ids; an incomplete character at the end is left out."""
        self._need()
        data = b""
        piece = ctypes.create_string_buffer(256)
        for token in tokens:
            count = self._llama.llama_token_to_piece(self._vocab, token, piece, 256, 0, False)
            data += piece.raw[: max(0, count)]
        return data.decode("utf-8", errors="ignore")

    def close(self) -> None:
        """Frees the model; may be called twice. Further calls raise ValueError."""
        if self._embeddings is not None:
            place = ctypes.cast(self._own_places, ctypes.POINTER(self._llama.llama_pos))
            self._embeddings.pos = place  # what llama.cpp frees is what it gave
        for batch in (self._tokens, self._embeddings):
            if batch is not None:
                self._llama.llama_batch_free(batch)
        self._tokens = self._embeddings = None
        if self._context:
            self._llama.llama_free(self._context)
            self._context = None
        if self._model:
            self._llama.llama_model_free(self._model)
            self._model = None

    def _need(self) -> None:
        # llama.cpp would read freed memory.
        if not self._context:
            raise ValueError("this language model has been closed; load it again")

    def _check(self, what: str, prompt: Sequence[int], text: Sequence[int]) -> None:
        self._need()
        if not prompt:
            raise ValueError(f"{what} needs a prompt of at least one token: its last logits give the first token of the text")
        if self._rows + len(prompt) > self._positions:
            raise ValueError(f"{self._rows} rows and a prompt of {len(prompt)} tokens do not fit into a context of {self._positions}")
        if unknown := [token for token in (*prompt, *text) if not 0 <= token < self._vocabulary]:
            raise ValueError(f"token {unknown[0]} is not one of the model's {self._vocabulary}")

    def _best(self, tokens: Sequence[int], start: int) -> list[int]:
        """The best next token behind each."""
        return [int(logits.argmax()) for logits in self._feed(tokens, start)]

    def _feed(self, tokens: Sequence[int], start: int) -> Iterator[Samples]:
        """Evaluates tokens at positions from `start`; the logits behind each, float32[vocabulary], good until the next step."""
        for first in range(0, len(tokens), BATCH):
            part = tokens[first : first + BATCH]
            batch = self._tokens
            batch.n_tokens = len(part)
            for i, token in enumerate(part):
                batch.token[i] = token
            self._address(batch, len(part), start + first, 1)
            self._evaluate(batch)
            for i in range(len(part)):
                yield np.ctypeslib.as_array(self._llama.llama_get_logits_ith(self._context, i), shape=(self._vocabulary,))

    @staticmethod
    def _address(batch: Any, count: int, start: int, logits: int) -> None:
        for i in range(count):
            batch.pos[i] = start + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = logits

    def _evaluate(self, batch: Any) -> None:
        status = self._llama.llama_decode(self._context, batch)
        if status != 0:
            what = f"{batch.n_tokens} positions (status {status})"
            raise BackendError(f"llama.cpp could not evaluate {what}: its context is full or memory is short; free memory")


def _why_not(path: Path) -> str:
    if not path.is_file():
        return "there is no such file; check the path, or install the bundle again"
    return "the file is damaged or of an architecture that it does not know; rebuild it"
