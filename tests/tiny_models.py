"""Small randomly initialised instances of real architectures, saved as hubs carry them: config, weights, tokenizer."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

START, END = 262, 261
MERGES = (("h", "e"), ("l", "l"), ("o", "u"), ("Ġ", "a"))
SPECIAL = {"<|nothing|>": 260, "<|endoftext|>": END, "<|startoftranscript|>": START, "<|notimestamps|>": 263}


def tokenizer(path: Path) -> None:
    """A byte-level BPE of the 256 bytes and four merges; special tokens behind them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *("".join(pair) for pair in MERGES)]
    made = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, list(MERGES)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    assert {name: made.token_to_id(name) for name in SPECIAL} == SPECIAL
    made.save(str(path))


def sentencepiece(path: Path) -> int:
    """A BPE as transformers makes it of a SentencePiece model of Llama's: byte fallback, "▁" for spaces, every pair of pieces that makes
    another is a merge. Returns the number of tokens.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    text = ["hello", "is", "anybody", "home", "a", "dog", "barks", "twice", "then", "doorbells", "ring", "the", "at", "door", "it"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    learnt = dict.fromkeys(f"▁{word}"[:size] for size in (2, 3, 4, 6, 9) for word in text)
    learnt |= dict.fromkeys(word[i : i + size] for size in (2, 3) for word in text for i in range(len(word)))
    pieces += [piece for piece in learnt if len(piece) > 1]
    pieces += ["▁", *dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'0123456789:é")]
    place = {piece: index for index, piece in enumerate(pieces)}
    merges = [(p[:i], p[i:]) for p in pieces[259:] for i in range(1, len(p)) if p[:i] in place and p[i:] in place]
    merges.sort(key=lambda pair: (place["".join(pair)], place[pair[0]], place[pair[1]]))
    made = Tokenizer(models.BPE(place, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.save(str(path))
    return len(pieces)


def whisper(folder: Path, seed: int = 0, sharp: float = 4.0, **changes: Any) -> Any:
    """Whisper with 2 layers of 64; `sharp` scales its embedding, so that random weights prefer some tokens clearly. Returns the model."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    shape: dict[str, Any] = {
        **{"vocab_size": 264, "num_mel_bins": 80, "encoder_layers": 2, "decoder_layers": 2, "d_model": 64},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128},
        **{"max_source_positions": 1500, "max_target_positions": 64, "decoder_start_token_id": START},
        **{"eos_token_id": END, "pad_token_id": END, "bos_token_id": END},
    }
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(WhisperConfig(**(shape | changes))).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1 and "embed_positions" not in name:
                value *= sharp
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    generation = {"decoder_start_token_id": START, "eos_token_id": END, "suppress_tokens": [1, 2], "begin_suppress_tokens": [END]}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    tokenizer(folder / "tokenizer.json")
    return model


