"""What a batch of scenes goes through on its way to the encoder, so that it learns none by heart: other ends of the band, levels and masks,
and mixtures with other scenes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from export.train.labels import COUNTED, STARTER_LABELS, WORDS
from export.train.model import ROW_FRAMES
from export.train.shards import HIGH_HZ, LOW_HZ
from export.train.truth import FAINT, UNSURE

GROUPS = (len(STARTER_LABELS), len(COUNTED), len(WORDS))
"""Columns of a scene's truth: labels, onsets, words."""
HIDDEN = 24
"""Frames under the mask in time."""
DB = 10 / math.log(10)
FLOOR = -23.03
"""Log-mel of silence: ln(1e-10)."""
CUT_SHARE, CUT_FROM_HZ, CUT_TO_HZ = 0.3, 1_200.0, 7_500.0
"""Scenes that are heard through something that ends below 8 kHz, as old files, telephones and cheap microphones do."""

SWELL_SHARE, SWELL_DB, KNOTS = 0.35, 3.0, 7
"""Scenes whose level comes and goes, standard deviation of its knots in dB, and how many there are in a scene (one in 0.85 s)."""


def cut_off(mels: Tensor, rng: torch.Generator) -> Tensor:
    """A share of the scenes loses what lies above a random frequency, 3 to 20 dB for each band, 60 dB at most."""
    n, _, bands = mels.shape
    draw = torch.rand(n, 3, generator=rng, device=mels.device)
    low, high, hz = _mel(torch.tensor(LOW_HZ)), _mel(torch.tensor(HIGH_HZ)), CUT_FROM_HZ * (CUT_TO_HZ / CUT_FROM_HZ) ** draw[:, :1]
    over = torch.relu(torch.arange(float(bands), device=mels.device) - (_mel(hz) - low) / (high - low) * bands)
    lost = (over * (3 + 17 * draw[:, 1:2])).clamp(max=60.0) / DB
    return torch.where((draw[:, 2] < CUT_SHARE)[:, None, None], (mels - lost[:, None, :]).clamp(min=FLOOR), mels)


def swell(mels: Tensor, rng: torch.Generator) -> Tensor:
    """The level of a share of the scenes comes and goes slowly: what moves, gusts, microphones that level themselves."""
    n, frames, _ = mels.shape
    knots = torch.randn(n, 1, KNOTS, generator=rng, device=mels.device) * SWELL_DB / DB
    contour = functional.interpolate(knots, frames, mode="linear", align_corners=True)
    chosen = torch.rand(n, generator=rng, device=mels.device) < SWELL_SHARE
    return torch.where(chosen[:, None, None], (mels + contour.transpose(1, 2)).clamp(min=FLOOR), mels)


def _mel(hz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hz / 700.0)


def augment(mels: Tensor, truth: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """An end of the band, levels that come and go, level, tilt and a bump of the spectrum, then masks (SpecAugment, Park et al. 2019).

    Labels and teacher stay as they are; onsets and words under or shortly behind a mask in time are not judged.
    """
    (n, frames, bands), device = mels.shape, mels.device
    mels = swell(cut_off(mels, rng), rng)
    x = torch.linspace(-1, 1, bands, device=device)
    draw = torch.rand(n, 8, generator=rng, device=device)
    mels = mels + (draw[:, 0:1, None] - 0.5) * 4 + (draw[:, 1:2, None] - 0.5) * 3 * x
    centre, height = draw[:, 2:3] * 2 - 1, (draw[:, 3:4] - 0.5) * 4
    mels = mels + (height * torch.exp(-((x - centre) ** 2) * 12))[:, None, :]
    band, frame = torch.arange(bands, device=device)[None, None, :], torch.arange(frames, device=device)[None, :, None]
    for at, wide in ((4, 10), (5, 6)):
        low = (draw[:, at] * bands).long()[:, None, None]
        width = (draw[:, 6] * wide).long()[:, None, None]
        mels = torch.where((band >= low) & (band < low + width), torch.full_like(mels, -10.0), mels)
    low = (draw[:, 7] * frames * 2.0).long()[:, None, None]  # half of the scenes keep every frame
    mels = torch.where((frame >= low) & (frame < low + HIDDEN), torch.full_like(mels, -10.0), mels)
    row = torch.arange(truth.shape[1], device=device)[None, :, None] * ROW_FRAMES
    hidden = (row >= low - ROW_FRAMES) & (row < low + HIDDEN + 40) & (torch.arange(truth.shape[2], device=device) >= GROUPS[0])
    return mels, torch.where(hidden, torch.full_like(truth, UNSURE), truth)


def mix(mels: Tensor, truth: Tensor, share: float, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Adds the energy of another scene to a share of the batch. Returns which were mixed.

    Both truths hold then, as far as they can be heard: what is in a row only of the scene that has less than FAINT of its energy is not
    judged there. Nor are words.
    """
    n, device = len(mels), mels.device
    mixed = torch.rand(n, generator=rng, device=device) < share
    other = torch.randperm(n, generator=rng, device=device)
    gain = (torch.rand(n, 1, 1, generator=rng, device=device) - 0.5) * 3
    both = torch.logaddexp(mels, mels[other] + gain)
    whole = _row_energy(both, truth.shape[1])
    heard = [_row_energy(one, truth.shape[1]) > FAINT * whole for one in (mels, mels[other] + gain)]
    joined = torch.maximum(truth, truth[other])  # 255 (unsure) wins over both, which is right
    clear = (heard[0] & (truth == 1)) | (heard[1] & (truth[other] == 1))
    joined = torch.where((joined == 1) & ~clear, torch.full_like(joined, UNSURE), joined)
    words = torch.arange(truth.shape[2], device=device) >= GROUPS[0] + GROUPS[1]
    joined = torch.where(words & (joined == 1), torch.full_like(joined, UNSURE), joined)
    where = mixed[:, None, None]
    return torch.where(where, both, mels), torch.where(where, joined, truth), mixed


def _row_energy(mels: Tensor, rows: int) -> Tensor:
    """float[B, rows, 1]: energy of the frames of each row of the truth."""
    return mels.exp().sum(dim=2).unflatten(1, (rows, -1)).sum(dim=2)[..., None]
