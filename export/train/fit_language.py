"""Fits projector and decoder: from the encoder's scores on rendered scenes to the sentence that those scores bear out.

The truth of this stage is not the scene but what the runtime's own sound tracker finds in the scores: the language model is to say
what the evidence says, no more. What the encoder mishears is the encoder's matter; the captions and the sound records agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge.sounds import SoundOptions, SoundTracker
from edge.types import Encoding
from export.train.decoder import POOL_ROWS, Decoder, DecoderShape, Projector
from export.train.labels import STARTER_LABELS
from export.train.language import BEGIN, END, describe
from export.train.model import Encoder
from export.train.shards import load_shard, shard_path

ROW = 640
NO_ROWS = np.zeros((0, 0), np.float32)
MOST_CHUNKS = 94
"""Prefix rows of the longest turn (30 s at 320 ms)."""


@dataclass(frozen=True, slots=True)
class LanguageOptions:
    """timelines: rendered examples; steps, batch, rate: of the fitting."""

    timelines: int = 12_000
    steps: int = 1500
    batch: int = 32
    rate: float = 1.5e-3
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Example:
    """logits float16[8 T, L] of T chunks, and the sentence for them."""

    logits: np.ndarray
    text: str


def scene_logits(encoder: Encoder, folder: Path, shards: int) -> np.ndarray:
    """float16[N, 128, L] of every scene in the first `shards` shards."""
    found = []
    with torch.inference_mode():
        for index in range(shards):
            mels = load_shard(shard_path(folder, index)).mels
            for start in range(0, len(mels), 50):
                found.append(encoder(torch.from_numpy(mels[start : start + 50].astype(np.float32))).logits.numpy().astype(np.float16))
    return np.concatenate(found)


def simulated_logits(rng: np.random.Generator, scenes: int, rows: int = 128) -> np.ndarray:
    """float16[scenes, 128, L]: what an encoder might say of zero to four sounds anywhere, so that every order and overlap is heard.

    Each sound rises within 0.2 s to a confidence of its own, wavers, may pause, and is at times half mistaken for a neighbour label.
    """
    count = len(STARTER_LABELS)
    logits = rng.normal(-5.0, 0.7, (scenes, 1, count)) + rng.normal(0, 0.5, (scenes, rows, count))
    at = np.arange(rows)
    for scene in range(scenes):
        for _ in range(int(rng.choice([0, 1, 1, 2, 2, 3, 4]))):
            label = int(rng.integers(count))
            start = int(rng.integers(-10, rows - 8))
            stop = start + int(np.exp(rng.uniform(np.log(8), np.log(160))))
            rise = np.clip((at - start) / rng.uniform(1, 6), 0, 1) * np.clip((stop - at) / rng.uniform(1, 8), 0, 1)
            height = rng.uniform(4.0, 10.0) * (1 - 0.3 * rng.random() * (np.sin(at * rng.uniform(0.1, 1.2)) > 0))
            logits[scene, :, label] += rise * height
            if rng.random() < 0.4:
                logits[scene, :, int(rng.integers(count))] += rise * height * rng.uniform(0.1, 0.55)
    return logits.astype(np.float16)


def timeline(rng: np.random.Generator, logits: np.ndarray, options: Mapping[str, SoundOptions]) -> Example:
    """A turn: parts of one to four scenes in a row, seen up to a random chunk."""
    parts, chunks = [], 0
    for _ in range(int(rng.choice([1, 1, 1, 1, 1, 2, 2, 3, 4]))):
        scene = logits[rng.integers(len(logits))].reshape(-1, POOL_ROWS, len(STARTER_LABELS))
        begin = int(rng.integers(0, 6)) if rng.random() < 0.3 else 0
        part = scene[begin : begin + int(rng.integers(2, 17))]
        parts.append(part[: MOST_CHUNKS - chunks])
        chunks += len(parts[-1])
    rows = np.concatenate(parts).reshape(-1, len(STARTER_LABELS))
    tracker = SoundTracker(STARTER_LABELS, options)
    scores = 1.0 / (1.0 + np.exp(-rows.astype(np.float32)))
    found = tracker.extend(Encoding(0, len(rows) * ROW, NO_ROWS, POOL_ROWS * ROW, scores, ROW))
    ended = [sound for sound in found if sound.stop is not None]
    return Example(rows, describe(ended + tracker.so_far()))


def timelines(logits: np.ndarray, options: Mapping[str, SoundOptions], count: int, seed: int) -> list[Example]:
    """Examples that have something to say, `count` of them."""
    found: list[Example] = []
    index = 0
    while len(found) < count:
        if index > 20 * count + 1000:
            raise RuntimeError(f"only {len(found)} of {index} turns hold a sound: the encoder was fitted too briefly; give it more steps")
        example = timeline(np.random.default_rng([seed, index]), logits, options)
        index += 1
        if example.text:
            found.append(example)
    return found


class Speaker(torch.nn.Module):
    """Projector and decoder together."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.projector = Projector(len(STARTER_LABELS), shape.width)
        self.decoder = Decoder(shape)

    def loss(self, batch: list[Example], tokens: list[list[int]], begin: int, end: int) -> Tensor:
        """Mean cross-entropy of the text and its end, each example behind its own prefix."""
        width = self.decoder.shape.width
        most_rows = max(len(e.logits) for e in batch)
        padded = np.zeros((len(batch), most_rows, len(STARTER_LABELS)), np.float32)
        for i, e in enumerate(batch):
            padded[i, : len(e.logits)] = e.logits
        rows, _ = self.projector(torch.from_numpy(padded), self.projector.cache(len(batch)))
        lengths = [len(e.logits) // POOL_ROWS for e in batch]
        total = max(n + len(t) + 1 for n, t in zip(lengths, tokens, strict=True))
        x = torch.zeros(len(batch), total, width)
        wanted = torch.full((len(batch), total), -100)
        for i, (n, text) in enumerate(zip(lengths, tokens, strict=True)):
            x[i, :n] = rows[i, :n]
            x[i, n : n + len(text) + 1] = self.decoder.embed(torch.tensor([begin, *text]))
            wanted[i, n : n + len(text) + 1] = torch.tensor([*text, end])
        return functional.cross_entropy(self.decoder(x).flatten(0, 1), wanted.flatten(), ignore_index=-100)

    @torch.inference_mode()
    def say(self, logits: np.ndarray, begin: int, end: int, limit: int = 96) -> list[int]:
        """Greedy tokens for float[8 T, L] logits."""
        rows, _ = self.projector(torch.from_numpy(logits.astype(np.float32))[None], self.projector.cache(1))
        x = torch.cat((rows[0], self.decoder.embed(torch.tensor([begin]))))
        text: list[int] = []
        while len(text) < limit:
            token = int(self.decoder(x[None])[0, -1].argmax())
            if token == end:
                break
            text.append(token)
            x = torch.cat((x, self.decoder.embed(torch.tensor([token]))))
        return text


def fit_language(
    examples: list[Example],
    check: list[Example],
    tokenizer: Path,
    options: LanguageOptions,
    tell: Callable[[str], None] = print,
    begin_with: Mapping[str, Tensor] | None = None,
) -> tuple[Speaker, dict[str, float]]:
    """Trains from scratch, or from weights. Returns the model and the share of `check` whose whole sentence came out right."""
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer))
    begin, end = words.token_to_id(BEGIN), words.token_to_id(END)
    torch.manual_seed(options.seed)
    pick = np.random.default_rng(options.seed)
    speaker = Speaker(DecoderShape(vocabulary=words.get_vocab_size()))
    if begin_with is not None:
        speaker.load_state_dict(begin_with)
    optimiser = torch.optim.AdamW(speaker.parameters(), lr=options.rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.1)
    encoded = [words.encode(e.text).ids for e in examples]
    by_length = np.argsort([len(e.logits) for e in examples], kind="stable")
    running = 0.0
    for step in range(options.steps):
        # Neighbours in length share a batch, so that little is padded.
        at = int(pick.integers(0, len(examples) - options.batch))
        ids = by_length[at : at + options.batch]
        loss = speaker.loss([examples[i] for i in ids], [encoded[i] for i in ids], begin, end)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(speaker.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.95 * running + 0.05 * loss.item() if step else loss.item()
        if (step + 1) % 100 == 0:
            tell(f"language step {step + 1} loss {running:.4f}")
    speaker.eval()
    right = [words.decode(speaker.say(e.logits, begin, end), skip_special_tokens=False) == e.text for e in check]
    return speaker, {"sentences_right": float(np.mean(right))}
