"""The teacher on a GPU: YAMNet's weights out of its file, in floats, and without the 8-bit steps in between, so its scores are finer.

Source of the layers: MobileNet v1, Howard et al. 2017, as in YAMNet's own description. Not exported, not shipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.train.teacher import CHUNK, EVERY, FIRST_CHUNK, PATCH

HALVING = (0, 3, 7, 11, 23)
"""Layers of YAMNet that halve time and frequency."""


def weights_of(model: Path) -> dict[str, NDArray[np.float32]]:
    """YAMNet's weights out of its TFLite file, as floats: window, mel filters and, in order, every convolution's kernel and bias, and the
    largest value that its 8 bits can say, for loud tones run into it.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    details = {d["index"]: d for d in interpreter.get_tensor_details()}

    def floats(index: int) -> NDArray[np.float32]:
        held, told = interpreter.get_tensor(index), details[index]["quantization_parameters"]
        if held.dtype == np.float32:
            return np.asarray(held)
        shape = [1] * held.ndim
        shape[told["quantized_dimension"]] = -1
        scale, zero = told["scales"].reshape(shape), told["zero_points"].reshape(shape)
        return np.asarray((held.astype(np.float32) - zero) * scale, np.float32)

    def range_of(index: int) -> NDArray[np.float32]:
        told = details[index]["quantization_parameters"]
        return np.asarray((np.array([-128, 127]) - told["zero_points"][0]) * told["scales"][0], np.float32)

    found: dict[str, NDArray[np.float32]] = {}
    layer = 0
    for op in interpreter._get_ops_details():
        if op["op_name"] == "MUL":
            found["window"] = floats(op["inputs"][1])
        elif op["op_name"] == "FULLY_CONNECTED" and "mel" not in found:
            found["mel"], found["floor"] = floats(op["inputs"][1]), floats(op["inputs"][2])
        elif op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            found[f"kernel_{layer:02d}"], found[f"bias_{layer:02d}"] = floats(op["inputs"][1]), floats(op["inputs"][2])
            found[f"most_{layer:02d}"] = range_of(op["outputs"][0])[1:]
            layer += 1
        elif op["op_name"] == "QUANTIZE":
            found["range"] = range_of(op["outputs"][0])
    return found


class FloatTeacher(nn.Module):
    """Patches of samples to logits, on whatever device. weights: as `weights_of` gives them."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        super().__init__()
        for name, value in weights.items():
            kernel = torch.from_numpy(value)
            if name.startswith("kernel") and kernel.dim() == 4:
                depthwise = kernel.shape[0] == 1
                kernel = kernel.permute(3, 0, 1, 2) if depthwise else kernel.permute(0, 3, 1, 2)
            self.register_buffer(name, kernel.contiguous())
        self._range = [float(v) for v in weights["range"]]
        self._most = {name.removeprefix("most_"): float(value[0]) for name, value in weights.items() if name.startswith("most_")}

    @torch.no_grad()
    def forward(self, patches: Tensor) -> Tensor:
        """float32[B, 15600] -> logits float32[B, 521]."""
        held = dict(self.named_buffers())
        frames = patches.unfold(1, 400, 160) * held["window"]
        x = (torch.fft.rfft(frames, 512).abs() @ held["mel"].T + held["floor"]).log().clamp(*self._range).unsqueeze(1)
        layers = sorted(name.removeprefix("kernel_") for name in held if name.startswith("kernel_"))
        for layer in layers[:-1]:
            kernel, bias = held[f"kernel_{layer}"], held[f"bias_{layer}"]
            stride = 2 if int(layer) in HALVING else 1
            if kernel.shape[2] == 3:  # "same" as TensorFlow pads it: one less at the beginning where the size is even and halved
                lead = 0 if stride == 2 and x.shape[2] % 2 == 0 else 1
                side = 0 if stride == 2 and x.shape[3] % 2 == 0 else 1
                x = functional.pad(x, (side, 1, lead, 1))
            groups = len(kernel) if kernel.shape[1] == 1 and int(layer) > 0 else 1
            x = functional.conv2d(x, kernel, bias, stride, groups=groups).clamp(0.0, self._most[layer])
        return functional.linear(x.mean(dim=(2, 3)), held[f"kernel_{layers[-1]}"], held[f"bias_{layers[-1]}"])

    def scenes(self, samples: Tensor) -> Tensor:
        """float32[B, n] -> float32[B, C, 521], as `Teacher.logits` for each scene."""
        stops = [(chunk + 1) * CHUNK for chunk in range(FIRST_CHUNK, samples.shape[1] // CHUNK, EVERY)]
        patches = torch.stack([samples[:, stop - PATCH : stop] for stop in stops], dim=1)
        return torch.cat([self(part) for part in patches.flatten(0, 1).split(256)]).unflatten(0, patches.shape[:2])
