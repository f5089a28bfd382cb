"""The measurements themselves: as fast as it goes, and at the speed of real time. Each says over how many seconds and values it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from edge.bench import machine
from edge.bench.stats import distribution, slope_per_hour
from edge.capture import AudioFile
from edge.pipeline import Line
from edge.power import Cost, Energy, PowerMeter, cost
from edge.types import SAMPLE_RATE, Caption, Meter, Sound, Vitals

WINDOW_S = 10.0
"""Shortest window of a figure that others may quote."""

Say = Callable[[str], None]
Window = tuple[float, float]
"""Monotonic seconds of its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """files: what is heard. window_s: least seconds as fast as it goes. live_s: seconds at the speed of real time, the files
    again and again.

    idle_s: before and after it, where there is a power meter.
    """

    files: tuple[Path, ...]
    window_s: float = WINDOW_S
    live_s: float = 60.0
    idle_s: float = WINDOW_S


def offline(line: Line, plan: Plan, say: Say) -> dict[str, Any]:
    """Every file again and again for the window, after one round that is not counted: speed, and the CPU of each step."""
    say("warming up: every file once")
    for path in plan.files:
        _drain(line, path)
    say(f"as fast as it goes, for {plan.window_s:g} s or longer")
    begin, cpu, audio, rounds = time.perf_counter(), time.process_time(), 0, 0
    meters: dict[str, Meter] = {}
    while time.perf_counter() - begin < plan.window_s:
        for path in plan.files:
            audio += _drain(line, path)
            for step, meter in line.meters.items():
                kept = meters.setdefault(step, Meter())
                kept.calls, kept.samples, kept.cpu_s = kept.calls + meter.calls, kept.samples + meter.samples, kept.cpu_s + meter.cpu_s
        rounds += 1
    wall, cpu, seconds = time.perf_counter() - begin, time.process_time() - cpu, audio / SAMPLE_RATE
    hour = 3600 / seconds
    return {
        "window_s": round(wall, 2),
        "rounds": rounds,
        "audio_s": round(seconds, 2),
        "real_time_factor": round(wall / seconds, 5),
        "cpu_s_per_audio_hour": round(cpu * hour, 2),
        "steps": {
            step: {
                "duty": round(meter.samples / audio, 4),
                "calls": meter.calls,
                "cpu_s_per_audio_hour": round(meter.cpu_s * hour, 2),
                "ms_per_call": round(1000 * meter.cpu_s / meter.calls, 4) if meter.calls else None,
            }
            for step, meter in meters.items()
        },
    }


def _drain(line: Line, path: Path) -> int:
    """Samples of a file that went through the line."""
    samples = 0
    with closing(line.run(AudioFile(path))) as records:
        for record in records:
            if isinstance(record, Vitals):
                samples = record.at
    return max(samples, 1)


