"""Fits the encoder on shards of scenes: labels from the truth, and the teacher's scores as a second task.

Deterministic for a seed and a number of threads: batch i sees shards 0 … s(i) only, and waits until they are rendered, so
that rendering and fitting can run side by side. Resumes from its checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.train.augment import GROUPS, augment, mix
from export.train.model import Encoder
from export.train.shards import SHARD_SCENES, load_shard, shard_path
from export.train.teacher import EVERY, FIRST_CHUNK
from export.train.truth import UNSURE

LOSSES = ("label_loss", "onset_loss", "word_loss", "teacher_loss")
ONSET_ROW_WEIGHT, WORD_ROW_WEIGHT = 6.0, 4.0
BEST_FROM = 0.7
"""Share of the batches from which a checkpoint may be the best."""
LEAN_SHARE, LEAN_LIFT = 0.3, 3.0
"""Of labels that are there the median of what the teacher's head says is -0.6 to -3, of those that are not -5 to -8 (docs/training.md)."""
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
    onset_weight: float = 1.0
    word_weight: float = 0.5
    mix_share: float = 0.2
    seed: int = 1
    checkpoint_steps: int = 50
    settle_batches: int = 40


class Shelf:
    """The scenes rendered so far, in memory; grows by whole shards in order."""

    def __init__(self, folder: Path, shards: int, rendering: Callable[[], bool]) -> None:
        """rendering: whether somebody still makes shards."""
        self.folder, self.count, self._rendering = folder, 0, rendering
        n = shards * SHARD_SCENES
        self.mels = np.zeros((n, 512, 64), np.float16)
        self.truth = np.zeros((n, 128, sum(GROUPS)), np.uint8)
        """Labels, onsets and words side by side."""
        self.teacher = np.zeros((n, 7, 521), np.float16)

    def grow(self, shards: int) -> None:
        """Waits until that many shards are rendered and takes them in. Raises: RuntimeError when nobody renders them any more."""
        while self.count < shards:
            path = shard_path(self.folder, self.count)
            while not path.exists():
                if not self._rendering() and not path.exists():
                    raise RuntimeError(
                        f"{path} is missing and nothing renders it any more; see why above, then give the same command again"
                    )
                time.sleep(1.0)
            held, at = load_shard(path), slice(self.count * SHARD_SCENES, (self.count + 1) * SHARD_SCENES)
            self.mels[at], self.teacher[at] = held.mels, held.teacher
            self.truth[at] = np.concatenate((held.truth, held.onsets, held.words), axis=2)
            self.count += 1


@dataclass(frozen=True, slots=True)
class Best:
    """The mean of weights that did best on the validation fold so far; the later of two that did equally well."""

    figure: float = -1.0
    step: int = 0
    weights: dict[str, Tensor] | None = None

    def against(self, figure: float, step: int, model: nn.Module) -> Best:
        if figure < self.figure:
            return self
        return Best(figure, step, {name: value.clone() for name, value in model.state_dict().items()})


def same_options(checkpoint: Path, held: dict[str, object] | None, given: dict[str, object]) -> None:
    """Raises: ValueError where the checkpoint was made with others: a schedule that goes on as another is neither of the two."""
    if held is not None and held != given:
        changed = ", ".join(f"{name} {held.get(name)} instead of {value}" for name, value in given.items() if held.get(name) != value)
        raise ValueError(f"{checkpoint} was begun with other options ({changed}); give those again, or remove it to begin anew")


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
    assert model.heads.bias is not None
    model.heads.bias[: len(weight)] -= share * torch.log(weight)
    return model


@torch.no_grad()
def lean(model: Encoder, columns: Sequence[int], share: float = LEAN_SHARE) -> Encoder:
    """Adds `share` of (what its own teacher's head says of a label, and LEAN_LIFT) to that label's logit, in place.

    Both are linear in the same features, so nothing grows and nothing runs longer. Labels come from a few hundred recordings; what the
    teacher says of every scene is all that the features know of a wider world. columns: of the labels in the teacher's head.
    """
    assert model.heads.bias is not None
    at = list(columns)
    model.heads.weight[: len(at), -model.flatten.out_channels :, 0] += share * model.teacher.weight[at]
    model.heads.bias[: len(at)] += share * (model.teacher.bias[at] + LEAN_LIFT)
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


def onset_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of the rows that are judged; an onset weighs six times, for it is a matter of two rows."""
    sure, there = truth != UNSURE, truth == 1
    rows = functional.binary_cross_entropy_with_logits(
        logits, there * 0.98 + 0.01, pos_weight=logits.new_tensor(ONSET_ROW_WEIGHT), reduction="none"
    )
    return (rows * sure).sum() / sure.sum() * logits.shape[2]


def word_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy over the words and "none" (whose logit is 0); rows where any word is in doubt are not judged."""
    judged = ~(truth == UNSURE).any(dim=2)
    there = truth == 1
    word = torch.where(there.any(dim=2), there.int().argmax(dim=2) + 1, 0)
    logits = torch.cat((torch.zeros_like(logits[:, :, :1]), logits), dim=2)
    each = functional.cross_entropy(logits.flatten(0, 1), word.flatten(), reduction="none", label_smoothing=0.02)
    weight = torch.where(word > 0, WORD_ROW_WEIGHT, 1.0).flatten() * judged.flatten()
    return (each * weight).sum() / weight.sum().clamp(min=1.0)


