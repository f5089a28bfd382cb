"""Fits the encoder on shards of scenes: labels from the truth, and the teacher's scores as a second task.

Deterministic for a seed and a number of threads: batch i sees shards 0 … s(i) only, and waits until they are rendered, so
that rendering and fitting can run side by side. Resumes from its checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.train.model import Encoder
from export.train.scenes import UNSURE
from export.train.shards import SHARD_SCENES, load_shard, shard_path
from export.train.teacher import FIRST_CHUNK

POOLED_ROWS = 12
"""Rows (half a second) that decide whether a label is in a scene at all."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """steps: batches in all. shards: how many there will be. start_shards: how many must be there to begin."""

    steps: int = 3000
    batch: int = 48
    shards: int = 64
    start_shards: int = 4
    rate: float = 3e-3
    weight_decay: float = 0.02
    teacher_weight: float = 3.0
    clip_weight: float = 1.0
    mix_share: float = 0.2
    seed: int = 1
    checkpoint_steps: int = 50


class Shelf:
    """The scenes rendered so far, in memory; grows by whole shards in order."""

    def __init__(self, folder: Path, shards: int, labels: int) -> None:
        self.folder, self.count = folder, 0
        n = shards * SHARD_SCENES
        self.mels = np.zeros((n, 512, 64), np.float16)
        self.truth = np.zeros((n, 128, labels), np.uint8)
        self.teacher = np.zeros((n, 13, 521), np.float16)

    def grow(self, shards: int) -> None:
        """Waits until that many shards are rendered and takes them in."""
        while self.count < shards:
            path = shard_path(self.folder, self.count)
            while not path.exists():
                time.sleep(1.0)
            held, at = load_shard(path), slice(self.count * SHARD_SCENES, (self.count + 1) * SHARD_SCENES)
            self.mels[at], self.truth[at], self.teacher[at] = held.mels, held.truth, held.teacher
            self.count += 1


def augment(mels: Tensor, rng: torch.Generator) -> Tensor:
    """Level, tilt and a bump of the spectrum, then masks (SpecAugment, Park et al. 2019). Labels and teacher stay as they are."""
    n, frames, bands = mels.shape
    x = torch.linspace(-1, 1, bands)
    draw = torch.rand(n, 8, generator=rng)
    mels = mels + (draw[:, 0:1, None] - 0.5) * 4 + (draw[:, 1:2, None] - 0.5) * 3 * x
    centre, height = draw[:, 2:3] * 2 - 1, (draw[:, 3:4] - 0.5) * 4
    mels = mels + (height * torch.exp(-((x - centre) ** 2) * 12))[:, None, :]
    band, frame = torch.arange(bands)[None, None, :], torch.arange(frames)[None, :, None]
    for at, wide in ((4, 10), (5, 6)):
        low = (draw[:, at] * bands).long()[:, None, None]
        width = (draw[:, 6] * wide).long()[:, None, None]
        mels = torch.where((band >= low) & (band < low + width), torch.full_like(mels, -10.0), mels)
    low = (draw[:, 7] * frames * 1.5).long()[:, None, None]  # a third of the scenes keep every frame
    return torch.where((frame >= low) & (frame < low + 24), torch.full_like(mels, -10.0), mels)


def mix(mels: Tensor, truth: Tensor, share: float, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Adds the energy of another scene to a share of the batch; both truths hold then. Returns which were mixed."""
    n = len(mels)
    mixed = torch.rand(n, generator=rng) < share
    other = torch.randperm(n, generator=rng)
    gain = (torch.rand(n, 1, 1, generator=rng) - 0.5) * 3
    both = torch.logaddexp(mels, mels[other] + gain)
    joined = torch.maximum(truth, truth[other])  # 255 (unsure) wins over both, which is right
    where = mixed[:, None, None]
    return torch.where(where, both, mels), torch.where(where, joined, truth), mixed


def rarity(truth: np.ndarray) -> Tensor:
    """Weight of a present row for each label, 1 to 8: a sneeze has a hundredth of the rows of rain, but is as much worth hearing."""
    share = (truth == 1).mean(axis=(0, 1)) + 1e-6
    return torch.from_numpy(np.clip(np.sqrt(0.08 / share), 1.0, 8.0).astype(np.float32))


@torch.no_grad()
def temper(model: Encoder, weight: Tensor, share: float = 0.5) -> Encoder:
    """Takes part of the weight that rare labels had in the loss out of their logits again, in place.

    A present row that weighs w makes the model claim odds w times too high. Half of that back cost no hit on fold 4 and one
    false sound in six; all of it cost hits.
    """
    assert model.labels.bias is not None
    model.labels.bias -= share * torch.log(weight)
    return model


