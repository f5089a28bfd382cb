"""GAMA's shape: its parts against independent implementations of them, the built bundle against the parts."""

# ruff: noqa: E402  (what follows needs torch)
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export environment runs these")
pytest.importorskip("transformers", reason="the export environment runs these")

import tiny_models
from transformers import ASTFeatureExtractor, Blip2QFormerConfig, Blip2QFormerModel, ViTConfig
from transformers.models.vit.modeling_vit import ViTLayer

from edge.listener import Listener
from export.build import BuildOptions, build
from export.gama import BertLayer, Block, GamaShape, QFormer
from export.onnx_parts import audios
from export.recipes.recipe import BuildError

SHAPE = GamaShape(width=32, heads=2, hidden=64, qformer_layers=3, queries=4, output=16)


def quiet(line: str) -> None:
    """No progress."""


def jolt(module: torch.nn.Module, seed: int) -> None:
    """Weights that make every part matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.normal_(0, 0.3)


def test_the_q_former_is_that_of_blip_2() -> None:
    """Against transformers' own, with the same tensors under its names."""
    own = QFormer(SHAPE).eval()
    jolt(own, 1)
    config = Blip2QFormerConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        encoder_hidden_size=32,
        cross_attention_frequency=2,
        use_qformer_text_input=False,
        attn_implementation="eager",
    )
    reference = Blip2QFormerModel(config).eval()
    given = {}
    for name, value in own.state_dict().items():
        name = name.removeprefix("bert.").replace("embeddings.LayerNorm", "layernorm")
        given[name.replace(".self.", ".attention.") if ".self." in name else name] = value
    missing = reference.load_state_dict(given, strict=False)
    assert not missing.unexpected_keys
    assert not missing.missing_keys
    queries, audio = torch.randn(1, 4, 32), torch.randn(1, 9, 32)
    with torch.inference_mode():
        wanted = reference(query_embeds=queries, encoder_hidden_states=audio).last_hidden_state
        np.testing.assert_allclose(own(queries, audio), wanted, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_a_layer_of_the_tower_is_that_of_a_vision_transformer(shared: bool) -> None:
    own = Block(SHAPE, shared).eval()
    jolt(own, 2)
    config = ViTConfig(hidden_size=32, num_attention_heads=2, intermediate_size=64, layer_norm_eps=1e-5, attn_implementation="eager")
    reference = ViTLayer(config).eval()
    ours = own.state_dict()
    mark = "_a" if shared else ""
    with torch.no_grad():
        for name, value in reference.named_parameters():
            kind = name.rpartition(".")[2]
            part = {"q_proj": 0, "k_proj": 1, "v_proj": 2, "query": 0, "key": 1, "value": 2}.get(name.split(".")[-2])
            if part is not None:
                value.copy_(ours[f"attn.qkv.{kind}"].chunk(3)[part])
            elif name.startswith("layernorm"):
                value.copy_(ours[f"norm{1 if 'before' in name else 2}{mark}.{kind}"])
            else:
                inner = "attn.proj" if "attention" in name else "mlp.fc1" if value.shape[0] == 64 else "mlp.fc2"
                value.copy_(ours[f"{inner}.{kind}"])
    x = torch.randn(1, 7, 32)
    with torch.inference_mode():
        wanted = reference(x)
        np.testing.assert_allclose(own(x), wanted[0] if isinstance(wanted, tuple) else wanted, atol=1e-5)


def test_cross_attention_of_the_aggregator_counts_only_where_it_is_meant_to() -> None:
    x, audio, other = (torch.randn(1, 6, 32) for _ in range(3))
    for discard in (False, True):
        layer = BertLayer(SHAPE, True, "", discard).eval()
        jolt(layer, 3)
        with torch.inference_mode():
            assert torch.equal(layer(x, audio), layer(x, other)) == discard


@pytest.mark.parametrize("cross", [True, False])
def test_gama_answers_as_the_reference(tmp_path: Path, cross: bool) -> None:
    """Sounds through the runtime against tower and language model in torch, windows of 5 s one behind the other."""
    tower, causal = tiny_models.gama(tmp_path / "source", cross=cross)
    bundle = build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle", encoder="fp32", llm="f32"), quiet)
    held = json.loads((bundle / "manifest.json").read_text())
    caption, window = held["caption"], round(held["encoder"]["window_s"] * 16_000)
    bank = ASTFeatureExtractor(num_mel_bins=128, max_length=512, mean=-5.081, std=4.4849 / 2)
    texts = set()
    with Listener(str(bundle)) as listener:
        lm = listener._line.text_model
        assert lm is not None
        for samples in audios([1.0, 2.7, 5.0, 5.3, 11.0], seed=5):
            answer = listener._line.ask(samples, "What is heard?").text
            parts = [samples[at : at + window] for at in range(0, len(samples), window)]
            with torch.inference_mode():
                rows = [tower(bank(p, sampling_rate=16_000, return_tensors="pt")["input_values"].float())[0] for p in parts]
                assert rows[0].shape == (4 + 512 // 16, 256)
                after = lm.tokenize(caption["ask_prompt"].replace("{question}", "What is heard?"))
                x = torch.cat((*rows, causal.get_input_embeddings()(torch.tensor(after))))[None]
                said = causal.generate(
                    inputs_embeds=x,
                    attention_mask=torch.ones(x.shape[:2], dtype=torch.long),
                    max_new_tokens=caption["ask_tokens"],
                    do_sample=False,
                    eos_token_id=tiny_models.END,
                    pad_token_id=tiny_models.END,
                )[0].tolist()
            said = said[: said.index(tiny_models.END)] if tiny_models.END in said else said
            assert answer == lm.detokenize(said).strip()
            texts.add(answer)
    assert len(texts) > 3, "the sounds must be told apart, or this proves nothing"


def test_what_is_not_gama_is_told(tmp_path: Path) -> None:
    tiny_models.gama(tmp_path / "source")
    config = json.loads((tmp_path / "source" / "config.json").read_text())
    for change, what in (({"depth": 3}, "'depth'"), ({"width": 48}, "no tensor"), ({"heads": 5}, "heads must divide")):
        (tmp_path / "source" / "config.json").write_text(json.dumps(config | {"audio_config": config["audio_config"] | change}))
        with pytest.raises(BuildError, match=what):
            build(BuildOptions(str(tmp_path / "source"), tmp_path / "bundle"), quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
