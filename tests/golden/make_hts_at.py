"""What HTS-AT's authors' own code makes of the checkpoint of `tiny_models.hts_at`: hts_at.json.

    python tests/golden/make_hts_at.py REPOSITORY

REPOSITORY: a clone of github.com/RetroCirce/HTS-Audio-Transformer (2e29471); torchlibrosa 0.1.0 and librosa 0.11.0 lie beside torch.
Their utilities are not imported (they want more): `interpolate` belongs to frame-wise scores, which are not looked at.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
SECONDS = (1.0, 2.0, 3.3, 10.0)
SCORES = 24
"""How many of the 527 are kept."""


def main() -> None:
    import tiny_models

    from export.onnx_parts import audios
    from export.spectrogram import faster

    repository = Path(sys.argv[1])
    for name, held in (
        ("utils", {"interpolate": lambda x, ratio: x, "do_mixup": None}),
        ("numpy.core.fromnumeric", {"clip": np.clip, "reshape": np.reshape}),
        ("model", {"__path__": [str(repository / "model")]}),
    ):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(held)
    theirs = importlib.import_module("model.htsat")
    audioset = {"mel_bins": 64, "window_size": 1024, "hop_size": 320, "sample_rate": 32_000, "fmin": 50, "fmax": 14_000}
    modes = {"enable_tscam": True, "htsat_attn_heatmap": False, "loss_type": "clip_bce", "enable_repeat_mode": False}
    config = types.SimpleNamespace(**audioset, **modes)
    shape = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "patch_stride": (4, 4)}
    network = theirs.HTSAT_Swin_Transformer(num_classes=527, config=config, **shape).eval()
    with tempfile.TemporaryDirectory() as folder:
        missing, foreign = network.load_state_dict(tiny_models.hts_at(Path(folder)), strict=False)
    assert not foreign, foreign
    assert all(name.endswith(("attn_mask", "position_index")) or "spectrogram_extractor" in name for name in missing), missing
    found = []
    for sound in audios(SECONDS, seed=3):
        with torch.inference_mode():
            given = torch.from_numpy(faster(sound, 2)).float()[None]
            found.append(network(given, infer_mode=True)["clipwise_output"][0, :SCORES].tolist())
    (HERE / "hts_at.json").write_text(json.dumps({"seconds": SECONDS, "scores": found}) + "\n")


if __name__ == "__main__":
    main()
