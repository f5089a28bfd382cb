"""Do rate, channels, block size and the speed of real time leave the final captions as they are?

    python benchmarks/line_rates.py [--clips 10] [--quick] [--bundle B] [--output benchmarks/results/line_rates.json]

Heard are the demo scene, jfk.wav and one ESC-10 clip of fold 4 for each class, first as 16 kHz mono, then
  rates    as stereo at 8, 16, 22.05, 44.1 and 48 kHz (soxr VHQ): against the same file converted to 16 kHz mono by soxr in one go
           (what the door must equal), and against the original (what the listener expects; at 8 kHz half the band is missing, so
           that is printed and no bar)
  blocks   taken from the ring 1, 17, 160, 512 and 4096 samples at a time: every record must be identical
  live     by `listen --input`, at the speed of real time: finals, sounds and speech must be identical; --quick leaves this out
Finals count as the same when number and texts agree and every edge lies within one chunk of the gate (512 samples) and rounding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from common import DATA, DEMO, Record, by_session, finals, finish, mono, parser, records, table, timeless, write_wav

from edge.types import SAMPLE_RATE, Samples

RATES = (8_000, 16_000, 22_050, 44_100, 48_000)
BLOCKS = (1, 17, 160, 512, 4096)
EDGE_S = 512 / SAMPLE_RATE + 0.001
AT_ONCE = 3
"""Streams at the speed of real time side by side; one takes a few per cent of a core."""

Heard = dict[str, list[Record]]


def originals(data: Path, clips: int) -> dict[str, Samples]:
    paths = [DEMO, data / "speech" / "jfk.wav"]
    paths += [found[0] for folder in sorted((data / "esc10").glob("*")) if (found := sorted(folder.glob("4-*.ogg")))][:clips]
    return {path.stem: mono(path) for path in paths if path.is_file()}


def caption(paths: list[Path], bundle: str, *flags: str) -> Heard:
    lines = records("caption", "--bundle", bundle, "--format", "jsonl", *flags, *paths)
    return {Path(one[0]["source"].removeprefix("file:")).stem: one for one in by_session(lines)}


def listen(paths: list[Path], bundle: str) -> Heard:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = pool.map(lambda path: records("listen", "--input", path, "--bundle", bundle, "--format", "jsonl"), paths)
        return {path.stem: lines for path, lines in zip(paths, made, strict=True)}


def same_finals(one: list[Record], other: list[Record]) -> str:
    """How they first differ, and nothing when they agree."""
    a, b = finals(one), finals(other)
    if len(a) != len(b):
        return f"{len(a)} finals against {len(b)}"
    for x, y in zip(a, b, strict=True):
        if x["text"] != y["text"]:
            return f"{x['text'][:60]!r} against {y['text'][:60]!r}"
        if max(abs(x[edge] - y[edge]) for edge in ("start", "end")) > EDGE_S:
            return f"{x['start']}-{x['end']} against {y['start']}-{y['end']}"
    return ""


def same_records(one: list[Record], other: list[Record]) -> str:
    a, b = [timeless(record) for record in one], [timeless(record) for record in other]
    if a == b:
        return ""
    at = next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"record {at} of {len(a)} and {len(b)}: {str(a[at : at + 1])[:90]} against {str(b[at : at + 1])[:90]}"


def same_outcome(live: list[Record], offline: list[Record]) -> str:
    """Finals, sounds and speech; how many revisions came before a final depends on the machine's load."""

    def outcome(lines: list[Record]) -> list[Record]:
        kept = [timeless(r) for r in lines if r["type"] in ("sound", "speech", "gap") or (r["type"] == "caption" and r["final"])]
        return [{key: value for key, value in record.items() if key != "revision"} for record in kept]

    return same_records(outcome(live), outcome(offline))


def differences(one: Heard, other: Heard, same: Callable[[list[Record], list[Record]], str]) -> dict[str, str]:
    found = {name: same(one.get(name, []), other[name]) for name in other}
    return {name: how for name, how in found.items() if how}


def stereo(samples: Samples, rate: int) -> Samples:
    made = soxr.resample(samples, SAMPLE_RATE, rate, quality="VHQ") if rate != SAMPLE_RATE else samples
    return np.stack([made, made], axis=1)


def through_rates(folder: Path, sounds: dict[str, Samples], base: Heard, bundle: str) -> dict[str, dict[str, dict[str, str]]]:
    found = {}
    for rate in RATES:
        place, converted = folder / str(rate), folder / f"{rate}-converted"
        place.mkdir()
        converted.mkdir()
        paths, straight = [], []
        for name, samples in sounds.items():
            frames = stereo(samples, rate)
            paths.append(write_wav(place / f"{name}.wav", frames, rate))
            back = soxr.resample(frames[:, 0], rate, SAMPLE_RATE, quality="HQ") if rate != SAMPLE_RATE else frames[:, 0]
            straight.append(write_wav(converted / f"{name}.wav", back))
        heard = caption(paths, bundle)
        expected = caption(straight, bundle)
        found[str(rate)] = {
            "against_converted": differences(heard, expected, same_finals),
            "against_original": differences(heard, base, same_finals),
        }
    return found


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--data", type=Path, default=DATA)
    parse.add_argument("--clips", type=int, default=10)
    parse.add_argument("--quick", action="store_true", help="without the part at the speed of real time")
    options = parse.parse_args()
    sounds = originals(options.data, options.clips)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [write_wav(folder / f"{stem}.wav", samples) for stem, samples in sounds.items()]
        base = caption(paths, options.bundle)
        blocks = {str(size): differences(caption(paths, options.bundle, "--block-size", str(size)), base, same_records) for size in BLOCKS}
        rates = through_rates(folder, sounds, base, options.bundle)
        live = {} if options.quick else differences(listen(paths, options.bundle), base, same_outcome)
    seconds = sum(map(len, sounds.values())) / SAMPLE_RATE
    captions = sum(len(finals(lines)) for lines in base.values())
    print(f"{len(sounds)} recordings, {seconds:.0f} s, {captions} final captions at 16 kHz mono")
    rows = [[f"{rate} Hz stereo", len(row["against_converted"]), len(row["against_original"])] for rate, row in rates.items()]
    print(table(rows, ["", "differ from converted", "differ from original"]))
    print(table([[f"blocks of {size}", len(found)] for size, found in blocks.items()], ["", "differ"]))
    print("live: not measured" if options.quick else f"live: {len(live)} differ")
    every: dict[str, Any] = {"live": live, **{f"blocks of {k}": v for k, v in blocks.items()}}
    every |= {f"{rate} Hz, {against}": found for rate, row in rates.items() for against, found in row.items()}
    for title, found in every.items():
        for stem, how in found.items():
            print(f"  {title}: {stem}: {how}")
    bars: dict[str, bool] = {
        "finals through the door equal those of the converted file": not any(row["against_converted"] for row in rates.values()),
        "finals of 16 to 48 kHz stereo equal those of the original": not any(rates[str(rate)]["against_original"] for rate in RATES[1:]),
        "records do not depend on the block size": not any(blocks.values()),
        "there is something to compare": captions > 0,
    }
    if not options.quick:
        bars["listen --input and caption agree"] = not live
    result = {"recordings": list(sounds), "seconds": round(seconds, 1), "final_captions": captions}
    return finish(options, {**result, "rates": rates, "blocks": blocks, "live": None if options.quick else live}, bars)


if __name__ == "__main__":
    raise SystemExit(main())
