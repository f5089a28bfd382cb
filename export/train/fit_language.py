"""Fits projector and decoder together: from evidence to captions, partial and final, and to answers.

Several texts share one prefix in a step: each sees the audio and itself, not the others, by the mask of attention.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge.types import SAMPLE_RATE
from export.train.decoder import Decoder, DecoderShape, Projector
from export.train.evidence import ROW_SAMPLES, ROWS, Evidence
from export.train.fit import same_options
from export.train.language import ANSWER, BEGIN, END, FINAL, PHRASES, QUESTION, describe, train_tokenizer
from export.train.nouns import BEYOND, STRANGERS
from export.train.prime import prime
from export.train.probes import IGNORED, Probes, asked_of, token_weights
from export.train.questions import SKILLS, ask
from export.train.timelines import Example, examples, simulated
from export.train.tracking import SOUND_TABLE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Pair = tuple[str, str]
"""Prompt and text."""
WEIGHTS = {
    "presence": 5.0,
    "order": 5.0,
    "count": 2.5,
    "word": 4.0,
    "caption": 0.3,
    "unknown": 0.4,
    "first": 0.4,
    "together": 2.0,
    "neighbour": 2.0,
    "choice": 2.0,
}
"""How often a skill is asked for, 1 where not named."""
PROBED = 0.5
"""Weight of what the probes ask."""


@dataclass(frozen=True, slots=True)
class LanguageOptions:
    """steps, batch, rate: of the fitting. questions: asked of each turn in one step."""

    steps: int = 2600
    batch: int = 16
    questions: int = 14
    rate: float = 1.5e-3
    seed: int = 1
    checkpoint_steps: int = 100


class Speaker(torch.nn.Module):
    """Projector and decoder together."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.projector = Projector(shape.width)
        self.decoder = Decoder(shape)

    @staticmethod
    def load(path: Path, tokenizer: Path) -> Speaker:
        """From its weights; the size of the vocabulary is the tokenizer's."""
        from tokenizers import Tokenizer

        speaker = Speaker(DecoderShape(vocabulary=Tokenizer.from_file(str(tokenizer)).get_vocab_size()))
        speaker.load_state_dict(torch.load(path, weights_only=True))
        return speaker.eval()

    @torch.inference_mode()
    def say(self, evidence: np.ndarray, prompt: Sequence[int], end: int, limit: int = 96) -> list[int]:
        """Greedy tokens behind float32[T, WIDTH] of evidence and a prompt."""
        rows = self.projector(torch.from_numpy(evidence)[None])
        x = torch.cat((rows[0], self.decoder.embed(torch.tensor(list(prompt)))))
        text: list[int] = []
        while len(text) < limit:
            token = int(self.decoder(x[None])[0, -1].argmax())
            if token == end:
                break
            text.append(token)
            x = torch.cat((x, self.decoder.embed(torch.tensor([token]))))
        return text