def label_losses(logits: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Frame-wise cross-entropy; and that of the best half second of each label against its being anywhere in the scene."""
    sure, there = truth != UNSURE, truth == 1
    rows = functional.binary_cross_entropy_with_logits(logits, there * 0.98 + 0.01, pos_weight=weight, reduction="none")
    rows = (rows * sure).sum() / sure.sum()
    best = logits.topk(POOLED_ROWS, dim=1).values.mean(dim=1)
    anywhere = there.sum(dim=1) >= 4
    judged = anywhere | ~(~sure).any(dim=1)
    clips = functional.binary_cross_entropy_with_logits(
        best, anywhere * 0.98 + 0.01, pos_weight=torch.full_like(weight, 3.0), reduction="none"
    )
    return rows, (clips * judged).sum() / judged.sum()


def losses(
    model: Encoder, mels: Tensor, truth: Tensor, teacher: Tensor, mixed: Tensor, weight: Tensor, clip_weight: float
) -> tuple[Tensor, Tensor]:
    """Loss of the labels; cross-entropy against the teacher's scores where the scene is unmixed."""
    heard = model(mels)
    rows, clips = label_losses(heard.logits, truth, weight)
    label = rows + clip_weight * clips
    said = heard.teacher[:, FIRST_CHUNK:][~mixed]
    wanted = teacher[~mixed]
    scores = functional.binary_cross_entropy_with_logits(said, torch.sigmoid(wanted))
    shape = functional.mse_loss(said, wanted) * 0.01
    return label, scores + shape


def fit(
    model: Encoder,
    folder: Path,
    checkpoint: Path,
    options: FitOptions,
    validate: Callable[[Encoder], dict[str, float]] | None = None,
    tell: Callable[[str], None] = print,
) -> list[dict[str, float]]:
    """Trains in place; the model ends with the running mean of its weights. Returns the history, also kept beside the checkpoint."""
    torch.manual_seed(options.seed)
    rng = torch.Generator().manual_seed(options.seed)
    pick = np.random.default_rng(options.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.1)
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    history: list[dict[str, float]] = []
    begin = 0
    if checkpoint.exists():
        held = torch.load(checkpoint, weights_only=False)
        for part, name in ((model, "model"), (optimiser, "optimiser"), (schedule, "schedule"), (mean, "mean")):
            part.load_state_dict(held[name])
        begin, history = held["step"], held["history"]
        rng.set_state(held["rng"])
        torch.set_rng_state(held["torch_rng"])
        pick.bit_generator.state = held["pick"]
    shelf = Shelf(folder, options.shards, model.labels.out_channels)
    shelf.grow(options.start_shards)
    weight = rarity(shelf.truth[: options.start_shards * SHARD_SCENES])
    sums, since = np.zeros(2), time.monotonic()
    for step in range(begin, options.steps):
        shelf.grow(min(options.shards, options.start_shards + step * options.shards * 3 // (options.steps * 2)))
        ids = np.sort(pick.integers(0, shelf.count * SHARD_SCENES, options.batch))
        mels = augment(torch.from_numpy(shelf.mels[ids].astype(np.float32)), rng)
        mels, truth, mixed = mix(mels, torch.from_numpy(shelf.truth[ids]), options.mix_share, rng)
        model.train()
        wanted = torch.from_numpy(shelf.teacher[ids].astype(np.float32))
        label, taught = losses(model, mels, truth, wanted, mixed, weight, options.clip_weight)
        optimiser.zero_grad()
        (label + options.teacher_weight * taught).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        mean.update_parameters(model)
        sums += label.item(), taught.item()
        if (step + 1) % options.checkpoint_steps == 0 or step + 1 == options.steps:
            figures = validate(model.eval()) if validate else {}
            n = (step % options.checkpoint_steps) + 1
            history.append({"step": step + 1, "label_loss": sums[0] / n, "teacher_loss": sums[1] / n, **figures})
            tell(json.dumps({k: round(v, 4) for k, v in history[-1].items()}) + f" {time.monotonic() - since:.0f} s")
            sums[:] = 0
            state = {"model": model, "optimiser": optimiser, "schedule": schedule, "mean": mean}
            part = checkpoint.with_suffix(".part")
            saved = {name: part_.state_dict() for name, part_ in state.items()}
            saved |= {"step": step + 1, "history": history, "rng": rng.get_state(), "torch_rng": torch.get_rng_state()}
            torch.save(saved | {"pick": pick.bit_generator.state, "options": asdict(options)}, part)
            part.rename(checkpoint)
    model.load_state_dict(mean.module.state_dict())
    settle_norms(model, shelf, rng)
    model.eval()
    return history


def settle_norms(model: Encoder, shelf: Shelf, rng: torch.Generator, batches: int = 40, batch: int = 48) -> None:
    """Batch norms measured anew for the averaged weights, which have never seen a batch themselves (Izmailov et al. 2018)."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for index in range(batches):
            ids = np.arange(index * batch, (index + 1) * batch) % (shelf.count * SHARD_SCENES)
            model(augment(torch.from_numpy(shelf.mels[ids].astype(np.float32)), rng))
