"""Makes tests/golden/published_whisper and published_moonshine: random models in the layout that hubs carry, exported by optimum itself.

optimum-onnx wants an older transformers than ours, so this runs in an environment of its own:
  python3 -m venv /tmp/optimum
  /tmp/optimum/bin/pip install torch==2.13.0 optimum==2.1.0 optimum-onnx==0.1.0 transformers==4.57.6 onnx==1.23.2 onnxruntime
  /tmp/optimum/bin/python tests/golden/make_published.py whisper|moonshine
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
WHISPER = {"encoder_layers": 1, "decoder_layers": 2, "d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
MOONSHINE = {"hidden_size": 16, "intermediate_size": 32, "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 2}

if __name__ == "__main__":
    import tempfile

    import tiny_models
    from optimum.exporters.onnx import main_export

    kind = sys.argv[1]
    out = HERE / f"published_{kind}"
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "source", Path(folder) / "made"
        if kind == "whisper":
            tiny_models.whisper(source, 2, 10.0, **WHISPER)
        else:
            tiny_models.moonshine(source, seed=4, sharp=6.0, **MOONSHINE)
        main_export(str(source), output=made, task="automatic-speech-recognition-with-past", do_validation=False)
        out.mkdir(exist_ok=True)
        for name in ("encoder_model.onnx", "decoder_model_merged.onnx", "config.json", "generation_config.json", "tokenizer.json"):
            (out / name).write_bytes((made / name).read_bytes())
        out.with_suffix(".safetensors").write_bytes((source / "model.safetensors").read_bytes())
        (out / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
