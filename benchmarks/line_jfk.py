"""Are the speech spans of jfk.wav those of Silero's own code, and does the caption say that a person is speaking?

    python benchmarks/line_jfk.py [WAV] [--bundle B] [--output benchmarks/results/line_jfk.json]

Golden spans: tests/golden/silero_spans.json, made by tests/silero_reference.py with silero-vad's VADIterator and get_speech_timestamps.
The iterator has no shortest span, so it is compared with --min-speech-ms 0. Bar: every edge within one chunk (512 samples) plus the
half millisecond by which a record is rounded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import DATA, ROOT, Record, finals, finish, parser, records, table, unmeasured

from edge.types import SAMPLE_RATE

GOLDEN = ROOT / "tests" / "golden" / "silero_spans.json"
CHUNK = 512
ROUNDING = SAMPLE_RATE // 2000


def spans(lines: list[Record]) -> list[list[int]]:
    return [[round(record[edge] * SAMPLE_RATE) for edge in ("start", "end")] for record in lines if record["type"] == "speech"]


def farthest(found: list[list[int]], expected: list[list[int]]) -> int | None:
    """Samples between the edges that differ most; None when the number of spans differs."""
    if len(found) != len(expected):
        return None
    return max((abs(a - b) for one, other in zip(found, expected, strict=True) for a, b in zip(one, other, strict=True)), default=0)


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("wav", type=Path, nargs="?", default=DATA / "speech" / "jfk.wav", metavar="WAV")
    options = parse.parse_args()
    if not options.wav.is_file():
        return unmeasured(f"{options.wav} is not there; name the file")
    cases = [case for case in json.loads(GOLDEN.read_text())["cases"] if case["audio"] == "jfk"]
    rows: list[dict[str, Any]] = []
    standard: list[Record] = []
    for case in cases:
        for reference in ("timestamps", "iterator"):
            wanted = {**case["options"], **({"min_speech_ms": 0} if reference == "iterator" else {})}
            flags = [word for key, value in wanted.items() for word in (f"--{key.replace('_', '-')}", str(value))]
            lines = records("caption", "--bundle", options.bundle, "--format", "jsonl", *flags, options.wav)
            standard = standard or lines
            length = SAMPLE_RATE * 11  # an open span ends with the audio
            expected = [[start, length if stop is None else stop] for start, stop in case[reference]]
            rows.append({"options": wanted, "reference": reference, "spans": spans(lines), "expected": expected})
            rows[-1]["farthest"] = farthest(rows[-1]["spans"], expected)
    shown = [
        [row["reference"], row["options"] or "standard", f"{len(row['spans'])}/{len(row['expected'])}", row["farthest"]] for row in rows
    ]
    print(table(shown, ["Silero's", "options", "spans", "farthest, samples"]))
    text = [record["text"] for record in finals(standard)]
    print("caption: " + " | ".join(text))
    near = all(row["farthest"] is not None and row["farthest"] <= CHUNK + ROUNDING for row in rows)
    said = any("person is speaking" in caption.lower() for caption in text)
    bars = {"speech spans within one chunk of Silero's own": near, "the caption says that a person is speaking": said}
    return finish(options, {"cases": rows, "captions": text}, bars)


if __name__ == "__main__":
    raise SystemExit(main())
