"""Fits the encoder on a GPU: every core renders scenes, log-mels and teacher are computed on the GPU, and all scenes stay in its memory.

The same losses, augmentation and mixtures as `fit`, in large batches of bfloat16 and by the clock: a rented machine is paid by the
minute. What a batch is drawn from grows as scenes come in, so unlike `fit` the result does not repeat bit by bit.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.train.augment import GROUPS, augment, mix
from export.train.fit import LOSSES, FitOptions, losses, settle
from export.train.float_teacher import FloatTeacher
from export.train.front_end import LogMel
from export.train.model import BANDS, Encoder
from export.train.scenes import Sources, render
from export.train.shards import HIGH_HZ, LOW_HZ

PART = 50
"""Scenes in one file of a renderer."""
WAITING = 8
"""Files that a renderer may be ahead."""
MOST_SCENES, SCENE_BYTES = 600_000, 81_000
"""On the GPU, log-mels, truth and teacher's logits of one together."""
SETTLE_BATCHES = 60
RATE, FINISH_RATE = 4e-3, 1e-3
"""Highest rate of an encoder that begins from nothing, and of one that goes on."""
WARM_UP = 0.06
"""Share of the time in which the rate rises."""


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """minutes: how long. decay: of the running mean of weights, batch by batch. first_scenes: that are waited for before the first."""

    minutes: float = 6.0
    batch: int = 512
    rate: float = RATE
    weight_decay: float = 0.05
    decay: float = 0.998
    first_scenes: int = 4_000
    seed: int = 1
    device: str = "cuda"


def most_scenes(device: str) -> int:
    """How many scenes half of the device's free memory holds, at most MOST_SCENES. Raises: ValueError where there is no such device.

    Asks the driver in a process of its own: a GPU that is in use must not be inherited by those that render.
    """
    ask = f"import torch; print(torch.cuda.mem_get_info({device!r})[0])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise ValueError(f"device {device!r} cannot be used ({why}); leave --device out to fit on the CPU")
    return min(MOST_SCENES, int(done.stdout) // (2 * SCENE_BYTES))


class Shelf:
    """The scenes that came in so far, on the GPU."""

    def __init__(self, most: int, teacher: FloatTeacher, device: str) -> None:
        self.count = 0
        self._log_mel, self._teacher = LogMel(BANDS, LOW_HZ, HIGH_HZ).to(device), teacher.to(device)
        self.mels = torch.zeros(most, 512, BANDS, dtype=torch.float16, device=device)
        self.truth = torch.zeros(most, 128, sum(GROUPS), dtype=torch.uint8, device=device)
        self.teacher = torch.zeros(most, 7, 521, dtype=torch.float16, device=device)

    def put(self, samples: np.ndarray, truth: np.ndarray) -> None:
        """samples int16[N, SCENE_SAMPLES]; truth uint8[N, 128, labels and onsets and words]. What does not fit any more is dropped."""
        n = min(len(samples), len(self.mels) - self.count)
        if n <= 0:
            return
        at = slice(self.count, self.count + n)
        heard = torch.from_numpy(samples[:n]).to(self.mels.device).float() / 32_767
        self.mels[at] = self._log_mel(heard).half()
        self.teacher[at] = self._teacher.scenes(heard).clamp(-9.2, 9.2).half()
        self.truth[at] = torch.from_numpy(truth[:n]).to(self.mels.device)
        self.count += n

    def draw(self, batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """mels float32, truth and teacher's logits of a random batch."""
        ids = torch.randint(self.count, (batch,), generator=rng, device=self.mels.device)
        return self.mels[ids].float(), self.truth[ids], self.teacher[ids].float()

    def rarity(self) -> Tensor:
        """As `fit.rarity`, of the scenes that are there."""
        present = sum((part == 1).sum(dim=(0, 1)) for part in self.truth[: self.count, :, : GROUPS[0]].split(10_000))
        share = present / (128 * self.count) + 1e-6
        return torch.sqrt(0.08 / share).clamp(1.0, 8.0)


def _render_for_ever(sources: Sources, seed: int, worker: int, workers: int, folder: str) -> None:
    """Files of PART scenes, numbered; waits while WAITING of its own lie there."""
    os.nice(5)
    mine: list[Path] = []
    for index in itertools.count(worker, workers):
        made = [render(np.random.default_rng([seed, index, i]), sources) for i in range(PART)]
        samples = np.stack([np.rint(scene.samples * 32_767).astype(np.int16) for scene in made])
        truth = np.stack([np.concatenate((s.truth, s.onsets, s.words), axis=1) for s in made])
        part, path = Path(folder) / f"{index:06d}.part", Path(folder) / f"{index:06d}.npz"
        with part.open("wb") as out:
            np.savez(out, samples=samples, truth=truth)
        part.rename(path)
        mine.append(path)
        while len(mine := [p for p in mine if p.exists()]) >= WAITING:
            time.sleep(0.05)


@contextmanager
def renderers(sources: Sources, seed: int, workers: int = 0) -> Iterator[Callable[[Shelf, int], int]]:
    """Processes that render scenes, one for each core but one. Gives a function that puts up to so many waiting files on the shelf and says
    how many it were; it raises RuntimeError when a renderer has died. To be entered before the GPU is used, for the processes are forked.
    """
    context = multiprocessing.get_context("fork")  # the sources are large, and are shared so
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="auricle-scenes-", dir=memory if memory.is_dir() else None))
    count = workers or max(1, (os.cpu_count() or 2) - 1)
    processes = [
        context.Process(target=_render_for_ever, args=(sources, seed, worker, count, str(folder)), daemon=True) for worker in range(count)
    ]
    for process in processes:
        process.start()

    def take(shelf: Shelf, most: int) -> int:
        taken = 0
        for path in itertools.islice(sorted(folder.glob("*.npz")), most):
            with np.load(path) as held:
                shelf.put(held["samples"], held["truth"])
            path.unlink()
            taken += 1
        if not all(process.is_alive() for process in processes):
            raise RuntimeError("a process that renders scenes has ended; see its error above")
        return taken

    try:
        yield take
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        shutil.rmtree(folder, ignore_errors=True)


