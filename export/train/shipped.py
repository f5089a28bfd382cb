"""What a shipped bundle holds, back as something to train on with: its language model and projector, and what its encoder hears.

A machine that has only the repository can so go on from what ships. The language model comes back as its file stores it (Q8_0 keeps
8 bits and a scale for each 32 weights), the projector exactly; the encoder stays the quantized one, as the device runs it
(`shipped_encoder` takes it back to float).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.pack import commit, pack, put_in_place
from export.to_gguf import write_llama
from export.to_onnx import next_name
from export.train.decoder import DecoderShape
from export.train.fit_language import Speaker
from export.train.labels import COUNTED, STARTER_LABELS, WORDS
from export.train.shards import load_shard, shard_path
from export.train.timelines import Heard

ROWS = 8
SPECIAL_TYPE = 3


def speaker_from(bundle: Path) -> Speaker:
    """The language model and the projector of a bundle that `export.train.assemble` has written.

    Raises: ValueError where the files aren't of that shape.
    """
    import gguf
    import onnx
    from onnx import numpy_helper

    reader = gguf.GGUFReader(str(next(bundle.glob("captioner.*.gguf"))))
    stored = {t.name: torch.from_numpy(np.array(gguf.dequantize(t.data, t.tensor_type), np.float32)) for t in reader.tensors}
    speaker = Speaker(DecoderShape(vocabulary=len(stored["token_embd.weight"])))
    weights = {"decoder." + _key(name): value for name, value in stored.items()}
    graph = onnx.load(str(next(bundle.glob("encoder.*onnx")))).graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for part in ("direct", "inner", "outer"):
        weight, bias = _projector(bundle, graph, part)
        weights[f"projector.{part}.weight"] = torch.from_numpy(values[weight].T.copy())
        weights[f"projector.{part}.bias"] = torch.from_numpy(values[bias].copy())
    speaker.load_state_dict(weights)
    return speaker.eval()


def _projector(bundle: Path, graph: Any, part: str) -> tuple[str, str]:
    """Names of a layer's weight [inputs, outputs] and bias: of one Gemm, or of a MatMul and the Add behind it.

    Raises: ValueError where it is neither.
    """
    bias = f"projector.{part}.bias"
    node = next((n for n in graph.node if bias in n.input), None)
    if node is not None and node.op_type == "Gemm":
        return node.input[1], bias
    product = next((n for n in graph.node if node is not None and n.op_type == "MatMul" and n.output[0] in node.input), None)
    if node is None or node.op_type != "Add" or product is None:
        raise ValueError(f"{bundle}: the encoder's projector ({part}) is no product of floats; this bundle was not packed by this recipe")
    return product.input[1], bias


def _key(name: str) -> str:
    names = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "o", "ffn_gate": "gate", "ffn_up": "up", "ffn_down": "down"}
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"token_embd.weight": "embed.weight", "output_norm.weight": "norm.weight"}[name]
    _, layer, part, kind = name.split(".")
    return f"layers.{layer}.{names.get(part, part)}.{kind}"


def tokenizer_from(bundle: Path, path: Path) -> None:
    """Writes the tokenizer of a bundle's language model as a Hugging Face tokenizer.json."""
    import gguf
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = gguf.GGUFReader(str(next(bundle.glob("captioner.*.gguf")))).fields
    tokens = list(fields["tokenizer.ggml.tokens"].contents())
    kinds = list(fields["tokenizer.ggml.token_type"].contents())
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, kinds, strict=True) if kind == SPECIAL_TYPE])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def heard_by(bundle: Path, folder: Path, shards: Sequence[int], scenes: int | None = None) -> Heard:
    """The first `scenes` scenes of each of these shards through the bundle's encoder, chunk by chunk as the device runs it."""
    import onnx
    import onnxruntime

    model = onnx.load(str(next(bundle.glob("encoder.*onnx"))))
    node = next(n for n in model.graph.node if "encoder.heads.weight" in n.input)
    model.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    frames = int(manifest["encoder"]["chunk_frames"])
    inputs = [(i.name, i.shape) for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    carried = [name for name, _ in inputs[1:]]
    following = [next_name(name) for name in carried]
    sizes = (len(STARTER_LABELS), len(COUNTED), len(WORDS))
    parts: list[list[np.ndarray]] = [[], [], [], []]
    for index in shards:
        for mels in load_shard(shard_path(folder, index)).mels[:scenes].astype(np.float32):
            state = {name: np.zeros(shape, np.float32) for name, shape in inputs[1:]}
            logits = []
            for start in range(0, len(mels) - frames + 1, frames):
                found = dict(zip(outputs, session.run(None, {inputs[0][0]: mels[None, start : start + frames], **state}), strict=True))
                state = {name: found[after] for name, after in zip(carried, following, strict=True)}
                logits.append(found[node.output[0]][0].reshape(sum(sizes), -1).T[-ROWS:])  # since 2.7.1 an image of one row
            energy = np.log(np.maximum(np.exp(mels).sum(axis=1).reshape(-1, 4).mean(axis=1), 1e-10))
            split = np.split(np.concatenate(logits), np.cumsum(sizes)[:-1], axis=1)
            for kept, value in zip(parts, (*split, energy), strict=True):
                kept.append(value.astype(np.float16))
    return Heard(*(np.stack(part) for part in parts))


def with_speaker(bundle: Path, speaker: Speaker, tokenizer: Path, out: Path, about: Mapping[str, Any]) -> None:
    """The bundle with another language model and projector; encoder, thresholds and all else stay. Writes to `out`.

    about: what changes in the manifest (version, card, receipt).
    """
    import onnx
    from onnx import numpy_helper

    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    files = {model["role"]: model["file"] for model in manifest["models"]}
    kind = next(model["precision"] for model in manifest["models"] if model["role"] == "captioner").upper()
    model = onnx.load(str(bundle / files["encoder"]))
    weights = speaker.state_dict()
    for part in ("direct", "inner", "outer"):
        weight, bias = _projector(bundle, model.graph, part)
        new = {weight: weights[f"projector.{part}.weight"].T, bias: weights[f"projector.{part}.bias"]}
        for held in model.graph.initializer:
            if held.name in new:
                held.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new[held.name].numpy()), held.name))
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / out.name
        work.mkdir()
        onnx.save(model, str(work / files["encoder"]))
        write_llama(speaker.decoder, tokenizer, work / files["captioner"], "auricle-starter", kind)
        source = {"recipe": "export.train.starter", "commit": commit()}
        for entry in manifest["models"]:
            entry["source"] = source
        pack(work, manifest | {"created_by": source} | dict(about))
        put_in_place(work, out)
