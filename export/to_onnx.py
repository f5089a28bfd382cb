"""Torch -> ONNX for streaming encoders: one chunk in, its scores and prefix rows out, the state as plain inputs and outputs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge.encoder import next_name
from export.train.decoder import Projector
from export.train.evidence import Evidence
from export.train.model import BANDS, CHUNK_FRAMES, Causal2d, Dilated, Encoder, Separable

OPSET = 18
_PER_AXIS = {"dilations": 1, "kernel_shape": 1, "strides": 1, "pads": 0}
"""Attributes of a convolution that have a number for each axis; what stands there for the row."""
_AXES = {"axis_of_time": 3, "axis_of_row": 2}


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
    as_images(graph)
    onnx.save(graph, str(path))
    onnx.checker.check_model(graph)
    found = [i.name for i in graph.graph.input], [o.name for o in graph.graph.output]
    if found != (["mels", *names], outputs):
        raise RuntimeError(f"the exporter renamed the ports of {path.name}: {found}; the runtime finds them by name")


def as_images(model: Any) -> None:
    """Makes the convolutions over time of a streaming encoder convolutions over images of one row, in place; caches between them, too.

    The same numbers: [B, C, T] becomes [B, C, 1, T]. onnxruntime on x86 computes images in blocks of channels, rows without a second
    dimension it does not (benchmarks/encoder_cost.py). They stand between a Reshape and a Transpose. Raises: ValueError where something
    else than a stack of such convolutions stands there.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    held = {weight.name: weight for weight in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    ports = {port.name: port for port in (*graph.input, *graph.output)}
    images: set[str] = set()
    nodes = []
    for node in list(graph.node):
        given = [name for name in node.input if name in images]
        if node.op_type == "Conv":
            stored = held[makers[node.input[1]].input[0] if node.input[1] in makers else node.input[1]]  # behind its scale, in 8 bits
            if len(stored.dims) == 3:
                stored.dims.insert(2, 1)
                for attribute in node.attribute:
                    if attribute.name in _PER_AXIS:
                        ints = list(attribute.ints)
                        half = len(ints) // 2
                        of_row = _PER_AXIS[attribute.name]
                        wide = [of_row, *ints[:half], of_row, *ints[half:]] if attribute.name == "pads" else [of_row, *ints]
                        attribute.CopyFrom(helper.make_attribute(attribute.name, wide))
                if not given:
                    reshape = makers[node.input[0]]
                    if reshape.op_type != "Reshape":
                        raise ValueError(
                            f"{node.name} is behind {reshape.op_type} instead of Reshape; as_images does not know this encoder"
                        )
                    shape = numpy_helper.to_array(held[reshape.input[1]]).tolist()
                    graph.initializer.append(numpy_helper.from_array(np.array([*shape[:2], 1, *shape[2:]], np.int64), "shape_of_image"))
                    reshape.input[1] = "shape_of_image"
                images.add(node.output[0])
        elif given and node.op_type == "Transpose":
            rows = helper.make_node("Squeeze", [given[0], "axis_of_row"], [f"{given[0]}_rows"], name="rows_of_image")
            nodes.append(rows)
            node.input[0] = rows.output[0]
        elif given and node.op_type in ("Relu", "Add", "Concat", "Slice"):
            if node.op_type == "Concat" and node.attribute[0].i == 2:
                node.attribute[0].i = 3
                images.update(name for name in node.input if name in ports)
            if node.op_type == "Slice":
                node.input[3] = "axis_of_time"
            images.update(node.output)
        elif given:
            raise ValueError(f"{node.name} is a {node.op_type} among convolutions over time; as_images does not know this encoder")
        nodes.append(node)
    for name in images & ports.keys():
        port = ports[name].type.tensor_type
        sizes = [size.dim_value for size in port.shape.dim]
        ports[name].CopyFrom(helper.make_tensor_value_info(name, port.elem_type, [*sizes[:2], 1, *sizes[2:]]))
    graph.initializer.extend(numpy_helper.from_array(np.array([axis], np.int64), name) for name, axis in _AXES.items())
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for weight in [weight for weight in graph.initializer if weight.name not in used]:
        graph.initializer.remove(weight)
