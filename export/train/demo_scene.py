"""Makes the scene that `make demo` plays: `python -m export.train.demo_scene edge/data/demo_scene.flac`.

A visitor speaks, knocks and rings, somebody answers, the telephone rings, the smoke alarm sounds, a car hoots. Everything is
synthesised from fixed seeds; the quiet between is pink room noise at -65 dBFS. Beside the sound, a .json of the same name says what
is heard when.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from export.train import synth_signals, synth_struck
from export.train.speech import speak
from export.train.synth import RATE, noise, room

ROOM_DBFS = -65.0
PAUSE_S = 1.7
LIMIT_BYTES = 600_000


def sounds() -> dict[str, np.ndarray]:
    """The scene's sounds that are not speech, in order: AudioSet display name to float32[n] at 16 kHz."""

    def seeded(seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)

    return {
        "Knock": 0.9 * synth_struck.knock(seeded(35), "door"),
        "Doorbell": 0.8 * synth_struck.doorbell(seeded(47), "ding-dong"),
        "Telephone": 0.8 * synth_struck.telephone(seeded(18), "bell"),
        "Smoke detector, smoke alarm": synth_signals.smoke_alarm(seeded(36), "t3"),
        "Vehicle horn, car horn, honking": 0.9 * synth_signals.horn(seeded(22)),
    }


def trimmed(x: np.ndarray) -> np.ndarray:
    """x from its first to its last sample within 40 dB of its peak, faded over the last 10 ms; float32[n]."""
    heard = np.flatnonzero(np.abs(x) > 0.01 * np.abs(x).max())
    x = x[heard[0] : heard[-1] + 1].astype(np.float32)
    fade = min(160, len(x))
    x[len(x) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return x


def scene() -> tuple[np.ndarray, list[dict[str, str | float]]]:
    """The whole scene, float32[n] at 16 kHz, and its truth: label, start, end in seconds (within 40 dB of the event's peak)."""
    hello = 0.8 * room(np.random.default_rng(1), speak("Hello, is anybody home?", "en-us+f2", 150))
    answer = 0.9 * room(np.random.default_rng(2), speak("Yes, come in. The door is open.", "en-gb+m3", 150))
    events = list(sounds().items())
    events = [("Speech", hello), *events[:2], ("Speech", answer), *events[2:]]
    pause = round(PAUSE_S * RATE)
    truth: list[dict[str, str | float]] = []
    pieces, at = [np.zeros(pause, np.float32)], pause
    for label, event in events:
        x = trimmed(event)
        truth.append({"label": label, "start": round(at / RATE, 5), "end": round((at + len(x)) / RATE, 5)})
        pieces += [x, np.zeros(pause, np.float32)]
        at += len(x) + pause
    quiet = 10 ** (ROOM_DBFS / 20) * noise(np.random.default_rng(0), at, "pink")
    return (np.concatenate(pieces) + quiet).astype(np.float32), truth


def main() -> None:
    """Writes the scene as 16-bit FLAC and its truth as JSON beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="where to write the FLAC; the truth goes beside it as .json")
    out: Path = parser.parse_args().out
    samples, truth = scene()
    out.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(out, samples, RATE, format="FLAC", subtype="PCM_16")
    rows = ",\n".join("  " + json.dumps(event) for event in truth)
    out.with_suffix(".json").write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    size = out.stat().st_size
    if size > LIMIT_BYTES:
        raise SystemExit(f"{out} has {size:,} bytes and may have {LIMIT_BYTES:,}; shorten the scene.")
    print(f"{out}: {len(samples) / RATE:.1f} s, {size:,} bytes, {len(truth)} events")


if __name__ == "__main__":
    main()
