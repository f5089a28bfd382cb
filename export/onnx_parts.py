"""Torch modules -> ONNX files with named, dynamic ports, and their precisions: what the recipes share."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.ask import PIECE, pieces
from edge.audio_file import AudioFile
from edge.backends.onnx import OnnxModel
from edge.types import TensorModel
from export.offenders import Feeds, offenders
from export.quantize import quantize_int8
from export.recipes.recipe import BuildError, Work

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18
SOUND_FILES = (".wav", ".flac", ".ogg", ".mp3")
MOST_CALIBRATING = 64


def export(
    module: nn.Module, examples: Mapping[str, Tensor], free: Mapping[str, Mapping[int, str]], outputs: Sequence[str], path: Path
) -> None:
    """Writes the module as one ONNX file. examples: by the names of its inputs; free: axes of them whose size may vary, by name.

    Raises: BuildError naming the part when the exporter cannot follow it.
    """
    import torch

    shapes: list[Any] = []
    for name in examples:
        shapes.append(dict.fromkeys(free.get(name, {}), torch.export.Dim.DYNAMIC) or None)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    try:
        program = torch.onnx.export(
            module.eval(),
            tuple(examples.values()),
            input_names=list(examples),
            output_names=list(outputs),
            dynamic_shapes=_nested(shapes, module),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)
    except Exception as error:  # the exporter's errors share no base class
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BuildError(f"{path.name}: torch cannot export it ({why}); this architecture needs a change of the recipe") from error
    found = OnnxModel(path)
    if list(found.inputs) != list(examples) or list(found.outputs) != list(outputs):
        raise BuildError(
            f"{path.name}: the exporter renamed its ports to {list(found.inputs)} and {list(found.outputs)}; pin torch as the lock says"
        )


def _nested(shapes: list[Any], module: nn.Module) -> Any:
    """A forward of the form (x, *rest) takes its shapes as (x, (rest…))."""
    import inspect

    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        plain = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        return (*shapes[:plain], tuple(shapes[plain:]))
    return tuple(shapes)


def quantize(
    path: Path, precision: str, keep: Sequence[str] = (), feeds: Feeds = (), calibration: Feeds = (), wide: bool = False
) -> list[tuple[str, float]]:
    """Weights of matrix products, in place: int8 (of which they use seven bits, see _dynamic) or 4-bit in blocks of 32.

    wide: all eight bits of int8, for models that lose too much with seven.

    keep: names of weights that stay as they are: a filter bank's inputs span ten powers of ten, which 8 bits do not.
    calibration: for int8-static, where activations have fixed ranges as well: what they are found on.
    feeds: what to measure the loss of each layer on. Returns the layers that lose most, see export.offenders.
    """
    data = path.with_name(path.name + ".data")
    """Where torch puts the weights of a model that is too large for one file."""
    if precision == "fp32":
        if data.exists():
            raise BuildError(f"{path.name}: in float it is larger than one ONNX file may be; choose --encoder int8 or int4")
        return []
    whole = path.parent / "float"
    whole.mkdir()
    for file in (path, data):
        if file.exists():
            file.rename(whole / file.name)
    try:
        if precision in ("int8", "int4"):
            fold_transposed(whole / path.name)
        if precision == "int8":
            _dynamic(whole / path.name, path, keep, wide)
        elif precision == "int8-static" and calibration:
            _static(whole / path.name, path, keep, calibration)
        elif precision == "int4":
            import onnx
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

            floats = onnx.load(str(whole / path.name))
            kept = _using(whole / path.name, keep)
            # Level 4: activations in 8 bits while it multiplies, three times as fast and no worse.
            four = MatMulNBitsQuantizer(floats, block_size=32, is_symmetric=True, accuracy_level=4, nodes_to_exclude=kept)
            four.process()
            four.model.save_model_to_file(str(path))
        else:
            raise BuildError(f"{path.name}: precision {precision} is not made from this part; choose fp32, int8 or int4")
        return offenders(whole / path.name, path, feeds)
    finally:
        shutil.rmtree(whole)


def _dynamic(plain: Path, small: Path, keep: Sequence[str], wide: bool) -> None:
    """Products with signed weights of seven bits, or unsigned ones of eight, a scale for each output; embeddings of eight.

    Signed weights meet unsigned activations in the instructions that x86 with VNNI and ARM have for it: an encoder of Whisper-tiny's size
    takes 0.65 of the float one's time for 30 s and 0.49 for 5 s, with unsigned weights 0.81 and 0.73. Seven bits, because AVX2 without
    VNNI adds two such products in 16 bits and would saturate with eight (cosine .976); their cost is .9995 instead of .9998.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    products = small.with_suffix(".products.onnx")
    how = {"weight_type": QuantType.QUInt8 if wide else QuantType.QInt8, "per_channel": True, "reduce_range": not wide}
    try:
        quantize_dynamic(str(plain), str(products), op_types_to_quantize=["MatMul", "Gemm"], nodes_to_exclude=_using(plain, keep), **how)
        quantize_dynamic(str(products), str(small), op_types_to_quantize=["Gather"], weight_type=QuantType.QUInt8)
    finally:
        products.unlink(missing_ok=True)