def losses(model: Encoder, mels: Tensor, truth: Tensor, teacher: Tensor, mixed: Tensor, weight: Tensor, options: FitOptions) -> Tensor:
    """float[4]: losses of labels, onsets, words, and against the teacher's scores where the scene is unmixed; weighted."""
    heard = model(mels)
    labels, onsets, words = truth.split(list(GROUPS), dim=2)
    rows, clips = label_losses(heard.labels, labels, weight)
    said, plain = heard.teacher[:, FIRST_CHUNK::EVERY], (~mixed).float()
    each = functional.binary_cross_entropy_with_logits(said, torch.sigmoid(teacher), reduction="none")
    each = each + functional.mse_loss(said, teacher, reduction="none") * 0.01
    taught = (each.mean(dim=(1, 2)) * plain).sum() / plain.sum().clamp(min=1.0)
    parts = [
        rows + options.clip_weight * clips,
        options.onset_weight * onset_loss(heard.onsets, onsets),
        options.word_weight * word_loss(heard.words, words),
        options.teacher_weight * taught,
    ]
    return torch.stack(parts)


def fit(
    model: Encoder,
    folder: Path,
    checkpoint: Path,
    options: FitOptions,
    validate: Callable[[Encoder], dict[str, float]] | None = None,
    tell: Callable[[str], None] = print,
    rendering: Callable[[], bool] = lambda: False,
) -> list[dict[str, float]]:
    """Trains in place and goes on from its checkpoint; returns the history.

    The model ends with the running mean of its weights: the last, or with `validate` the best by the sum of its figures. rendering: whether
    shards that are not there yet are still to come. Raises: RuntimeError when they are not; ValueError for a checkpoint of other options.
    """
    torch.manual_seed(options.seed)
    model.to(memory_format=torch.channels_last)  # a quarter faster on a CPU
    rng = torch.Generator().manual_seed(options.seed)
    pick = np.random.default_rng(options.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.1)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    history: list[dict[str, float]] = []
    begin, best = 0, Best()
    if checkpoint.exists():
        held = torch.load(checkpoint, weights_only=False)
        same_options(checkpoint, held.get("options"), asdict(options))
        for part, name in ((model, "model"), (optimiser, "optimiser"), (schedule, "schedule"), (mean, "mean")):
            part.load_state_dict(held[name])
        begin, history, best = held["step"], held["history"], held.get("best", best)
        rng.set_state(held["rng"])
        torch.set_rng_state(held["torch_rng"])
        pick.bit_generator.state = held["pick"]
    shelf = Shelf(folder, options.shards, rendering)
    begin_with = min(options.start_shards, options.shards)
    shelf.grow(begin_with)
    weight = rarity(shelf.truth[: begin_with * SHARD_SCENES, :, : GROUPS[0]])
    sums, since = np.zeros(4), time.monotonic()
    for step in range(begin, options.steps):
        shelf.grow(min(options.shards, begin_with + step * options.shards * 3 // (options.steps * 2)))
        ids = np.sort(pick.integers(0, shelf.count * SHARD_SCENES, options.batch))
        mels, truth = augment(torch.from_numpy(shelf.mels[ids].astype(np.float32)), torch.from_numpy(shelf.truth[ids]), rng)
        mels, truth, mixed = mix(mels, truth, options.mix_share, rng)
        model.train()
        wanted = torch.from_numpy(shelf.teacher[ids].astype(np.float32))
        parts = losses(model, mels, truth, wanted, mixed, weight, options)
        optimiser.zero_grad()
        parts.sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        mean.update_parameters(model)
        sums += parts.detach().numpy()
        if (step + 1) % options.checkpoint_steps == 0 or step + 1 == options.steps:
            figures = validate(mean.module.eval()) if validate else {}
            n = (step % options.checkpoint_steps) + 1
            history.append({"step": step + 1, **dict(zip(LOSSES, (sums / n).tolist(), strict=True)), **figures})
            tell(json.dumps({k: round(v, 4) for k, v in history[-1].items()}) + f" {time.monotonic() - since:.0f} s")
            sums[:] = 0
            if figures and step >= options.steps * BEST_FROM:
                best = best.against(sum(figures.values()), step + 1, mean.module)
            state = {"model": model, "optimiser": optimiser, "schedule": schedule, "mean": mean}
            part = checkpoint.with_suffix(".part")
            saved = {name: part_.state_dict() for name, part_ in state.items()}
            saved |= {"step": step + 1, "history": history, "rng": rng.get_state(), "torch_rng": torch.get_rng_state()}
            torch.save(saved | {"best": best, "pick": pick.bit_generator.state, "options": asdict(options)}, part)
            part.rename(checkpoint)
    model.load_state_dict(best.weights or mean.module.state_dict())
    if best.weights:
        tell(f"the mean of weights at batch {best.step} was best on the validation fold")
    settle_norms(model, shelf, rng, options.settle_batches)
    model.to(memory_format=torch.contiguous_format)
    model.eval()
    return history


def settle_norms(model: Encoder, shelf: Shelf, rng: torch.Generator, batches: int, batch: int = 48) -> None:
    """Batch norms measured anew on scenes of the shelf."""
    shelved = shelf.count * SHARD_SCENES
    ids = (np.arange(index * batch, (index + 1) * batch) % shelved for index in range(batches))
    blank = torch.zeros(batch, 128, sum(GROUPS))
    settle(model, (augment(torch.from_numpy(shelf.mels[i].astype(np.float32)), blank, rng)[0] for i in ids))


@torch.no_grad()
def settle(model: Encoder, batches: Iterable[Tensor]) -> None:
    """Batch norms measured anew for averaged weights, which have never seen a batch themselves (Izmailov et al. 2018)."""
    for norm in (part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)):
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for mels in batches:
        model(mels)
