"""Makes golden/silero_spans.json with Silero's own code; run in an environment with torch 2.13.0 (CPU) and silero-vad 6.2.3:

    python tests/silero_reference.py ../shared/data

The JIT model that the package loads by default gives the probabilities, its VADIterator and get_speech_timestamps the spans. A
span that the iterator has not closed at the end of the audio has stop null. The last, shorter chunk is padded with zeros, as
get_speech_timestamps does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

GOLDEN = Path(__file__).parent / "golden" / "silero_spans.json"
OPTIONS: list[dict[str, Any]] = [
    {},
    {"threshold": 0.3},
    {"threshold": 0.7},
    {"min_silence_ms": 500},
    {"min_silence_ms": 32, "speech_pad_ms": 0},
    {"min_speech_ms": 100, "speech_pad_ms": 100, "min_silence_ms": 200},
]


def audio(data: Path) -> dict[str, np.ndarray]:
    """The speech that both sides hear: float32[n] at 16 kHz by name."""

    def wav(path: Path) -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == 16_000, path
        return samples

    def zeros(n: int) -> np.ndarray:
        return np.zeros(n, dtype=np.float32)

    jfk = wav(data / "speech" / "jfk.wav")
    words = [wav(path) for path in sorted((data / "spoken_characters").glob("*.wav"))[:12]]

    def characters(pause: int) -> np.ndarray:
        return np.concatenate([zeros(8000), *(part for word in words for part in (word, zeros(pause)))])

    return {
        "jfk": jfk,
        "jfk 20 dB quieter": (jfk * 0.1).astype(np.float32),
        "jfk, 3 s of silence, jfk": np.concatenate([jfk, zeros(48_000), jfk]),
        "jfk, 8 s of silence, jfk": np.concatenate([jfk, zeros(128_000), jfk]),
        "12 characters, pauses of 0.25 s": characters(4_000),
        "12 characters, pauses of 2 s": characters(32_000),
        "12 characters, pauses of 8 s": characters(128_000),
    }


def main(data: Path) -> None:
    import torch
    from silero_vad import VADIterator, get_speech_timestamps, load_silero_vad

    model = load_silero_vad()
    cases = []
    for name, samples in audio(data).items():
        padded = np.pad(samples, (0, -len(samples) % 512))
        chunks = torch.from_numpy(padded).reshape(-1, 512)
        for options in OPTIONS:
            common = {
                "threshold": options.get("threshold", 0.5),
                "min_silence_duration_ms": options.get("min_silence_ms", 100),
                "speech_pad_ms": options.get("speech_pad_ms", 30),
            }
            iterator, spans = VADIterator(model, **common), []
            for event in filter(None, map(iterator, chunks)):
                if "start" in event:
                    spans.append([event["start"], None])
                else:
                    spans[-1][1] = event["end"]
            stamps = get_speech_timestamps(
                torch.from_numpy(samples), model, min_speech_duration_ms=options.get("min_speech_ms", 250), **common
            )
            cases.append({"audio": name, "options": options, "iterator": spans, "timestamps": [[s["start"], s["end"]] for s in stamps]})
        if name == "jfk":
            model.reset_states()
            probabilities = [round(model(chunk, 16_000).item(), 5) for chunk in chunks]
    made = f"tests/silero_reference.py, silero-vad 6.2.3 (JIT), torch {torch.__version__}"
    lines = ",\n".join(json.dumps(case) for case in cases)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(f'{{"made": {json.dumps(made)},\n"jfk_probabilities": {json.dumps(probabilities)},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