def corpus(seed: int, count: int = 6000) -> list[str]:
    """Texts that the tokenizer is made from: every phrase in every join, and questions of every skill."""
    rng = np.random.default_rng(seed)
    words = list(PHRASES.values())
    texts = [f"{a[0].upper()}{a[1:]}, then {b} while {a} again." for a in words for b in words]
    texts += [f"Was there {s}?" for s in STRANGERS] + list(BEYOND)
    for example in examples(rng, simulated(rng, 200, 256), Evidence(SOUND_TABLE), count // 6):
        texts += [part for prompt, text in pairs(rng, example, 5, {}) for part in (prompt, text)]
    return texts


def pairs(rng: np.random.Generator, example: Example, questions: int, weights: Mapping[str, float] = WEIGHTS) -> list[Pair]:
    """Both captions of a turn and some questions about it, each with what comes after it."""
    seconds = len(example.evidence) * ROWS * ROW_SAMPLES / SAMPLE_RATE
    found: list[Pair] = []
    if example.facts:
        found = [(BEGIN, describe(example.facts, False)), (FINAL, describe(example.facts, True))]
        found = [pair for pair in found if pair[1]]
    chance = np.array([weights.get(skill, 1.0) for skill in SKILLS])
    for skill in rng.choice(SKILLS, size=questions * 2, p=chance / chance.sum()):
        asked = ask(rng, example.facts, seconds, str(skill))
        if asked is not None and questions > 0:
            found.append((QUESTION + asked.question + ANSWER, asked.answer))
            questions -= 1
    return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded to one length: tokens, positions, wanted int64[B, T] (-100: not judged), mask bool[B, 1, T, T].

    weights float32[B, T]: of each wanted token; asked int64[B, T, 3]: what the probes ask.
    """

    evidence: list[Tensor]
    tokens: Tensor
    positions: Tensor
    wanted: Tensor
    mask: Tensor
    weights: Tensor
    asked: Tensor


def collate(given: Sequence[tuple[Example, list[Pair]]], words: Tokenizer) -> Batch:
    """One batch of turns with their texts side by side behind each prefix."""
    end = words.token_to_id(END)
    rows = []
    for example, texts in given:
        size = len(example.evidence)
        tokens, positions, wanted, part = [0] * size, list(range(size)), [IGNORED] * size, [0] * size
        weights, probed = [0.0] * size, [(IGNORED,) * 3] * size
        for index, (prompt, text) in enumerate(texts):
            asked, encoded = words.encode(prompt).ids, words.encode(text)
            said = encoded.ids
            probed += [(IGNORED,) * 3] * (len(asked) + len(said))
            for token, *targets in asked_of(prompt, example.facts, words):
                probed[len(tokens) + token] = (targets[0], targets[1], targets[2])
            counting = token_weights(text, encoded.offsets) if prompt in (BEGIN, FINAL) else [1.0] * (len(said) + 1)
            weights += [0.0] * (len(asked) - 1) + counting
            tokens += [*asked, *said]
            positions += range(size, size + len(asked) + len(said))
            wanted += [IGNORED] * (len(asked) - 1) + [*said, end]
            part += [index + 1] * (len(asked) + len(said))
        rows.append((tokens, positions, wanted, part, weights, probed))
    longest = max(len(row[0]) for row in rows)
    fills: tuple[Any, ...] = (0, 0, IGNORED, -1, 0.0, (IGNORED,) * 3)
    padded = [np.array([[*row[i], *[fill] * (longest - len(row[i]))] for row in rows]) for i, fill in enumerate(fills)]
    part = padded[3]
    sees = ((part[:, :, None] == part[:, None, :]) | (part[:, None, :] == 0)) & np.tril(np.ones((longest, longest), bool))
    tensors = [torch.from_numpy(x) for x in padded[:3]]
    seen = torch.from_numpy(sees)[:, None]
    more = torch.from_numpy(padded[4].astype(np.float32)), torch.from_numpy(padded[5])
    return Batch([torch.from_numpy(e.evidence) for e, _ in given], *tensors, seen, *more)


def loss_of(speaker: Speaker, batch: Batch, probes: Probes | None = None) -> Tensor:
    """Mean cross-entropy of every text and its end, and of what the probes ask."""
    x = speaker.decoder.embed(batch.tokens)
    sizes = [len(e) for e in batch.evidence]
    projected = speaker.projector(torch.cat(batch.evidence)).split(sizes)
    x = torch.stack([torch.cat((rows, x[i, len(rows) :])) for i, rows in enumerate(projected)])
    states: list[Tensor] = []
    logits = speaker.decoder(x, batch.positions, batch.mask, states)
    judged = batch.wanted != IGNORED
    each = functional.cross_entropy(logits[judged], batch.wanted[judged], reduction="none")
    weights = batch.weights[judged]
    loss = (each * weights).sum() / weights.sum()
    return loss if probes is None else loss + PROBED * probes.loss(states, batch.asked)


class Pool:
    """Turns to learn from, by length, so that a batch needs no padding. Evidence is kept in half precision."""

    def __init__(self, turns: Iterable[Example]) -> None:
        by_length: dict[int, list[Example]] = {}
        for turn in turns:
            by_length.setdefault(len(turn.evidence), []).append(Example(turn.evidence.astype(np.float16), turn.facts))
        self._groups = [by_length[size] for size in sorted(by_length)]
        self._shares = np.array([len(group) for group in self._groups], float) / sum(map(len, self._groups))

    def draw(self, rng: np.random.Generator, count: int) -> list[Example]:
        """`count` turns of one length."""
        group = self._groups[int(rng.choice(len(self._groups), p=self._shares))]
        return [Example(t.evidence.astype(np.float32), t.facts) for t in (group[int(i)] for i in rng.integers(0, len(group), count))]


def fit_language(
    pool: Pool,
    tokenizer: Path,
    checkpoint: Path,
    options: LanguageOptions,
    tell: Callable[[str], None] = print,
    begin_with: Mapping[str, Tensor] | None = None,
) -> tuple[Speaker, list[dict[str, float]]]:
    """Trains from scratch, or from weights; goes on from its checkpoint.

    Deterministic for a seed and a number of threads. Returns the model and its history.
    Raises: ValueError for a checkpoint of other options.
    """
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    torch.manual_seed(options.seed)
    speaker = Speaker(DecoderShape(vocabulary=words.get_vocab_size()))
    probes = Probes(speaker.decoder.shape.width)
    if begin_with is None:
        prime(speaker, words, options.seed)
    else:
        speaker.load_state_dict(begin_with)
    fitted = [*speaker.parameters(), *probes.parameters()]
    optimiser = torch.optim.AdamW(fitted, lr=options.rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.1)
    parts: dict[str, Any] = {"model": speaker, "probes": probes, "optimiser": optimiser, "schedule": schedule}
    history: list[dict[str, float]] = []
    begin, running, since = 0, 0.0, time.monotonic()
    if checkpoint.exists():
        held: dict[str, Any] = torch.load(checkpoint, weights_only=False)
        same_options(checkpoint, held.get("options"), asdict(options))
        for name, part in parts.items():
            part.load_state_dict(held[name])
        begin, history = held["step"], held["history"]
    for step in range(begin, options.steps):
        rng = np.random.default_rng([options.seed, step])
        given = [(example, pairs(rng, example, options.questions)) for example in pool.draw(rng, options.batch)]
        loss = loss_of(speaker, collate([g for g in given if g[1]], words), probes)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(fitted, 1.0)
        optimiser.step()
        schedule.step()
        running += loss.item()
        if (step + 1) % options.checkpoint_steps == 0 or step + 1 == options.steps:
            history.append({"step": step + 1, "loss": running / (step % options.checkpoint_steps + 1)})
            running = 0.0
            tell(f"language step {step + 1} loss {history[-1]['loss']:.4f} {time.monotonic() - since:.0f} s")
            part_file = checkpoint.with_suffix(".part")
            saved = {name: part.state_dict() for name, part in parts.items()}
            torch.save(saved | {"step": step + 1, "history": history, "options": asdict(options)}, part_file)
            part_file.replace(checkpoint)
    return speaker.eval(), history


def exactness(speaker: Speaker, tokenizer: Path, turns: Sequence[Example], seed: int) -> dict[str, float]:
    """Share of texts that come out exactly, by kind: the final caption and each skill."""
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    end, rng = words.token_to_id(END), np.random.default_rng(seed)
    right: dict[str, list[bool]] = {}
    for turn in turns:
        seconds = len(turn.evidence) * ROWS * ROW_SAMPLES / SAMPLE_RATE
        asked = [a for skill in SKILLS if (a := ask(rng, turn.facts, seconds, skill)) is not None]
        texts = [(a.skill, QUESTION + a.question + ANSWER, a.answer) for a in asked]
        if turn.facts:
            texts += [("final", FINAL, describe(turn.facts, True)), ("partial", BEGIN, describe(turn.facts, False))]
        for kind, prompt, text in texts:
            said = words.decode(speaker.say(turn.evidence, words.encode(prompt).ids, end), skip_special_tokens=False)
            right.setdefault(kind, []).append(said == text)
    return {kind: float(np.mean(found)) for kind, found in right.items()}


def make_tokenizer(path: Path, seed: int) -> None:
    """The tokenizer, unless it is there."""
    if not path.exists():
        train_tokenizer(corpus(seed), path)
