"""`auricle-export verify` and `compare`: a bundle opened and run as the runtime does it; two bundles on the same sounds, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.encoder import open_encoder
from edge.pipeline import Line
from edge.seq2seq import PRESENT
from edge.transcriber import Transcriber
from edge.types import Samples, Sound, Turn
from export.recipes.recipe import BuildError, cosine

SECONDS = (1.0, 4.0, 10.0)
ROUNDS = 5


def sounds(seed: int = 1) -> list[Samples]:
    """What both are run on, float32[n] at 16 kHz: tones that come and go in noise."""
    found = []
    for index, length in enumerate(SECONDS):
        rng = np.random.default_rng([seed, index])
        t = np.arange(round(length * 16_000)) / 16_000
        tone = np.sin(2 * np.pi * rng.uniform(200, 900) * t) * (np.sin(2 * np.pi * 1.3 * t) > 0)
        found.append((0.3 * tone + rng.normal(0, 0.01, len(t))).astype(np.float32))
    return found


class Heard:
    """A bundle loaded as the runtime loads it. Raises: EdgeError."""

    def __init__(self, path: str) -> None:
        self.bundle = Bundle.open(path)
        self.line = Line(self.bundle) if self.bundle.has("encoder") else None

    def rows(self, samples: Samples) -> NDArray[np.float32]:
        """What its encoder makes of one clip: rows for the language model or decoder, scores where it has no others."""
        assert self.line is not None
        if self.line.decoder_model is not None:
            transcriber = Transcriber(self.bundle, (self.line.encoder_model, self.line.decoder_model))
            outputs = transcriber.encode(samples)
            return np.asarray(next(a for name, a in outputs.items() if not name.startswith(PRESENT))[0])
        encoder = open_encoder(self.bundle, self.line.encoder_model)
        encoder.begin(Turn(1, 0, len(samples), True, "end", "sound"))
        found = encoder.extend(samples)
        rows = found.vectors if len(found.vectors) else found.scores
        if not len(rows):
            raise BuildError(f"bundle {self.bundle.name}: its encoder makes nothing of {len(samples)} samples; build it again")
        return rows

    def words(self, samples: Samples) -> int:
        """Characters of what it writes about one clip, as a turn in which somebody speaks; 0 where it writes nothing."""
        assert self.line is not None
        encoder, captioner = self.line.upper_stairs()
        if captioner is None:
            return 0
        turn = Turn(1, 0, len(samples), True, "end", "speech", True)
        encoder.begin(turn)
        caption = captioner.revise(turn, encoder.extend(samples), [Sound(1, "sound", 0, None, 1.0)])
        return len(caption.text) if caption is not None else 0

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
        self.bundle.close()


def verify(path: str, tell: Callable[[str], None] = print) -> None:
    """Opens, loads and runs the bundle, and tells what its receipt says. Raises: EdgeError naming what is wrong."""
    heard = Heard(path)
    try:
        manifest = heard.bundle.manifest
        tell(f"{manifest.name} {manifest.version}: {len(manifest.models)} files, every size and sha256 as listed")
        if heard.line is None:
            from edge.backends.llama import LlamaModel

            model = LlamaModel(heard.bundle.file("language"), context=64)
            model.logits(model.tokenize("hello"))
            model.close()
            tell("the language model loads and runs; it hears nothing by itself")
        else:
            for samples in sounds():
                rows = heard.rows(samples)
                if not np.isfinite(rows).all():
                    raise BuildError(f"{path}: its encoder makes values that are no numbers; build it again")
                said = heard.words(samples)
                written = f", {said} characters written" if said else ""
                tell(f"{len(samples) / 16_000:g} s of sound: {rows.shape[0]} rows of {rows.shape[1]} values{written}")
        for figure in manifest.receipt:
            tell(f"  {figure.name}: {figure.value:g} {figure.unit} ({figure.data}, {figure.origin}, n = {figure.n})")
    finally:
        heard.close()


def compare(first: str, second: str, tell: Callable[[str], None] = print) -> None:
    """Size, encoder rows and speed of both, timed in turns; then the figures of both receipts. Raises: EdgeError."""
    pair = [Heard(first)]
    try:
        pair.append(Heard(second))
        names = [Path(p).name for p in (first, second)]
        sizes = [sum(m.size_bytes for m in h.bundle.manifest.models) for h in pair]
        tell(f"{'':34}{names[0][:20]:>22}{names[1][:20]:>22}")
        tell(f"{'bytes':34}{sizes[0]:>22}{sizes[1]:>22}")
        if all(h.line is not None for h in pair):
            _run_both(pair, tell)
        receipts = [{(f.data, f.name): f for f in h.bundle.manifest.receipt} for h in pair]
        for name in dict.fromkeys(name for _, name in receipts[0]):
            (first, *more), others = ([key for key in receipt if key[1] == name] for receipt in receipts)
            if not more and len(others) == 1 and others[0] != first:  # each has one figure of that name, of other data
                for receipt, key in zip(receipts, (first, others[0]), strict=True):
                    receipt[f"{first[0]} and {others[0][0]}", name] = receipt.pop(key)
        told = dict.fromkeys([*receipts[0], *receipts[1]])
        for data in dict.fromkeys(data for data, _ in told):
            tell(f"on {data}:")
            for key in (key for key in told if key[0] == data):
                values = [f"{r[key].value:g} {r[key].unit}" if key in r else "-" for r in receipts]
                tell(f"  {key[1][:31]:32}{values[0]:>22}{values[1]:>22}")
    finally:
        for heard in pair:
            heard.close()


def _run_both(pair: list[Heard], tell: Callable[[str], None]) -> None:
    clips = sounds()
    found = [[heard.rows(clip) for clip in clips] for heard in pair]
    if [r.shape for r in found[0]] == [r.shape for r in found[1]]:
        tell(f"{'cosine of encoder rows, least':34}{min(cosine(a, b) for a, b in zip(*found, strict=True)):>44.6f}")
    else:
        tell("their encoders' rows have other shapes and are not compared")
    spent: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for heard, times in zip(pair, spent, strict=True):
            begin = time.thread_time()
            for clip in clips:
                heard.rows(clip)
            times.append(1000 * (time.thread_time() - begin) / sum(SECONDS))
    medians = [statistics.median(times) for times in spent]
    tell(f"{'encoder, CPU ms per s (median of 5)':34}{medians[0]:>22.3f}{medians[1]:>22.3f}")
