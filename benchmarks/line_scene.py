"""Do live captions name the speech and the sounds of the demo scene in order?

    python benchmarks/line_scene.py [--bundle B] [--output benchmarks/results/line_scene.json]

The scene and its truth (edge/data/demo_scene.*) are the project's own, synthetic. It is heard as `make demo` hears it, at the speed of
real time. Bars: the final captions name what is in the scene, everything, in order, and nothing else; the same for sound records, each
beginning within 1 s of its onset in the truth.
"""

from __future__ import annotations

import json
import re
import sys

from common import DEMO, ROOT, finals, finish, parser, records, table

sys.path.insert(0, str(ROOT))
from export.train.language import PHRASES

NEAR_S = 1.0


def named(text: str) -> list[str]:
    """Labels in the order in which the text names them."""
    found = [(match.start(), label) for label, phrase in PHRASES.items() for match in re.finditer(re.escape(phrase), text.lower())]
    return [label for _, label in sorted(found)]


def main() -> int:
    parse = parser(__doc__)
    options = parse.parse_args()
    truth = json.loads(DEMO.with_suffix(".json").read_text())
    expected = [entry["label"] for entry in truth]
    lines = records("listen", "--input", DEMO, "--bundle", options.bundle, "--format", "jsonl")
    captions = finals(lines)
    said = [label for record in captions for label in named(record["text"])]
    sounds = [r for r in lines if r["type"] == "sound" and r["state"] == "start" and r["label"] in PHRASES]
    starts = [(record["label"], record["start"]) for record in sorted(sounds, key=lambda r: r["start"])]
    print(table([[f"{r['start']:.2f}-{r['end']:.2f}", r["text"]] for r in captions], ["seconds", "final caption"]))
    print(table([[e["label"], e["start"]] for e in truth], ["in the scene", "at s"]))
    print(table(starts, ["sound record", "at s"]))
    partials = [record for record in lines if record["type"] == "caption" and not record["final"]]
    near = [label for label, _ in starts] == expected and all(
        abs(at - entry["start"]) <= NEAR_S for (_, at), entry in zip(starts, truth, strict=True)
    )
    latencies = sorted(record["latency"] for record in captions)
    result = {
        "expected": expected,
        "captions": [record["text"] for record in captions],
        "named": said,
        "sounds": starts,
        "revisions_before_finals": len(partials),
        "final_latency_s_max": latencies[-1] if latencies else None,
    }
    bars = {
        "final captions name the scene in order and nothing else": said == expected,
        "sound records begin within 1 s, in order, and nothing else": near,
        "captions appear while turns are open": bool(partials),
    }
    return finish(options, result, bars)


if __name__ == "__main__":
    raise SystemExit(main())
