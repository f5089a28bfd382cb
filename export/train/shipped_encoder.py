"""The encoder of a shipped bundle, back as something to train on with: its weights as the file stores them, in 8 bits."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.train.model import CHUNK_FRAMES, ROW_FRAMES, Encoder
from export.train.teacher import EVERY, FIRST_CHUNK


def encoder_from(bundle: Path) -> Encoder:
    """The encoder of a bundle of this recipe, in float, its batch norms doing nothing; the teacher's head is not in it and starts anew.

    Weights come back as the file stores them, 8 bits and a scale for each channel. Raises: ValueError where the files aren't of that shape.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(next(bundle.glob("encoder.*onnx")))).graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}

    def value(name: str) -> Tensor:
        if name in values:
            return torch.from_numpy(values[name].copy())
        stored, scale, *zero = (values[part] for part in makers[name].input)
        whole = stored.astype(np.float32) - (zero[0].astype(np.float32).reshape(-1, *[1] * (stored.ndim - 1)) if zero else 0.0)
        return torch.from_numpy(whole * scale.reshape(-1, *[1] * (stored.ndim - 1)))

    convolutions = iter([node for node in graph.node if node.op_type == "Conv"])
    model = Encoder().eval()
    with torch.no_grad():
        for conv, norm in _convolutions(model):
            node = next(convolutions, None)
            weight = None if node is None else value(node.input[1])
            if weight is not None and weight.ndim == conv.weight.ndim + 1:  # over images of one row, see export.to_onnx.as_images
                weight = weight.squeeze(2)
            if weight is None or weight.shape != conv.weight.shape:
                raise ValueError(
                    f"{bundle}: the encoder's convolutions are not those of export.train.model; it was not packed by this recipe"
                )
            conv.weight.copy_(weight)
            bias = value(node.input[2]) if len(node.input) > 2 else torch.zeros(len(conv.weight))
            if norm is None:
                assert conv.bias is not None
                conv.bias.copy_(bias)
            else:
                norm.running_mean, norm.running_var = torch.zeros(len(bias)), torch.ones(len(bias)) - norm.eps
                norm.bias.copy_(bias)
    return model


def _convolutions(model: Encoder) -> Iterator[tuple[nn.Conv1d | nn.Conv2d, nn.Module | None]]:
    """Every convolution in the order in which it is computed, with the norm that follows it."""
    yield model.stem.conv, model.stem.norm
    for block in model.blocks:
        yield block.depthwise.conv, block.depthwise.norm
        yield block.pointwise, block.norm
    yield model.flatten, model.norm
    for step in model.temporal:
        yield step.depthwise, step.norm1
        yield step.pointwise, step.norm2
    yield model.heads, None


@torch.no_grad()
def wake(model: Encoder, mels: Tensor, teacher: Tensor) -> None:
    """Makes an encoder from `encoder_from` one that can be fitted further, without changing what it says: batch norms measure these scenes
    and undo what they measure, and the teacher's head is solved for in closed form.

    mels float[N, T, bands]; teacher: its logits [N, chunks, classes], as in a shard.
    """
    norms = [norm for _, norm in _convolutions(model) if norm is not None]
    found: list[tuple[Tensor, Tensor]] = []

    def measure(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].transpose(0, 1).flatten(1)
        found.append((x.mean(dim=1), x.var(dim=1)))

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    model.eval().features(mels, model.caches(len(mels)))
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in zip(norms, found, strict=True):
        norm.bias += mean * norm.weight
        norm.running_mean, norm.running_var = mean, variance
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
    solve_teacher(model, [(mels, teacher)])


@torch.no_grad()
def solve_teacher(model: Encoder, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """The teacher's head by least squares over these scenes, the rest of the network as it is. Batches are those of `wake`."""
    rows, width = CHUNK_FRAMES // ROW_FRAMES, model.flatten.out_channels
    squares = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    products, n = torch.zeros(width + 1, model.teacher.out_features, dtype=torch.float64), 0
    for mels, teacher in batches:
        features = model.eval().features(mels, model.caches(len(mels)))[0]
        chunks = features[:, -width:].unflatten(2, (-1, rows)).mean(dim=3).transpose(1, 2)
        x = chunks[:, FIRST_CHUNK::EVERY].flatten(0, 1).double()
        x = torch.cat((x, torch.ones(len(x), 1, dtype=torch.float64)), dim=1)
        squares += x.T @ x
        products += x.T @ teacher.double().flatten(0, 1)
        n += len(x)
    ridge = n * 1e-3 * torch.eye(width + 1, dtype=torch.float64)  # some channels are hardly ever more than 0
    solved = torch.linalg.solve(squares + ridge, products).float()
    model.teacher.weight.copy_(solved[:-1].T)
    model.teacher.bias.copy_(solved[-1])


def between(begun: Encoder, fitted: Encoder, share: float) -> Encoder:
    """`share` of the fitted weights and the rest of those that it began with; batch norms are to be settled anew.

    What was learnt before is kept, what is new is mostly kept too (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    old, mean = begun.state_dict(), copy.deepcopy(fitted)
    mean.load_state_dict(
        {name: old[name].lerp(new, share) if new.is_floating_point() else new for name, new in fitted.state_dict().items()}
    )
    return mean
