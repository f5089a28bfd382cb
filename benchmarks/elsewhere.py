"""Lays the recordings of elsewhere.toml out as fold 6 of ESC-10, for `auricle-export evaluate BUNDLE --data OUT --fold 6`.

    .venv-export/bin/python benchmarks/elsewhere.py CLONES OUT [DATA_DIR]

CLONES holds the repositories as OWNER/NAME. Of each recording the first ten seconds are taken, mono at 16 kHz, peak 0.7, as Vorbis. What
else an evaluation needs is linked from DATA_DIR (../shared/data). The shipped edition has learnt folds 1-4, and these it has not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
from common import DATA, ROOT

sys.path.insert(0, str(ROOT))
from edge.types import SAMPLE_RATE
from export.train.recordings import listed, load

FOLD, SECONDS, PEAK = 6, 10, 0.7


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__)
        return 2
    clones, out = Path(sys.argv[1]), Path(sys.argv[2])
    data = Path(sys.argv[3]) if len(sys.argv) == 4 else DATA
    classes = listed(Path(__file__).resolve().with_suffix(".toml"))
    missing = [name for names in classes.values() for name in names if not (clones / name).is_file()]
    if missing:
        print(f"auricle: {clones / missing[0]} is missing, and {len(missing) - 1} more; clone what elsewhere.toml names", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    for folder in data.iterdir():
        if folder.name != "esc10" and not (out / folder.name).exists():
            (out / folder.name).symlink_to(folder.resolve())
    for label, names in classes.items():
        (out / "esc10" / label).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            samples = load(clones / name)[: SECONDS * SAMPLE_RATE]
            samples *= PEAK / max(1e-6, float(np.abs(samples).max()))
            soundfile.write(out / "esc10" / label / f"{FOLD}-{number:03d}-A.ogg", samples, SAMPLE_RATE)
    print(f"{sum(map(len, classes.values()))} recordings lie in {out}/esc10 as fold {FOLD}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