class Live:
    """A run at the speed of real time: lateness, memory, heat and, where there is a meter, energy."""

    def __init__(self, line: Line, plan: Plan, meter: PowerMeter | None) -> None:
        self._line, self._plan, self._meter = line, plan, meter
        self.late: dict[str, list[float]] = {"partial": [], "final": [], "sound": []}
        self.memory: list[tuple[float, int]] = []
        self.captioned_s = 0.0

    def measure(self, say: Say) -> dict[str, Any]:
        """Idle, the run, idle again; the idle windows only where there is a meter, which reads from the first to the last."""
        if self._meter is not None:
            self._meter.start()
        try:
            told, windows = self._measure(say)
        finally:
            if self._meter is not None:
                self._meter.stop()
        return {**told, "energy": self._energy(*windows)}

    def _measure(self, say: Say) -> tuple[dict[str, Any], tuple[Window, Window, Window]]:
        """All but the energy, and the windows before, of and after the run."""
        idle = self._plan.idle_s if self._meter is not None else 0.0
        if idle:
            say(f"idle for {idle:g} s before")
        before = self._idle(idle)
        heat = machine.heat()
        say(f"at the speed of real time, {self._plan.live_s:g} s")
        begin, cpu = time.monotonic(), time.process_time()
        for path in cycle(self._plan.files):
            self._hear(path, begin)
            if time.monotonic() - begin >= self._plan.live_s:
                break
        end, cpu = time.monotonic(), time.process_time() - cpu
        after_heat = machine.heat()
        if idle:
            say(f"idle for {idle:g} s after")
        after = self._idle(idle)
        seconds = end - begin
        mb = [bytes / 1e6 for _, bytes in self.memory]
        slope = slope_per_hour([at for at, _ in self.memory], mb)
        throttled = None
        if heat["throttled"] is not None and after_heat["throttled"] is not None:
            throttled = after_heat["throttled"] - heat["throttled"]
        told = {
            "seconds": round(seconds, 2),
            "captions": len(self.late["final"]),
            "late_ms": {kind: distribution([1000 * s for s in values]) for kind, values in self.late.items()},
            "cpu_share_of_one_core": round(cpu / seconds, 4),
            "memory_mb": {
                "start": round(mb[0], 1) if mb else None,
                "peak": round(max(mb), 1) if mb else None,
                "slope_per_hour": None if slope is None or seconds < 600 else round(slope, 2),
                "over_time": [[round(at, 1), round(value, 1)] for (at, _), value in zip(self.memory, mb, strict=True)],
            },
            "heat": {"before_c": heat["hottest_c"], "after_c": after_heat["hottest_c"], "throttled": throttled},
        }
        return told, (before, (begin, end), after)

    def _idle(self, seconds: float) -> Window:
        begin = time.monotonic()
        time.sleep(seconds)
        return begin, time.monotonic()

    def _hear(self, path: Path, begin: float) -> None:
        opened = time.monotonic()
        with closing(self._line.run(AudioFile(path, realtime=True))) as records:
            for record in records:
                now = time.monotonic()
                if not self.memory or now - begin - self.memory[-1][0] >= 0.5:
                    self.memory.append((now - begin, machine.resident_bytes()))
                if isinstance(record, Caption):
                    self.late["final" if record.final else "partial"].append(record.latency)
                    self.captioned_s += (record.stop - record.start) / SAMPLE_RATE if record.final else 0.0
                elif isinstance(record, Sound) and record.stop is None:
                    self.late["sound"].append(max(0.0, now - opened - record.start / SAMPLE_RATE))
                if now - begin >= self._plan.live_s:
                    return

    def _energy(self, before: Window, run: Window, after: Window) -> dict[str, Any]:
        if self._meter is None:
            return {"joules": None, "why": "not measured"}
        found: Cost = cost(self._meter.energy(*before), self._meter.energy(*run), self._meter.energy(*after))
        told = found.gross
        return {
            "source": self._meter.source.name,
            "scope": self._meter.source.scope,
            "readings": told.readings,
            "largest_gap_s": round(told.largest_gap_s, 3),
            "joules": _rounded(told.joules),
            "watts": _rounded(told.watts),
            "idle_watts": _rounded(found.idle_w),
            "net_joules": _rounded(found.net_j),
            "why": found.why,
            **self._each(told, found),
        }

    def _each(self, gross: Energy, found: Cost) -> dict[str, Any]:
        """Joules for each captioned minute and each caption, net where that is known, else gross."""
        joules = found.net_j if found.net_j is not None else gross.joules
        minutes, captions = self.captioned_s / 60, len(self.late["final"])
        return {
            "of": "net" if found.net_j is not None else "gross",
            "per_captioned_minute": _rounded(joules / minutes) if joules is not None and minutes else None,
            "per_caption": _rounded(joules / captions) if joules is not None and captions else None,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def files_of(path: Path) -> Sequence[Path]:
    """A file, or every sound file of a folder in order of name. Raises: AudioFileError when there is none."""
    from edge.errors import AudioFileError

    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff"))
        if not found:
            raise AudioFileError(f"{path}: the folder holds no sound files; name one that does")
        return found
    return [path]
