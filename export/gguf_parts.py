"""Language models of the hub -> GGUF with their tokenizer, quantized as asked or refused; measured through llama.cpp."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge.backends.llama import LlamaModel
from export.recipes.recipe import LOGIT_LIMIT, BuildError, Work

ARCHITECTURES = {"llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""model_type -> llama.cpp's architecture. SmolLM and SmolLM2 are of type llama."""
BLOCK = {"f32": 1, "f16": 1, "q8_0": 32, "q4_k_m": 256}
"""Values in one block of each type: a row that is no multiple of it would silently become another type."""
SAMPLES = (
    "Hello, is anybody home?",
    "A dog barks twice, then 3 doorbells ring.",
    "naïve café – 42!\n\n  It's 12:30.",
    "日本語 and ümlauts",
)


def write_gguf(config: Any, state: dict[str, Tensor], tokenizer: Path, path: Path, kind: str, name: str) -> None:
    """Writes the weights of a language model and its byte-level BPE. config: of transformers; state: its tensors by the hub's names.

    Raises: BuildError naming the tensor or the setting that does not go.
    """
    import gguf

    arch = ARCHITECTURES.get(config.model_type)
    if arch is None:
        raise BuildError(
            f"{name}: no GGUF is written for a language model of type {config.model_type!r}; there is {', '.join(ARCHITECTURES)}"
        )
    rope = dict(getattr(config, "rope_parameters", None) or {})
    if rope.get("rope_type", "default") != "default":
        raise BuildError(
            f"{name}: its rotary positions are scaled ({rope['rope_type']}), which this recipe does not write; use a model without"
        )
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    _fits(state, kind, name)
    whole = path if kind in ("f32", "f16") else path.with_suffix(".f32.gguf")
    out = gguf.GGUFWriter(str(whole), gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[arch]])
    out.add_name(name)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(heads)
    out.add_head_count_kv(kv)
    out.add_key_length(size)
    out.add_value_length(size)
    out.add_rope_dimension_count(size)
    out.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_vocab_size(config.vocab_size)
    types = gguf.LlamaFileType
    out.add_file_type(types.MOSTLY_F16 if kind == "f16" else types.ALL_F32)
    _tokenizer(out, tokenizer, config, name)
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch], config.num_hidden_layers)
    for key, value in state.items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        found = known.get_name(key, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise BuildError(
                f"{name}: llama.cpp has no place for the tensor {key}; this model differs from the published {config.model_type}"
            )
        array = value.detach().to(torch.float32).numpy()
        if arch == "LLAMA" and re.search(r"\.(q|k)_proj\.", key):
            array = _interleaved(array, heads if ".q_proj." in key else kv)
        stored = gguf.GGMLQuantizationType.F16 if kind == "f16" and array.ndim > 1 else gguf.GGMLQuantizationType.F32
        out.add_tensor(found, gguf.quants.quantize(np.ascontiguousarray(array), stored), raw_dtype=stored)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    if whole != path:
        try:
            _quantize(whole, path, kind, name)
        finally:
            whole.unlink()


def _fits(state: dict[str, Tensor], kind: str, name: str) -> None:
    for key, value in state.items():
        if value.ndim == 2 and value.shape[1] % BLOCK[kind]:
            raise BuildError(
                f"{name}: {key} has rows of {value.shape[1]} values, which do not divide into {kind}'s blocks of {BLOCK[kind]}; "
                f"choose --llm {'q8_0' if kind == 'q4_k_m' and value.shape[1] % 32 == 0 else 'f16'}"
            )


def _interleaved(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from halves to adjacent pairs, as llama.cpp turns them."""
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _quantize(whole: Path, path: Path, kind: str, name: str) -> None:
    """llama.cpp's own quantization, and a look at what it has really made: its return value says nothing. Raises: BuildError."""
    import gguf
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.nthread = 2
    settings.ftype = {"q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M}[kind]
    llama_cpp.llama_model_quantize(str(whole).encode(), str(path).encode(), ctypes.byref(settings))
    if not path.is_file():
        raise BuildError(f"{name}: llama.cpp wrote no {kind} file; is the disk full?")
    allowed = {"q8_0": {"Q8_0"}, "q4_k_m": {"Q4_K", "Q6_K"}}[kind] | {"F32"}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type.name not in allowed or (len(tensor.shape) == 2 and tensor.tensor_type.name == "F32"):
            path.unlink()
            raise BuildError(
                f"{name}: llama.cpp stored {tensor.name} as {tensor.tensor_type.name} instead of {kind}; choose --llm q8_0 or f16"
            )


def _tokenizer(out: Any, path: Path, config: Any, name: str) -> None:
    import gguf

    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        model = held["model"]
        pieces: dict[str, int] = dict(model["vocab"])
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{path}: it is no tokenizer.json of a BPE ({type(error).__name__}); fetch the whole repository") from None
    special = {entry["content"]: entry["id"] for entry in held.get("added_tokens", [])}
    by_id = {index: token for token, index in {**pieces, **special}.items()}
    if max(by_id) >= config.vocab_size:
        raise BuildError(
            f"{name}: its tokenizer has ids up to {max(by_id)}, its embedding {config.vocab_size} rows; they are not of one model"
        )
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(config.vocab_size)]
    kinds = gguf.TokenType
    types = [kinds.CONTROL if t in special else kinds.NORMAL if i in by_id else kinds.UNUSED for i, t in enumerate(tokens)]
    if model.get("byte_fallback"):
        _sentencepiece(out, held, tokens, types)
    else:
        out.add_tokenizer_model("gpt2")
        out.add_tokenizer_pre(_splitter(held))
        out.add_token_types(types)
        out.add_token_merges(merges)
    out.add_token_list(tokens)
    out.add_add_bos_token(False)
    if config.bos_token_id is not None:
        out.add_bos_token_id(config.bos_token_id)
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if ends[0] is None:  # llama.cpp would take token 11
        raise BuildError(f"{name}: neither config.json nor generation_config.json says which token ends a text; fetch the whole repository")
    # llama.cpp ends a text at each of these, and at tokens that it knows by name.
    places = (out.add_eos_token_id, out.add_eot_token_id, out.add_eom_token_id)
    if len(ends := list(dict.fromkeys(ends))) > len(places):
        raise BuildError(f"{name}: {len(ends)} tokens end a text ({ends}), and GGUF has places for {len(places)}; name fewer in its config")
    for end, add in zip(ends, places, strict=False):
        add(end)


def _sentencepiece(out: Any, held: dict[str, Any], tokens: Sequence[str], types: list[Any]) -> None:
    """SentencePiece's BPE (Llama 2, TinyLlama, Mistral): llama.cpp joins the pair with the best score, so a piece's score is how early it
    was learnt, which is its place; what no piece covers is told byte by byte.
    """
    import gguf

    unknown = held["model"].get("unk_token")
    for index, token in enumerate(tokens):
        if token == unknown:
            types[index] = gguf.TokenType.UNKNOWN
        elif re.fullmatch("<0x[0-9A-F]{2}>", token):
            types[index] = gguf.TokenType.BYTE
    out.add_tokenizer_model("llama")
    out.add_token_types(types)
    out.add_token_scores([-float(index) if kind == gguf.TokenType.NORMAL else 0.0 for index, kind in enumerate(types)])
    rules = json.dumps([held.get("normalizer"), held.get("pre_tokenizer")])
    out.add_add_space_prefix('"Prepend"' in rules or '"first"' in rules or '"always"' in rules)


def tokenizer_of(work: Work) -> Path:
    """tokenizer.json of the source; where there is only Mistral's tekken.json, what transformers makes of that. Raises: BuildError."""
    tekken = work.source / "tekken.json"
    if (work.source / "tokenizer.json").is_file() or not tekken.is_file():
        work.need("tokenizer.json", "tokenizer.json")
        return work.source / "tokenizer.json"
    from transformers.integrations.mistral.tokenizer import MistralConverter

    made = work.scratch / "tokenizer.json"
    try:
        MistralConverter(str(tekken)).converted().save(str(made))
    except (ImportError, KeyError, TypeError, ValueError) as error:
        raise BuildError(f"{tekken}: it is no tokenizer that can be read ({error}); fetch the whole repository") from None
    return made


def _splitter(held: dict[str, Any]) -> str:
    """llama.cpp's name for how the text is split before the BPE, from tokenizer.json. That it is the right one is measured."""
    text = json.dumps(held.get("pre_tokenizer") or {})
    if "{1,3}" in text:
        return "llama-bpe"
    if "Lu}" in text:
        return "tekken"
    if '"Digits"' in text:
        return "smollm"
    return "qwen2" if "(?i:" in text else "gpt-2"


def measure(work: Work, path: Path, reference: Any, tokenizer: Path, kind: str) -> None:
    """Tokens, logits and greedy texts through llama.cpp against transformers. Raises: BuildError over a limit."""
    from tokenizers import Tokenizer
    from transformers import GenerationConfig

    split = Tokenizer.from_file(str(tokenizer))
    model = LlamaModel(path, context=256)
    try:
        for text in SAMPLES:
            wanted = split.encode(text, add_special_tokens=False).ids
            if model.tokenize(text) != wanted:
                raise BuildError(f"{work.source}: llama.cpp splits {text!r} into other tokens than its tokenizer; take its published GGUF")
        rng = np.random.default_rng(1)
        worst, agreed, count, same = 0.0, 0, 0, 0
        rows = 8
        endless = GenerationConfig(max_new_tokens=32, do_sample=False)  # no end token: always 32
        for _ in range(rows):
            prompt = rng.integers(0, reference.config.vocab_size, 24).tolist()
            model.reset()
            own = model.logits(prompt)
            with torch.inference_mode():
                logits = reference(input_ids=torch.tensor([prompt])).logits[0].numpy()
                greedy = reference.generate(torch.tensor([prompt]), generation_config=endless)[0, 24:].tolist()
            worst, count = max(worst, float(np.abs(own - logits).max())), count + len(own)
            agreed += int((own.argmax(axis=1) == logits.argmax(axis=1)).sum())
            forced = model.logits([*prompt, *greedy[:-1]])[23:].argmax(axis=1).tolist()
            same += int(forced == greedy)
    finally:
        model.close()
    data = f"{rows} random prompts of 24 tokens"
    work.measured("language model logits max abs", worst, "", data, count)
    work.measured("language model top-1 agreement", 100.0 * agreed / count, "%", data, count)
    work.measured("greedy 32 tokens the same", 100.0 * same / rows, "%", data, rows)
    work.measured("bytes of the language model", path.stat().st_size, "bytes", kind, 1)
    if kind == "f32" and (worst > LOGIT_LIMIT or same < rows):
        raise BuildError(f"{work.source}: the written GGUF differs from the reference (logits by {worst:.3g}); report this architecture")
