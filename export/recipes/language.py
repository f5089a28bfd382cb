"""Language models alone: Llama, SmolLM, Qwen2, Qwen3 -> GGUF with tokenizer. By itself such a bundle hears nothing."""

from __future__ import annotations

from typing import Any

from export.gguf_parts import ARCHITECTURES, measure, write_gguf
from export.recipes.recipe import Recipe, Work


def make(work: Work) -> dict[str, Any]:
    """The GGUF, measured."""
    from transformers import AutoModelForCausalLM

    tokenizer = work.source / "tokenizer.json"
    work.need("tokenizer.json", "tokenizer.json")
    work.need("weights (*.safetensors)", "*.safetensors")
    model = work.load(AutoModelForCausalLM)
    path = work.folder / f"language.{work.llm}.gguf"
    work.tell(f"writing {path.name}")
    model.config.eos_token_id = model.generation_config.eos_token_id or model.config.eos_token_id
    work.step(path, lambda: write_gguf(model.config, model.state_dict(), tokenizer, path, work.llm, work.name))
    measure(work, path, model, tokenizer, work.llm)
    source = work.origin
    entry = {"role": "language", "runtime": "gguf", "file": path.name, "inputs": [], "outputs": [], "precision": work.llm, "source": source}
    card = f"# {work.name}\nA language model, written by auricle-export. It hears nothing by itself."
    return {"licence": work.licence, "models": [entry], "card": card}


RECIPE = Recipe(
    "language",
    "Llama, SmolLM, Qwen2 and Qwen3: a language model alone, as GGUF",
    tuple(ARCHITECTURES),
    (),
    ("q8_0", "f32", "f16", "q4_k_m"),
    ("cpu", "pi5", "jetson"),
    make,
)
