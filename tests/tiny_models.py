"""Small randomly initialised instances of real architectures, saved as hubs carry them: config, weights, tokenizer."""

from __future__ import annotations

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


def audio_lm(folder: Path, kind: str, seed: int = 0) -> Any:
    """Qwen2-Audio ("qwen2_audio") or Audio Flamingo 3 ("audioflamingo3"): a tower of 2 layers of 64, a Qwen2 of 2 layers of 256."""
    import torch
    import transformers

    name = {"qwen2_audio": "Qwen2Audio", "audioflamingo3": "AudioFlamingo3"}[kind]
    tower = {
        **{"model_type": f"{kind}_encoder", "num_mel_bins": 128, "max_source_positions": 1500, "initializer_range": 0.2},
        **{"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 128},
        **{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    }
    text = {
        **{"model_type": "qwen2", "vocab_size": 264, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.1},
        **{"bos_token_id": START, "eos_token_id": END, "pad_token_id": None},
    }
    token = {"audio_token_index" if kind == "qwen2_audio" else "audio_token_id": SPECIAL["<|nothing|>"]}
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(audio_config=tower, text_config=text, **token)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    with torch.no_grad():  # fresh biases are zero, and what a convolution sees behind a window's end would not matter
        for key, value in model.named_parameters():
            if key.endswith("bias"):
                value.normal_(0, 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer(folder / "tokenizer.json")
    return model


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
