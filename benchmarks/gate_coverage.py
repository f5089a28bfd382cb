"""Does the gate open for real sounds, alone and in steady noise, and how much of each recording does it keep?

    python benchmarks/gate_coverage.py [--data ../shared/data] [--clips 32] [--snr 10 0 -6] [--noisy-clips 4] [--output FILE]

Real recordings: ESC-10, folds 1-4. Alone: the clip as it is. In noise: behind 16 s of pink noise at -40 dBFS that goes on, the clip's
loudest second at the given distance from the noise. Prints one JSON object; opened_at_* are shares of clips, coverage of samples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr

from edge.gate import Gate
from edge.types import SAMPLE_RATE, AudioBlock, Samples, Speech, Turn, Vitals
from edge.vad import Silero

SETTLE = 16 * SAMPLE_RATE


def recording(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32")
    converted: Samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return converted


def finals(vad: Silero, samples: Samples) -> list[Turn]:
    gate = Gate(vad)
    heard: list[Turn | Speech | Vitals] = [*gate.push(AudioBlock(0, samples)), *gate.finish()]
    return [record for record in heard if isinstance(record, Turn) and record.final]


def pink(n: int, dbfs: float) -> Samples:
    hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(n))
    shaped = np.fft.irfft(np.where(hz >= 20, spectrum / np.sqrt(np.maximum(hz, 20)), 0), n)
    return (shaped / np.sqrt(np.mean(shaped**2)) * 10 ** (dbfs / 20)).astype(np.float32)


def loudest_second_dbfs(samples: Samples) -> float:
    total = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
    return float(10 * np.log10((total[SAMPLE_RATE:] - total[:-SAMPLE_RATE]).max() / SAMPLE_RATE + 1e-12))


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=here.parent.parent / "shared" / "data")
    parser.add_argument("--clips", type=int, default=32, help="a class, alone")
    parser.add_argument("--noisy-clips", type=int, default=4, help="a class, in noise")
    parser.add_argument("--snr", type=float, nargs="*", default=[10.0, 0.0, -6.0])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    vad = Silero()
    result: dict[str, dict[str, float]] = {}
    for folder in sorted(path for path in (options.data / "esc10").iterdir() if path.is_dir()):
        clips = [recording(path) for path in sorted(folder.glob("*.ogg"))[: options.clips]]
        turns = [finals(vad, clip) for clip in clips]
        coverage = [sum(turn.stop - turn.start for turn in found) / len(clip) for found, clip in zip(turns, clips, strict=True)]
        row = result[folder.name] = {
            "clips": len(clips),
            "opened": sum(map(bool, turns)),
            "coverage_min": round(min(coverage), 2),
            "coverage_median": round(float(np.median(coverage)), 2),
            "turns_mean": round(float(np.mean([len(found) for found in turns])), 2),
            "with_speech": sum(any(turn.speech for turn in found) for found in turns),
        }
        for snr in options.snr:
            noisy_clips, opened = clips[: options.noisy_clips], 0
            for clip in noisy_clips:
                noisy = pink(SETTLE + len(clip), -40.0)
                noisy[SETTLE:] += clip * np.float32(10 ** ((-40.0 + snr - loudest_second_dbfs(clip)) / 20))
                opened += any(turn.stop > SETTLE for turn in finals(vad, noisy))
            row[f"opened_at_{snr:g}_db"] = round(opened / len(noisy_clips), 2)
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