def language(folder: Path, kind: str, seed: int = 0, **changes: Any) -> Any:
    """A causal language model of that type with 2 layers of 256, grouped keys. Returns the model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape: dict[str, Any] = {
        **{"vocab_size": 264, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 512, "bos_token_id": START, "eos_token_id": END},
        **{"initializer_range": 0.1, "pad_token_id": None},
    }
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(shape | changes))).eval()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer(folder / "tokenizer.json")
    return model


AUDIO_LMS = {
    "qwen2_audio": "Qwen2Audio",
    "audioflamingo3": "AudioFlamingo3",
    "musicflamingo": "MusicFlamingo",
    "voxtral": "Voxtral",
}


def audio_lm(folder: Path, kind: str, seed: int = 0) -> Any:
    """One of AUDIO_LMS: a tower of 2 layers of 64, a Qwen2 (Voxtral: a Llama with Mistral's tekken.json) of 2 layers of 256."""
    import torch
    import transformers

    name = AUDIO_LMS[kind]
    width = 256 if kind == "voxtral" else 128  # of Voxtral's tower, four times the width: four frames become one row
    tower = {
        **{"model_type": f"{kind}_encoder", "num_mel_bins": 128, "max_source_positions": 1500, "initializer_range": 0.2},
        **{"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": width},
        **{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": width},
    }
    text = {
        **{"model_type": "qwen2", "vocab_size": 264, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.1},
        **{"bos_token_id": START, "eos_token_id": END, "pad_token_id": None},
    }
    if kind == "voxtral":
        ids = {"bos_token_id": TEKKEN.index("<s>"), "eos_token_id": TEKKEN.index("</s>"), "vocab_size": len(TEKKEN) + 260}
        text |= {"model_type": "llama", "head_dim": 64, "rope_theta": 10_000.0} | ids
    audio = TEKKEN.index("[AUDIO]") if kind == "voxtral" else SPECIAL["<|nothing|>"]
    token = {"audio_token_index" if kind == "qwen2_audio" else "audio_token_id": audio}
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(audio_config=tower, text_config=text, **token)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    with torch.no_grad():  # fresh biases are zero, and what a convolution sees behind a window's end would not matter
        for key, value in model.named_parameters():
            if key.endswith("bias"):
                value.normal_(0, 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    if kind == "voxtral":
        tekken(folder / "tekken.json")
    else:
        tokenizer(folder / "tokenizer.json")
    return model


TEKKEN = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AUDIO]", "[BEGIN_AUDIO]", "<pad>")
TEKKEN_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Mistral's published tekken.json splits a text (240718)."""


def tekken(path: Path) -> None:
    """Mistral's own format of a tokenizer: the 256 bytes and four merges behind TEKKEN."""
    pieces = [bytes([value]) for value in range(256)] + [b"he", b"ll", b"ou", b" a"]
    vocab = [{"rank": i, "token_bytes": base64.b64encode(p).decode(), "token_str": None} for i, p in enumerate(pieces)]
    special = [{"rank": i, "token_str": token, "is_control": True} for i, token in enumerate(TEKKEN)]
    sizes = {"default_vocab_size": len(pieces) + len(TEKKEN), "default_num_special_tokens": len(TEKKEN), "version": "v7"}
    config = {"pattern": TEKKEN_PATTERN, "num_vocab_tokens": len(pieces)} | sizes
    path.write_text(json.dumps({"config": config, "vocab": vocab, "special_tokens": special}))


def moonshine(folder: Path, streaming: bool = False, seed: int = 0, sharp: float = 4.0, **changes: Any) -> Any:
    """Moonshine with 2 layers of 64, or its streaming sister; `sharp` scales matrices, as for Whisper. Returns the model."""
    import torch
    import transformers

    text = {"vocab_size": 264, "decoder_start_token_id": START, "eos_token_id": END, "bos_token_id": START, "pad_token_id": END}
    shape: dict[str, Any] = {
        **{"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 96},
        **{"encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 2},
        **{"encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2},
    }
    if streaming:
        hearing = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2}
        hearing |= {"num_key_value_heads": 2, "sliding_windows": [[16, 4], [16, 0], [16, 4]]}
        shape = {"encoder_config": hearing, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    name = "MoonshineStreaming" if streaming else "Moonshine"
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(
        getattr(transformers, f"{name}Config")(**(text | shape | changes))
    ).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim > 1:
                value *= sharp
            elif key.endswith("bias") or key.endswith("gamma"):
                value.normal_(0, 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer(folder / "tokenizer.json")
    return model


def ast(folder: Path, seed: int = 0, **changes: Any) -> Any:
    """An audio spectrogram transformer with 2 layers of 32 and five labels. Returns the model."""
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    shape: dict[str, Any] = {
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "initializer_range": 0.3},
        **{"max_length": 1024, "num_mel_bins": 128, "id2label": {i: f"Sound {i}" for i in range(5)}},
    }
    torch.manual_seed(seed)
    model = ASTForAudioClassification(ASTConfig(**(shape | changes))).eval()
    with torch.no_grad():
        model.audio_spectrogram_transformer.embeddings.position_embeddings.normal_(0, 0.5)
    model.save_pretrained(folder)
    ASTFeatureExtractor(max_length=model.config.max_length).save_pretrained(folder)
    return model


def clap(folder: Path, seed: int = 0) -> Any:
    """CLAP, unfused: an HTS-AT of 4 stages from 16 channels, a text tower of 2 layers of 32. Returns the model."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    audio = {
        **{"patch_embeds_hidden_size": 16, "depths": [1, 1, 2, 1], "num_attention_heads": [1, 2, 2, 4], "hidden_size": 128},
        **{"enable_fusion": False, "initializer_factor": 1.0, "initializer_range": 0.2, "num_classes": 5, "projection_dim": 32},
    }
    text = {
        **{"vocab_size": 264, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
        **{"pad_token_id": 1, "initializer_range": 0.5, "projection_dim": 32},
    }
    torch.manual_seed(seed)
    model = ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=32)).eval()
    with torch.no_grad():
        for value in model.audio_model.parameters():
            if value.ndim > 1:
                value *= 6
        model.logit_scale_a.fill_(5.5)
    model.save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    tokenizer(folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|nothing|>"}')
    return model


def hts_at(folder: Path, labels: int = 527, seed: int = 0) -> dict[str, Any]:
    """A checkpoint as HTS-AT's authors save theirs: 4 stages from 16 channels, random, by their names. Returns its tensors."""
    import numpy as np
    import torch
    from transformers.audio_utils import mel_filter_bank

    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}

    def put(name: str, *shape: int, scale: float = 0.0, around: float = 0.0) -> None:
        made[name] = torch.tensor(around + (scale or shape[-1] ** -0.5) * rng.normal(size=shape), dtype=torch.float32)

    def norm(name: str, size: int) -> None:
        put(f"{name}.weight", size, scale=0.1, around=1.0)
        put(f"{name}.bias", size, scale=0.1)

    bank = mel_filter_bank(513, 64, 50.0, 14_000.0, 32_000, norm="slaney", mel_scale="slaney")
    made["logmel_extractor.melW"] = torch.tensor(bank, dtype=torch.float32)
    norm("bn0", 64)
    put("bn0.running_mean", 64, scale=5.0, around=-30.0)
    made["bn0.running_var"] = torch.tensor(rng.uniform(50, 200, 64), dtype=torch.float32)
    made["bn0.num_batches_tracked"] = torch.tensor(1)
    put("patch_embed.proj.weight", 16, 1, 4, 4)
    put("patch_embed.proj.bias", 16)
    norm("patch_embed.norm", 16)
    for stage, (depth, heads) in enumerate(zip((1, 1, 2, 1), (1, 2, 2, 4), strict=True)):
        width = 16 * 2**stage
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            norm(f"{at}.norm1", width)
            norm(f"{at}.norm2", width)
            put(f"{at}.attn.relative_position_bias_table", 225, heads, scale=0.5)
            for name, out, size in (("attn.qkv", 3 * width, width), ("attn.proj", width, width), ("mlp.fc1", 4 * width, width)):
                put(f"{at}.{name}.weight", out, size, scale=1.5 * size**-0.5)
                put(f"{at}.{name}.bias", out, scale=0.1)
            put(f"{at}.mlp.fc2.weight", width, 4 * width)
            put(f"{at}.mlp.fc2.bias", width, scale=0.1)
        if stage < 3:
            put(f"layers.{stage}.downsample.reduction.weight", 2 * width, 4 * width)
            norm(f"layers.{stage}.downsample.norm", 4 * width)
    norm("norm", 128)
    put("tscam_conv.weight", labels, 128, 2, 3, scale=0.06)
    put("tscam_conv.bias", labels, scale=0.5)
    put("head.weight", labels, labels)
    put("head.bias", labels)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {f"sed_model.{name}": value for name, value in made.items()}}, folder / "HTSAT.ckpt")
    return made


def gama(folder: Path, seed: int = 0, cross: bool = True) -> Any:
    """GAMA's shape: an AST of 4 layers, a Q-Former of 2, a Llama of 2 layers of 256. Returns tower and language model."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    from export.gama import GamaShape, GamaTower

    sizes = {"width": 32, "heads": 2, "layers": 4, "specific": 3, "hidden": 64, "queries": 4, "qformer_layers": 2}
    audio = sizes | {"aggregator_cross_attention": cross, "frames": 512}
    text = {
        **{"vocab_size": 264, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "max_position_embeddings": 1024, "initializer_range": 0.1},
        **{"bos_token_id": START, "eos_token_id": END, "pad_token_id": None},
    }
    torch.manual_seed(seed)
    tower, causal = GamaTower(GamaShape.of(audio, 256)).eval(), LlamaForCausalLM(LlamaConfig(**text)).eval()
    with torch.no_grad():
        for value in tower.parameters():
            value.normal_(0, 0.3 if value.ndim > 1 else 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    held = {f"model.{k}": v for k, v in {**tower.state_dict(), **causal.model.state_dict()}.items()}
    save_file({k: v.contiguous() for k, v in (held | {"lm_head.weight": causal.lm_head.weight}).items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "gama", "audio_config": audio, "text_config": text}))
    tokenizer(folder / "tokenizer.json")
    return tower, causal


def gguf_pair(folder: Path, kind: str = "qwen2_audio", seed: int = 0) -> Any:
    """A tiny Qwen2-Audio or Voxtral as llama.cpp's converter writes it: mmproj and language model as GGUF. Returns the reference.

    Its convolutions are rounded to 16 bits, in which mmproj files keep them.
    """
    import gguf
    import torch
    from transformers.integrations.mistral.tokenizer import MistralConverter

    from export.audio_lm import language_of
    from export.gguf_parts import write_gguf

    model = audio_lm(folder / "weights", kind, seed)
    tower, projector = model.model.audio_tower, model.model.multi_modal_projector
    with torch.no_grad():
        for conv in (tower.conv1, tower.conv2):
            conv.weight.copy_(conv.weight.half().float())
    words = folder / "weights" / "tokenizer.json"
    if kind == "voxtral":
        MistralConverter(str(folder / "weights" / "tekken.json")).converted().save(str(words))
    causal, config = language_of(model)
    write_gguf(config, causal.state_dict(), words, folder / "model.gguf", "f32", "tiny")
    shape = model.config.audio_config
    out = gguf.GGUFWriter(str(folder / "mmproj.gguf"), "clip")
    out.add_clip_has_audio_encoder(True)
    out.add_clip_projector_type(gguf.VisionProjectorType.VOXTRAL if kind == "voxtral" else gguf.VisionProjectorType.QWEN2A)
    out.add_audio_projection_dim(config.hidden_size)
    out.add_audio_embedding_length(shape.hidden_size)
    out.add_audio_feed_forward_length(128 if kind == "qwen2_audio" else shape.intermediate_size)
    out.add_audio_block_count(2)
    out.add_audio_head_count(2)
    out.add_audio_num_mel_bins(shape.num_mel_bins)
    out.add_audio_attention_layernorm_eps(1e-5)
    if kind == "voxtral":
        out.add_audio_stack_factor(4)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, 3)  # the second convolution is number 2
    state = {f"audio_tower.{k}": v for k, v in tower.state_dict().items()}
    state |= {f"audio.multi_modal_projector.{k}": v for k, v in projector.state_dict().items()}
    for key, value in state.items():
        found = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert found is not None, key
        array = value.detach().numpy()
        if key.endswith(("conv1.bias", "conv2.bias")):
            array = array[:, None]
        out.add_tensor(found, array.astype("float16") if ".conv" in key and key.endswith("weight") else array)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return model
