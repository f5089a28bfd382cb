"""Muon: momentum whose matrix is made orthogonal before each step. Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers".

torch.optim.Muon computes in bfloat16, which a CPU without such instructions emulates: on the machine of benchmarks/results a step of
the starter's decoder took over 6 s with it, 2 s with this one in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(x: Tensor) -> Tensor:
    """[N, rows, columns] -> the same with all singular values of each matrix near 1 (Newton-Schulz)."""
    a, b, c = COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """For matrices inside a network. Steps are scaled to the size of AdamW's (Liu et al. 2025), so that both share a rate's meaning."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the gradients; matrices of one shape are made orthogonal together. closure is not called."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                mean = self.state[p].setdefault("momentum", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                by_shape.setdefault(p.shape, []).append((p, torch.lerp(p.grad, mean, group["momentum"])))
            for shape, found in by_shape.items():
                length = group["lr"] * 0.2 * max(shape) ** 0.5
                for (p, _), update in zip(found, orthogonal(torch.stack([u for _, u in found])), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-length)