def fit_edition(
    model: Encoder, sources: Sources, teacher: FloatTeacher, options: GpuOptions, tell: Callable[[str], None] = print
) -> tuple[list[dict[str, float]], Tensor]:
    """Renders and fits side by side, in place; history and the weights of rare labels. Raises: ValueError where there is no such device."""
    room = most_scenes(options.device)
    with renderers(sources, options.seed) as take:
        shelf = Shelf(room, teacher, options.device)
        history = fit_on_gpu(model, shelf, take, options, tell)
    model.cpu()
    return history, shelf.rarity().cpu()


def fit_on_gpu(
    model: Encoder,
    shelf: Shelf,
    take: Callable[[Shelf, int], int],
    options: GpuOptions,
    tell: Callable[[str], None] = print,
) -> list[dict[str, float]]:
    """Trains in place for that many minutes; the model ends with the running mean of its weights. Returns the history, every 15 seconds."""
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    model.to(options.device, memory_format=torch.channels_last).train()
    while shelf.count < options.first_scenes:
        if not take(shelf, 4):
            time.sleep(0.05)
    rng = torch.Generator(options.device).manual_seed(options.seed)
    fused = options.device.startswith("cuda")
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.weight_decay, fused=fused)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(options.decay)
    mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    shape, weight = FitOptions(), shelf.rarity()
    history: list[dict[str, float]] = []
    sums, steps = torch.zeros(len(LOSSES), device=options.device), 0
    begin = told = time.monotonic()
    for step in itertools.count():
        progress = (time.monotonic() - begin) / (60 * options.minutes)
        if progress >= 1:
            break
        rate = progress / WARM_UP if progress < WARM_UP else 0.5 + 0.5 * math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))
        for group in optimiser.param_groups:
            group["lr"] = options.rate * max(rate, 0.01)
        take(shelf, 2)
        mels, truth, wanted = shelf.draw(options.batch, rng)
        mels, truth = augment(mels, truth, rng)
        mels, truth, mixed = mix(mels, truth, shape.mix_share, rng)
        with torch.autocast(options.device.split(":")[0], torch.bfloat16):
            parts = losses(model, mels, truth, wanted, mixed, weight, shape)
        optimiser.zero_grad()
        parts.sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        mean.update_parameters(model)
        sums, steps = sums + parts.detach(), steps + 1
        if time.monotonic() - told > 15:
            told = time.monotonic()
            found = dict(zip(LOSSES, (sums / steps).tolist(), strict=True))
            history.append({"step": step + 1, "seconds": told - begin, "scenes": shelf.count, **found})
            tell(" ".join(f"{name} {value:.4g}" for name, value in history[-1].items()))
            sums, steps = torch.zeros_like(sums), 0
    tell(f"{step} batches of {options.batch} in {time.monotonic() - begin:.0f} s, from {shelf.count} scenes")
    model.load_state_dict(mean.module.state_dict())
    settle(model, (augment(*shelf.draw(options.batch, rng)[:2], rng)[0] for _ in range(SETTLE_BATCHES)))
    model.to(memory_format=torch.contiguous_format).eval()
    return history
