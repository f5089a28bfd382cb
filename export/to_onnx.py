"""Torch -> ONNX for streaming encoders: one chunk in, its scores and prefix rows out, the state as plain inputs and outputs."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from edge.encoder import next_name
from export.train.decoder import Projector
from export.train.evidence import Evidence
from export.train.model import BANDS, CHUNK_FRAMES, Causal2d, Dilated, Encoder, Separable

OPSET = 18


def fold_norms(model: Encoder) -> Encoder:
    """Batch norms folded into the convolutions before them, in place: the same function with fewer operations, and what int8 needs."""
    fuse = torch.nn.utils.fusion.fuse_conv_bn_eval
    model.eval()
    for part in model.modules():
        if isinstance(part, Causal2d):
            part.conv, part.norm = fuse(part.conv, part.norm), nn.Identity()
        elif isinstance(part, Separable):
            part.pointwise, part.norm = fuse(part.pointwise, part.norm), nn.Identity()
        elif isinstance(part, Dilated):
            part.depthwise, part.norm1 = fuse(part.depthwise, part.norm1), nn.Identity()
            part.pointwise, part.norm2 = fuse(part.pointwise, part.norm2), nn.Identity()
        elif isinstance(part, Encoder):
            part.flatten, part.norm = fuse(part.flatten, part.norm), nn.Identity()
    return model


class Streaming(nn.Module):
    """Encoder, evidence and projector as the runtime calls them: (mels, state…) -> (scores, vectors, next state…)."""

    def __init__(self, encoder: Encoder, evidence: Evidence, projector: Projector) -> None:
        super().__init__()
        self.encoder, self.evidence, self.projector = encoder, evidence, projector

    def forward(self, mels: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        x, after = self.encoder.features(mels, list(state[:-1]))
        labels, onsets, words = self.encoder.logits(x)
        rows, held = self.evidence(labels, onsets, words, mels, state[-1])
        return torch.sigmoid(labels), self.projector(rows), *after, held


def state_names(count: int) -> list[str]:
    """Names of the state inputs in their order: the encoder's, which go on through a turn that was cut for its length, and last the
    evidence's, which begins anew with every turn. Two digits, so that sorting by name keeps the order.
    """
    return [*(f"state_{i:02d}" for i in range(count - 1)), "turn_00"]


def export_streaming(encoder: Encoder, evidence: Evidence, projector: Projector, path: Path) -> None:
    """Writes the float model for one chunk of 320 ms; nothing in it depends on a batch or a length."""
    import onnx

    module = Streaming(fold_norms(copy.deepcopy(encoder)), evidence, projector).eval()
    state = [*encoder.caches(1), evidence.state(1)]
    names = state_names(len(state))
    outputs = ["scores", "vectors", *map(next_name, names)]
    mels = torch.zeros(1, CHUNK_FRAMES, BANDS)
    program = torch.onnx.export(
        module, (mels, *state), input_names=["mels", *names], output_names=outputs, dynamo=True, opset_version=OPSET, verbose=False
    )
    assert program is not None
    program.save(str(path))
    graph = onnx.load(str(path))
    onnx.checker.check_model(graph)
    found = [i.name for i in graph.graph.input], [o.name for o in graph.graph.output]
    if found != (["mels", *names], outputs):
        raise RuntimeError(f"the exporter renamed the ports of {path.name}: {found}; the runtime finds them by name")
