"""What does log-mel (80 bands) cost, in microseconds of CPU per second of audio, one-shot and in blocks of 512 samples?

    python benchmarks/native_log_mel.py [--rounds 30] [--output benchmarks/results/native_log_mel.json]

Peers: kaldi-native-fbank (where installed, same window, bands and hop) and the definition written with numpy. All candidates take turns
within a round; figures are medians over the rounds of the process's CPU time. Also states the largest error against float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from native_ring import machine

from edge._native import LogMel, log_mel

SECONDS = 10
BLOCK = 512

Candidate = Callable[[np.ndarray], object]


def numpy_log_mel(samples: np.ndarray) -> np.ndarray:
    """The definition in float64."""
    rows = 1 + (len(samples) - 400) // 160
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), 400)[::160][:rows]
    power = np.abs(np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)), 512)) ** 2
    mel = 2595 * np.log10(1 + np.arange(257) * 31.25 / 700)
    centres = np.linspace(0, mel[-1], 82)[1:-1]
    weights = np.maximum(0, 1 - np.abs(mel[:, None] - centres) * 81 / mel[-1])
    weights[0] = 0
    return np.log(np.maximum(power @ weights, 1e-10))


def streaming(samples: np.ndarray) -> None:
    stream = LogMel()
    for at in range(0, len(samples), BLOCK):
        stream.extend(samples[at : at + BLOCK])


def kaldi() -> dict[str, Candidate]:
    try:
        import kaldi_native_fbank
    except ImportError:
        return {}
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = 16000
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hanning"
    options.frame_opts.preemph_coeff = 0
    options.frame_opts.remove_dc_offset = False
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 0
    options.mel_opts.high_freq = 8000

    def one_shot(samples: np.ndarray) -> np.ndarray:
        bank = kaldi_native_fbank.OnlineFbank(options)
        bank.accept_waveform(16000, samples)
        bank.input_finished()
        return np.stack([bank.get_frame(row) for row in range(bank.num_frames_ready)])

    def in_blocks(samples: np.ndarray) -> None:
        bank, done = kaldi_native_fbank.OnlineFbank(options), 0
        for at in range(0, len(samples), BLOCK):
            bank.accept_waveform(16000, samples[at : at + BLOCK])
            while done < bank.num_frames_ready:
                bank.get_frame(done)
                done += 1

    return {"one_shot kaldi_native_fbank": one_shot, "streaming kaldi_native_fbank": in_blocks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    samples = np.random.default_rng(0).normal(0, 0.1, SECONDS * 16000).astype(np.float32)
    candidates: dict[str, Candidate] = {
        "one_shot auricle": log_mel,
        "one_shot numpy": numpy_log_mel,
        "streaming auricle": streaming,
        **kaldi(),
    }
    figures: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for name, candidate in candidates.items():
            begin = time.process_time_ns()
            candidate(samples)
            figures[name].append((time.process_time_ns() - begin) / 1000 / SECONDS)
    result: dict[str, object] = {
        "machine": machine(),
        "seconds_of_audio": SECONDS,
        "block_samples": BLOCK,
        "largest_error": float(np.abs(log_mel(samples) - numpy_log_mel(samples)).max()),
    }
    for name, values in figures.items():
        ours = statistics.median(figures[name.split()[0] + " auricle"])
        median = statistics.median(values)
        result[name] = {
            "median_us_per_s": round(median, 1),
            "min_us_per_s": round(min(values), 1),
            "rounds": len(values),
            "times_ours": round(median / ours, 2),
        }
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
