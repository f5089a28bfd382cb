"""A small Llama in torch -> GGUF that llama.cpp loads: tensors by llama.cpp's names, tokenizer inside, Q8_0 or float.

Every width is checked against the block size of the type asked for: llama.cpp's own quantizer falls back silently.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from export.train.decoder import Decoder

BLOCK = {"F32": 1, "F16": 1, "Q8_0": 32}
"""Row lengths must be multiples of this. Types of 256 (K types) come with the toolchain's recipes."""


def write_llama(decoder: Decoder, tokenizer: Path, path: Path, name: str, kind: str = "Q8_0", licence: str = "apache-2.0") -> None:
    """Writes decoder and tokenizer.json (byte-level BPE) as one GGUF. Raises ValueError for a type that a width does not divide into."""
    import gguf

    if kind not in BLOCK:
        raise ValueError(f"{kind!r} is not one of {', '.join(BLOCK)}")
    s = decoder.shape
    for width in (s.width, s.hidden):
        if width % BLOCK[kind]:
            raise ValueError(f"a row of {width} values cannot be stored as {kind}: its blocks hold {BLOCK[kind]}; use F16 or another width")
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name(name)
    out.add_license(licence)
    out.add_context_length(s.context)
    out.add_embedding_length(s.width)
    out.add_block_count(s.layers)
    out.add_feed_forward_length(s.hidden)
    out.add_head_count(s.heads)
    out.add_head_count_kv(s.heads)
    out.add_rope_dimension_count(s.width // s.heads)
    out.add_rope_freq_base(s.rope_base)
    out.add_layer_norm_rms_eps(s.norm_eps)
    types = gguf.LlamaFileType
    out.add_file_type({"F32": types.ALL_F32, "F16": types.MOSTLY_F16, "Q8_0": types.MOSTLY_Q8_0}[kind])
    _tokenizer(out, tokenizer, s.vocabulary)
    quant = gguf.GGMLQuantizationType[kind]
    for key, value in decoder.state_dict().items():
        array = value.detach().cpu().numpy().astype(np.float32)
        stored = gguf.GGMLQuantizationType.F32 if array.ndim == 1 else quant
        out.add_tensor(_tensor_name(key), gguf.quants.quantize(array, stored), raw_dtype=stored)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _tensor_name(key: str) -> str:
    names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
    if key == "embed.weight":
        return "token_embd.weight"
    if key == "norm.weight":
        return "output_norm.weight"
    _, layer, part, kind = key.split(".")
    return f"blk.{layer}.{names.get(part, part)}.{kind}"


def _tokenizer(out: object, path: Path, size: int) -> None:
    import gguf

    assert isinstance(out, gguf.GGUFWriter)
    model = json.loads(path.read_text(encoding="utf-8"))
    pieces: dict[str, int] = model["model"]["vocab"]
    special = {entry["content"]: entry["id"] for entry in model["added_tokens"]}
    tokens = sorted({**pieces, **special}.items(), key=lambda item: item[1])
    if [index for _, index in tokens] != list(range(size)):
        raise ValueError(f"{path.name}: {len(tokens)} tokens for {size} embedding rows, or ids with holes; train the tokenizer again")
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")  # splits text as the byte-level BPE in tokenizer.json does
    out.add_token_list([token for token, _ in tokens])
    out.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token, _ in tokens])
    out.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["model"]["merges"]])
    out.add_bos_token_id(special["<caption>"])
    out.add_eos_token_id(special["<end>"])
    out.add_add_bos_token(False)
