"""A decoder with cross-attention over an encoder's rows, in ONNX with its keys and values outside: greedy text, drafts checked in one run.

Takes the layout that hubs carry (optimum's `decoder_model_merged.onnx`, with its branch for the first run) and that of
`auricle-export`, whose encoder gives the keys and values of the cross-attention itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.text_decoder import LOGITS_FROM
from edge.backends.tokens import log_probability
from edge.beam import Hypothesis, search
from edge.errors import BackendError
from edge.guards import NO_SPEECH, NO_SPEECH_LOG_PROBABILITY, cut_loops, loop_at
from edge.types import TensorModel

MASKED_SAMPLES = 384
"""Samples in one row of Moonshine, whose published decoder takes a mask over samples and looks at every 384th; no other takes one."""
PAST, PRESENT, ATTENTION = "past_key_values.", "present.", "cross_attentions."
Arrays = dict[str, NDArray[Any]]


class Seq2Seq:
    """Texts over one encoding. Single-threaded.

    end: tokens that end a text. never, never_first: tokens that may not be said, or not as the first of a text.
    Raises: BackendError when the model is no such decoder.
    """

    def __init__(
        self, model: TensorModel, end: Collection[int], never: Sequence[int] = (), never_first: Sequence[int] = (), name: str = "decoder"
    ) -> None:
        self._model, self._end, self._never, self._never_first = model, frozenset(end), list(never), list(never_first)
        self._name = name
        past = [n for n in model.inputs if n.startswith(PAST)]
        self._own = [n for n in past if ".encoder." not in n]
        """Keys and values of the text."""
        self._cross = [n for n in past if ".encoder." in n]
        if "input_ids" not in model.inputs or "logits" not in model.outputs or not self._own:
            raise BackendError(f"{name}: it is no decoder with a cache (input_ids and past_key_values in, logits out); build it again")
        self._skips = LOGITS_FROM in model.inputs
        """Whether it computes no logits that nobody wants."""
        self._shapes = {n: model.inputs[n][1] for n in past}
        self._encoded: Arrays = {}
        self._cache: Arrays = {}
        self._fed: list[int] = []
        """Tokens that the cache holds."""
        self.silence: int | None = None
        """The token by which the model says that nobody speaks, where it has one."""
        self.guard = ""
        """Why the last text was cut; "" where it was not."""

    def begin(self, encoded: Mapping[str, NDArray[Any]]) -> None:
        """Takes the encoder's outputs: the text so far is forgotten."""
        given = {PAST + n.removeprefix(PRESENT): a for n, a in encoded.items() if n.startswith(PRESENT)}
        self._encoded = {n: given[n] for n in self._cross if n in given}
        if "encoder_hidden_states" in self._model.inputs:
            self._encoded["encoder_hidden_states"] = next(a for n, a in encoded.items() if not n.startswith(PRESENT))
        if "encoder_attention_mask" in self._model.inputs:
            rows = self._encoded["encoder_hidden_states"].shape[1]
            self._encoded["encoder_attention_mask"] = np.ones((1, rows * MASKED_SAMPLES), np.int64)
        self._forget()

    def _empty(self, name: str) -> NDArray[np.float32]:
        heads, width = self._shapes[name][1], self._shapes[name][3]
        return np.zeros((1, heads or 1, 0, width or 1), np.float32)

    def _run(self, tokens: Sequence[int], skip: int = 0) -> NDArray[np.float32]:
        """Logits [n - skip, vocabulary] behind what the cache holds and these n tokens, which it holds then as well."""
        found = np.asarray(self._outputs(tokens, skip)["logits"][0])
        return found if self._skips else found[skip:]

    def _outputs(self, tokens: Sequence[int], skip: int = 0) -> Arrays:
        feed: Arrays = {"input_ids": np.array([tokens], np.int64), **self._encoded}
        first = not self._cache
        for name in (*self._own, *self._cross):
            if name not in feed:
                feed[name] = self._empty(name) if first else self._cache[name]
        if self._skips:
            feed[LOGITS_FROM] = np.array(skip, np.int64)
        if "use_cache_branch" in self._model.inputs:
            feed["use_cache_branch"] = np.array([not first])
        found = self._model.run(feed)
        for name in self._own:
            self._cache[name] = found[PRESENT + name.removeprefix(PAST)]
        if first:  # with the cache in use, the merged layout gives these back empty
            self._cache |= {n: found[PRESENT + n.removeprefix(PAST)] for n in self._cross if n not in self._encoded}
        self._fed += tokens
        return found

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """float32[n, vocabulary] behind each of n tokens from the beginning of the text."""
        self._forget()
        return self._run(tokens)

    def attention(self, tokens: Sequence[int], heads: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """float32[len(heads), n, rows]: what each of n tokens from the beginning of the text attends to in the encoder's rows.

        heads: (layer, head) each. Raises: BackendError where the model does not tell.
        """
        missing = sorted({layer for layer, _ in heads if f"{ATTENTION}{layer}" not in self._model.outputs})
        if missing:
            raise BackendError(f"{self._name}: its decoder has no output {ATTENTION}{missing[0]}, from which the times of words come")
        self._forget()
        found = self._outputs(tokens, len(tokens) - 1)
        return np.stack([found[f"{ATTENTION}{layer}"][0, head] for layer, head in heads])

    def _forget(self) -> None:
        self._cache, self._fed = {}, []

    def _cut(self, count: int) -> None:
        """Keeps the first `count` tokens of the cache."""
        for name in self._own:
            self._cache[name] = self._cache[name][:, :, :count]
        del self._fed[count:]

    def _best(self, logits: NDArray[np.float32], first: bool) -> int:
        logits = logits.copy()
        logits[self._never] = -np.inf
        if first:
            logits[self._never_first] = -np.inf
        return int(logits.argmax())

    def decode(
        self, prompt: Sequence[int], draft: Sequence[int], forced: int, limit: int, guarded: bool = False, lead: int = 0
    ) -> list[int]:
        """Greedy tokens behind the prompt, the end token excluded, at most `limit`. lead: tokens of the prompt before the one that begins.

        draft: tokens expected; checked in one run, the part that the model agrees with is kept, the first `forced` whatever it thinks.
        guarded: a text that repeats itself is cut and words where nobody speaks are left out, never what is forced; `guard` says which.
        """
        self.guard = ""
        if not prompt:
            raise ValueError("a decoder needs at least one token to begin with")
        draft = list(draft[:limit])
        self._forget()
        silence = guarded and self.silence is not None and not forced  # it may turn out that nobody speaks
        kept = draft[:forced]
        skip = lead if silence else len(prompt) - 1 + len(kept)
        logits = self._run([*prompt, *draft], skip)
        start, logits = logits[0], logits[len(prompt) - 1 + len(kept) - skip :]
        text = list(kept)
        for index, token in enumerate(draft[len(kept) :]):
            if self._best(logits[index], not text) != token:
                break
            text.append(token)
        last = logits[len(text) - len(kept)]
        following = self._best(last, not text)
        self._cut(len(prompt) + len(text))
        said = [log_probability(logits[i], token) for i, token in enumerate(text)] if silence else []
        while following not in self._end and len(text) < limit:
            text.append(following)
            if silence:
                said.append(log_probability(last, following))
            if guarded and (at := loop_at(text)) is not None:
                self.guard = "loop"
                del text[max(at, forced) :]
                break
            if len(text) < limit:
                last = self._run([following])[-1]
                following = self._best(last, False)
        if said and self._silent(start, said):
            self.guard = "no_speech"
            return []
        return text

    def search(self, prompt: Sequence[int], forced: Sequence[int], width: int, limit: int, lead: int = 0) -> list[int]:
        """Tokens behind prompt and forced, these included, by beam search so wide; guarded, and else as `decode`."""
        self.guard = ""
        self._forget()
        logits = self._run([*prompt, *forced])
        first = Hypothesis((), 0.0, self._log_probabilities(logits[-1], not forced), (self._cache, self._fed))

        def step(behind: Hypothesis, token: int) -> tuple[NDArray[np.float64], Any]:
            cache, fed = behind.held
            self._cache, self._fed = dict(cache), list(fed)
            return self._log_probabilities(self._run([token])[-1], False), (self._cache, self._fed)

        best = search(first, step, width, limit - len(forced), self._end)
        said = [token for token in best.tokens if token not in self._end]
        text = cut_loops([*forced, *said])
        if len(text) < len(forced) + len(said):
            self.guard, text = "loop", [*forced, *text[len(forced) :]]
        if self.silence is not None and said and not forced and self._silent(logits[lead], [best.mean]):
            self.guard = "no_speech"
            return []
        return text

    def _log_probabilities(self, logits: NDArray[np.float32], first: bool) -> NDArray[np.float64]:
        wide = logits.astype(np.float64)
        wide -= wide.max()
        wide -= np.log(np.exp(wide).sum())
        wide[self._never] = -np.inf
        if first:
            wide[self._never_first] = -np.inf
        return wide

    def _silent(self, start: NDArray[np.float32], said: Sequence[float]) -> bool:
        """Whether the model thinks that nobody speaks. start: logits behind the token that begins a text; said: of each of its tokens."""
        assert self.silence is not None
        probability = float(np.exp(log_probability(start, self.silence)))
        return probability > NO_SPEECH and float(np.mean(said)) < NO_SPEECH_LOG_PROBABILITY
