"""Makes tests/golden/word_times.json: times of tokens that OpenAI's own find_alignment finds with the weights of published_whisper, and
rows that Moonshine's own align_words finds in attention of random numbers.

It needs packages that nothing else does, so they lie beside the export environment, and a clone of moonshine (ours was 2026-08-17's):
  pip install --target /tmp/oai --no-deps openai-whisper==20250625 numba==0.68.1 llvmlite==0.50.0 tiktoken==0.14.0 more-itertools
  PYTHONPATH=/tmp/oai .venv-export/bin/python tests/golden/make_word_times.py /tmp/moonshine
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file
from whisper.model import ModelDimensions, Whisper
from whisper.timing import find_alignment

from edge.features import whisper_log_mel
from export.onnx_parts import audios

HERE = Path(__file__).resolve().parent
SECONDS, HEADS, START, PLAIN, END = (0.8, 2.5, 7.3, 15.0, 30.0), ((0, 1), (1, 0), (1, 1)), 262, 263, 261
NAMES = {
    **{"^model.": "", "layers.": "blocks.", "self_attn_layer_norm": "attn_ln", "encoder_attn_layer_norm": "cross_attn_ln"},
    **{"final_layer_norm": "mlp_ln", r"self_attn\.": "attn.", r"encoder_attn\.": "cross_attn.", "q_proj": "query", "k_proj": "key"},
    **{"v_proj": "value", "out_proj": "out", r"fc1\.": "mlp.0.", r"fc2\.": "mlp.2.", "encoder.layer_norm": "encoder.ln_post"},
    **{"decoder.layer_norm": "decoder.ln", "embed_tokens": "token_embedding"},
    **{"encoder.embed_positions.weight": "encoder.positional_embedding", "decoder.embed_positions.weight": "decoder.positional_embedding"},
}
"""Of transformers' weights -> OpenAI's."""


def named(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = re.sub(theirs, ours, name)
    return name


SHAPES = ((4, 9, 60), (2, 30, 200), (6, 3, 12))
"""Heads, steps and rows of the random attention."""
TOKENIZER = """
#pragma once
#include <cstdint>
#include <string>
#include <vector>
struct BinTokenizer {
  std::vector<std::vector<uint8_t>> tokens_to_bytes;
  std::string tokens_to_text(const std::vector<int>& ids, bool) { return std::to_string(ids[0]); }
};
"""
"""In place of Moonshine's: every token is a word."""
ALIGN = """
#include <cstdio>
#include "word-alignment.h"
int main() {
  int heads, steps, rows;
  scanf("%d %d %d", &heads, &steps, &rows);
  std::vector<float> weights(heads * steps * rows);
  for (float& w : weights) scanf("%f", &w);
  BinTokenizer tokenizer;
  std::vector<int> tokens;
  for (int i = 0; i <= steps; i++) tokens.push_back(i);
  tokenizer.tokens_to_bytes.assign(steps + 1, {0xE2, 0x96, 0x81});
  for (auto& word : align_words(weights.data(), heads, 1, steps, rows, tokens, 1.0f, &tokenizer)) printf("%g ", word.start);
}
"""


def attention(shape: tuple[int, int, int]) -> np.ndarray:
    """Random, each row of it adds up to one."""
    found = np.random.default_rng(shape).random(shape).astype(np.float32) ** 8
    return found / found.sum(axis=2, keepdims=True)


def moonshine(clone: Path) -> list[dict[str, object]]:
    """First rows of each token but the last, where Moonshine halves overlaps: they are found in attention without any."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin-tokenizer").mkdir()
        (folder / "bin-tokenizer/bin-tokenizer.h").write_text(TOKENIZER)
        (folder / "main.cpp").write_text(ALIGN)
        sources = [str(folder / "main.cpp"), str(clone / "core/word-alignment.cpp")]
        subprocess.run(["g++", "-O1", f"-I{folder}", f"-I{clone}/core", *sources, "-o", str(folder / "align")], check=True)
        for shape in SHAPES:
            given = " ".join(map(str, [*shape, *attention(shape).ravel()]))
            told = subprocess.run([str(folder / "align")], input=given, capture_output=True, text=True, check=True).stdout
            found.append({"shape": shape, "starts": [float(x) for x in told.split()]})
    return found


if __name__ == "__main__":
    shape = json.loads((HERE / "published_whisper/config.json").read_text())
    dims = ModelDimensions(
        *(shape["num_mel_bins"], shape["max_source_positions"], shape["d_model"]),
        *(shape["encoder_attention_heads"], shape["encoder_layers"], shape["vocab_size"], shape["max_target_positions"]),
        *(shape["d_model"], shape["decoder_attention_heads"], shape["decoder_layers"]),
    )
    model = Whisper(dims).eval()
    for block in (*model.encoder.blocks, *model.decoder.blocks):  # the weights are narrower here than OpenAI's class has them
        width = shape["encoder_ffn_dim"]
        block.mlp = torch.nn.Sequential(
            torch.nn.Linear(dims.n_text_state, width), torch.nn.GELU(), torch.nn.Linear(width, dims.n_text_state)
        )
    model.load_state_dict({named(name): value for name, value in load_file(HERE / "published_whisper.safetensors").items()})
    chosen = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    for layer, head in HEADS:
        chosen[layer, head] = True
    model.register_buffer("alignment_heads", chosen.to_sparse(), persistent=False)
    told = SimpleNamespace(
        sot_sequence=(START,), no_timestamps=PLAIN, eot=END, split_to_word_tokens=lambda ids: ([str(i) for i in ids], [[i] for i in ids])
    )
    found = []
    for at, sound in enumerate(audios(SECONDS, seed=11)):
        tokens = np.random.default_rng(at).integers(3, 256, min(4 + 3 * at, 56)).tolist()
        mel = whisper_log_mel(np.concatenate((sound, np.zeros(480_000 - len(sound), np.float32))), shape["num_mel_bins"])
        words = find_alignment(model, told, tokens, torch.from_numpy(mel), len(sound) // 160)
        found.append({"seconds": SECONDS[at], "tokens": tokens, "starts": [float(w.start) for w in words], "end": float(words[-1].end)})
    (HERE / "word_times.json").write_text(
        json.dumps({"heads": HEADS, "sounds": found, "moonshine": moonshine(Path(sys.argv[1]))}, indent=None) + "\n"
    )
