"""What every audio language model needs behind its tower: the language model as GGUF, both measured together, the manifest's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.backends.llama import LlamaModel
from edge.backends.onnx import OnnxModel
from export.gguf_parts import measure as measure_language
from export.gguf_parts import write_gguf
from export.onnx_parts import described
from export.prompts import CONTEXT, Prompts, captioned
from export.recipes.recipe import LOGIT_LIMIT, BuildError, Work


@dataclass(frozen=True, slots=True)
class Heard:
    """What is measured on: the tower's inputs for some sounds, and the rows that the reference gives for each."""

    inputs: Sequence[dict[str, NDArray[np.float32]]]
    rows: Sequence[NDArray[np.float32]]
    data: str


def measure_whole(work: Work, causal: Any, path: Path, prompts: Prompts, heard: Heard) -> None:
    """The whole chain on the device's parts against the reference behind the same prompt: logits and greedy 32 tokens."""
    tower, lm = OnnxModel(work.folder / "encoder.onnx"), LlamaModel(path, context=CONTEXT, before=prompts.before)
    worst, same, count = 0.0, 0, len(heard.rows)
    try:
        before = lm.tokenize(prompts.before)
        after = lm.tokenize(prompts.after.replace("{question}", prompts.caption))
        embed = causal.get_input_embeddings()
        for own, rows in zip(heard.inputs, heard.rows, strict=True):
            lm.reset()
            lm.extend(tower.run(own)["vectors"][0])
            said = lm.decode(after, [], 0, 32)
            found = lm.logits([*after, *said])[len(after) - 1 :]
            with torch.inference_mode():
                parts = embed(torch.tensor(before, dtype=torch.long)), torch.from_numpy(rows), embed(torch.tensor([*after, *said]))
                x = torch.cat(parts)
                wanted = causal(inputs_embeds=x[None]).logits[0, len(x) - len(said) - 1 :].numpy()
            worst = max(worst, float(np.abs(found - wanted).max()))
            same += int(wanted.argmax(axis=1)[: len(said)].tolist() == said)
    finally:
        lm.close()
    work.measured("logits behind the audio max abs", worst, "", heard.data, count)
    work.measured("greedy 32 tokens behind the audio the same", 100.0 * same / count, "%", heard.data, count)
    if work.encoder == "fp32" and work.llm == "f32" and (worst > LOGIT_LIMIT or same < count):
        raise BuildError(f"{work.source}: the parts together differ from the reference (logits by {worst:.3g}); report this architecture")


def finish(work: Work, encoder: Path, causal: Any, config: Any, tokenizer: Path, prompts: Prompts, heard: Heard) -> dict[str, Any]:
    """Writes the language model behind a finished encoder, measures both, and returns the manifest but for front_end and encoder."""
    llm = work.folder / f"captioner.{work.llm}.gguf"
    work.tell(f"writing {llm.name}")
    work.step(llm, lambda: write_gguf(config, causal.state_dict(), tokenizer, llm, work.llm, work.name))
    measure_language(work, llm, causal, tokenizer, work.llm)
    measure_whole(work, causal, llm, prompts, heard)
    language = {"role": "captioner", "runtime": "gguf", "file": llm.name, "inputs": [], "outputs": [], "precision": work.llm}
    return {
        "licence": work.licence,
        "models": [described(encoder, "encoder", work.encoder, work.origin), language | {"source": work.origin}],
        "caption": captioned(prompts, min(CONTEXT, config.max_position_embeddings)),
        "card": f"# {work.name}\nAn audio language model, exported by auricle-export: tower {work.encoder}, language model "
        f"{work.llm}. It captions and answers questions; it tells no sounds of its own.",
    }