def fold_transposed(path: Path) -> None:
    """Weights that a product takes transposed become weights of their own, in place: of others no quantizer knows.

    A vocabulary's projection is its embedding transposed, and most of what a decoder reads for each token. Left in float, int8 made a
    Whisper's decoding a quarter faster; quantized, two and a half times.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    weights = {i.name: i for i in model.graph.initializer}
    taken = {name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input[1:2]}
    for node in list(model.graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights and node.output[0] in taken:
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            turned = np.ascontiguousarray(np.transpose(numpy_helper.to_array(weights[node.input[0]]), order))
            model.graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
            model.graph.node.remove(node)
    data = path.with_name(path.name + ".data")
    path.unlink()  # it may have a second name, see export.resume
    if data.exists():
        data.unlink()
        onnx.save(model, str(path), save_as_external_data=True, location=data.name)
    else:
        onnx.save(model, str(path))


def _static(plain: Path, small: Path, keep: Sequence[str], calibration: Feeds) -> None:
    """Convolutions and products with weights in 8 bits, both sides; a product of two activations stays float."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod

    graph = onnx.load(str(plain), load_external_data=False).graph
    weights = {i.name for i in graph.initializer}
    floats = [n.name for n in graph.node if n.op_type in ("MatMul", "Gemm") and n.input[1] not in weights]
    settings = {
        "op_types_to_quantize": ["MatMul", "Gemm", "Conv"],
        "nodes_to_exclude": [*floats, *_using(plain, keep)],
        "calibrate_method": CalibrationMethod.MinMax,  # percentiles keep every activation: a transformer's do not fit
        "extra_options": {},
    }
    quantize_int8(plain, small, (dict(feed) for feed in calibration), settings)


def _using(path: Path, weights: Sequence[str]) -> list[str]:
    """Names of the nodes that take one of these weights. Raises: BuildError where a weight is not found."""
    import onnx

    nodes = onnx.load(str(path), load_external_data=False).graph.node if weights else []
    found = {weight: [node.name for node in nodes if weight in node.input] for weight in weights}
    if missing := [weight for weight, users in found.items() if not users]:
        raise BuildError(f"{path.name}: its weights {', '.join(missing)} were renamed by the exporter; pin torch as the lock says")
    return [name for users in found.values() for name in users]


def described(
    path: Path, role: str, precision: str, source: Mapping[str, str], model: TensorModel | None = None, runtime: str = "onnx"
) -> dict[str, Any]:
    """The entry of a manifest for one file. model: it, loaded, where it is none of onnxruntime's."""
    model = model or OnnxModel(path)
    return {
        "role": role,
        "runtime": runtime,
        "file": path.name,
        "inputs": [{"name": n, "dtype": d, "shape": list(s)} for n, (d, s) in model.inputs.items()],
        "outputs": [{"name": n, "dtype": d, "shape": list(s)} for n, (d, s) in model.outputs.items()],
        "precision": {"fp32": "float32"}.get(precision, precision),
        "source": dict(source),
    }


def tokenizer_of(source: Path, folder: Path, origin: Mapping[str, str]) -> dict[str, Any]:
    """Copies tokenizer.json and returns its entry of the manifest. Raises: BuildError where there is none."""
    if not (source / "tokenizer.json").is_file():
        raise BuildError(f"{source}: tokenizer.json is missing; fetch the whole repository, or save the fast tokenizer beside the weights")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    entry = {"role": "tokenizer", "runtime": "tokenizer", "file": "tokenizer.json", "inputs": [], "outputs": [], "precision": "text"}
    return {**entry, "source": dict(origin)}


def recordings(folder: str, longest_s: float) -> list[NDArray[np.float32]]:
    """What to calibrate with: each sound file of the folder, float32[n] at 16 kHz, at most `longest_s` of it. Raises: BuildError."""
    files = sorted(p for p in Path(folder).glob("**/*") if p.suffix.lower() in SOUND_FILES) if Path(folder).is_dir() else []
    if not files:
        raise BuildError(f"--calibrate {folder}: there are no sound files in it; name a folder of recordings like those that will be heard")
    found = []
    for file in files[:MOST_CALIBRATING]:
        with closing(AudioFile(file)) as source:
            longest = round(longest_s * 16_000)
            some = islice(pieces(source), -(-longest // PIECE))
            found.append(np.concatenate([np.zeros(0, np.float32), *some])[:longest].copy())
    return [x for x in found if len(x) >= 1_600]


def calibration(work: Work, longest_s: float, always: bool = False) -> list[NDArray[np.float32]]:
    """Sounds for int8-static, none for other precisions unless always: those of --calibrate, else synthetic ones. Raises: BuildError."""
    if work.encoder != "int8-static" and not always:
        return []
    folder = work.options.get("calibrate", "")
    found = recordings(folder, longest_s) if folder else audios(np.linspace(min(1.0, longest_s), longest_s, 12).tolist(), seed=5)
    if not folder:
        work.tell("calibrating on synthetic sounds; --calibrate DIR takes recordings like those that will be heard")
    what = f"the recordings of {Path(folder).name}" if folder else "synthetic sounds"
    work.measured("sounds that the activations' ranges were found on", len(found), "", what, len(found), "real" if folder else "synthetic")
    return found


def audios(seconds: Sequence[float], seed: int = 1) -> list[NDArray[np.float32]]:
    """Sounds to measure with, float32[n] at 16 kHz: gliding tones that come and go in noise."""
    found = []
    for index, length in enumerate(seconds):
        rng = np.random.default_rng([seed, index])
        t = np.arange(round(length * 16_000)) / 16_000
        tone = np.sin(2 * np.pi * (rng.uniform(120, 900) * t + rng.uniform(-40, 90) * t * t / (1 + length)))
        gate = np.sin(2 * np.pi * rng.uniform(0.5, 3) * t + rng.uniform(0, 6)) > -0.3
        noise = rng.normal(0, 10 ** rng.uniform(-3, -1.3), len(t))
        found.append((0.3 * tone * gate + noise).astype(np.float32))
    return found
