"""What does `auricle caption` cost: CPU on one core, on busy and on silent sound, and memory over an hour?

    python benchmarks/line_cost.py [--minutes 10] [--hours 1] [--rounds 3] [--bundle B] [--output benchmarks/results/line_cost.json]

Busy sound: ESC-10 clips and speech (jfk.wav, spoken characters), shuffled with a fixed seed, without a pause. CPU is user + system time of
a child process that may use one core, start-up included; start-up is the same command on one second of digital silence. Rounds are
interleaved, figures are medians. Memory is the child's VmRSS, against the second of audio that its newest record rests on; the slope
is a least-squares line through what follows the first tenth. Stages: the line's own meters, thread CPU, in this process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from common import DATA, command, environment, finish, mono, parser, table, unmeasured

from edge import Listener
from edge.types import SAMPLE_RATE, Samples

TIMES_REAL_TIME = 20.0
SILENT_CPU_S_PER_H = 3.0
MEMORY_MB = 200.0
FLAT_MB_PER_H = 5.0
TENFOLD = 0.1
"""The issue says flat; this much may be the allocator's."""
MB = 1e6


def busy_pieces(data: Path) -> list[Samples]:
    """One piece in four or so is speech."""
    clips = sorted((data / "esc10").glob("*/[1-4]-*.ogg"))[::4]
    speech = [data / "speech" / "jfk.wav"] * 8 + sorted((data / "spoken_characters").glob("*.wav"))[::4]
    return [mono(path) for path in clips + [path for path in speech if path.is_file()]]


def write_busy(path: Path, pieces: list[Samples], seconds: float) -> Path:
    rng, left = np.random.default_rng(4), round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            for index in rng.permutation(len(pieces)):
                file.write(np.clip(pieces[index][:left], -1, 1))
                left -= min(left, len(pieces[index]))
    return path


def write_silence(path: Path, seconds: float, dbfs: float | None = None) -> Path:
    """Digital silence, or with dbfs the white noise of a quiet room."""
    rng, left = np.random.default_rng(5), round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16" if dbfs is None else "FLOAT") as file:
        while left > 0:
            n = min(left, 60 * SAMPLE_RATE)
            file.write(np.zeros(n, np.float32) if dbfs is None else rng.standard_normal(n, np.float32) * np.float32(10 ** (dbfs / 20)))
            left -= n
    return path


def repeated(source: Path, path: Path, times: int) -> Path:
    """The same sound so many times on end."""
    samples, rate = soundfile.read(source, dtype="float32")
    with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16") as file:
        for _ in range(times):
            file.write(samples)
    return path


class Child:
    """`auricle caption --format jsonl FILE` on one core; `heard_s` is the second of audio that its newest record reaches."""

    def __init__(self, path: Path, bundle: str, core: int) -> None:
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # children inherit it
        try:
            self._process = subprocess.Popen(
                command("caption", "--bundle", bundle, "--format", "jsonl", path),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        finally:
            os.sched_setaffinity(0, mine)
        self.heard_s, self.lines = 0.0, 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            record = json.loads(line)
            self.heard_s = max(self.heard_s, record.get("end", record.get("start", 0.0)))
            self.lines += 1

    def memory_mb(self) -> tuple[float, float] | None:
        """Resident now and the most so far (ru_maxrss would count this process before exec); None once it has ended."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        found = {line.split(":")[0]: int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        return (found["VmRSS"], found["VmHWM"]) if len(found) == 2 else None

    def wait(self) -> float:
        """CPU-seconds. Raises: RuntimeError when the command failed."""
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._reader.join()
        if self._process.returncode:
            raise RuntimeError(f"auricle caption ended with {self._process.returncode}")
        return usage.ru_utime + usage.ru_stime


def memory(path: Path, bundle: str, core: int, seconds: float, every_s: float) -> dict[str, Any]:
    child, points = Child(path, bundle, core), []
    while (reading := child.memory_mb()) is not None:
        points.append((child.heard_s, *reading))
        time.sleep(every_s)
    cpu_s = child.wait()
    at, mb, most = np.array(points).T
    warm = at >= 0.1 * seconds
    slope = float(np.polyfit(at[warm] / 3600, mb[warm], 1)[0]) if warm.sum() >= 3 and np.ptp(at[warm]) > 0 else None
    shares = {f"mb_at_{share}_percent": round(float(mb[np.argmin(np.abs(at - share / 100 * seconds))]), 1) for share in (10, 50, 100)}
    return {
        "seconds": seconds,
        "peak_mb": round(float(most.max()), 1),
        **shares,
        "slope_mb_per_hour": None if slope is None else round(slope, 2),
        "readings": len(points),
        "times_real_time": round(seconds / cpu_s, 1),
    }


def stages(path: Path, bundle: str, seconds: float) -> dict[str, dict[str, Any]]:
    with Listener(bundle) as listener:
        for _ in listener.listen(path):
            pass
        return {
            name: {
                **asdict(meter),
                "share_of_audio": round(meter.samples / SAMPLE_RATE / seconds, 4),
                "cpu_s_per_hour": round(meter.cpu_s * 3600 / seconds, 2),
            }
            for name, meter in listener._line.meters.items()
        }


def main() -> int:
    parse = parser(__doc__)
    parse.add_argument("--data", type=Path, default=DATA)
    parse.add_argument("--minutes", type=float, default=10.0, help="of busy sound for the CPU figure")
    parse.add_argument("--hours", type=float, default=1.0, help="of silence, and of busy sound for the memory figure")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parse.add_argument("--sample-s", type=float, default=1.0, help="wall-clock seconds between readings of the memory")
    options = parse.parse_args()
    pieces = busy_pieces(options.data)
    if not pieces:
        return unmeasured(f"no recordings under {options.data}; name the folder with esc10 and speech")
    busy_s, long_s = options.minutes * 60, options.hours * 3600
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = {
            "start_up": write_silence(folder / "second.wav", 1),
            "silent": write_silence(folder / "silent.wav", long_s),
            "quiet_room": write_silence(folder / "quiet.wav", long_s, -70),
            "busy": write_busy(folder / "busy.wav", pieces, busy_s),
            "minute": write_busy(folder / "minute.wav", pieces, 60),
        }
        kinds["ten_minutes"] = repeated(kinds["minute"], folder / "ten_minutes.wav", 10)
        cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind, path in kinds.items():
                cpu[kind].append(Child(path, options.bundle, options.core).wait())
        per_stage = stages(kinds["busy"], options.bundle, busy_s)
        resident = memory(write_busy(folder / "long.wav", pieces, long_s), options.bundle, options.core, long_s, options.sample_s)
    median = {kind: statistics.median(values) for kind, values in cpu.items()}
    speed, speed_beyond = busy_s / median["busy"], busy_s / max(1e-9, median["busy"] - median["start_up"])
    beyond = {kind: (median[kind] - median["start_up"]) / options.hours for kind in ("silent", "quiet_room")}
    tenfold = (median["ten_minutes"] - median["start_up"]) / max(1e-9, median["minute"] - median["start_up"])
    print(table([[k, f"{median[k]:.2f}", " ".join(f"{v:.2f}" for v in cpu[k])] for k in kinds], ["", "CPU-s, median", "rounds"]))
    print(f"busy: {speed:.1f}x real time with start-up, {speed_beyond:.1f}x beyond it")
    print(f"CPU-s per hour beyond start-up: digital silence {beyond['silent']:.2f}, quiet room (-70 dBFS) {beyond['quiet_room']:.2f}")
    print(f"the same minute ten times on end: {tenfold:.2f} times its CPU")
    rows = [[k, m["calls"], f"{m['share_of_audio']:.1%}", f"{m['cpu_s']:.2f}", f"{m['cpu_s_per_hour']:.1f}"] for k, m in per_stage.items()]
    print(table(rows, ["stage on busy sound", "calls", "of the audio", "CPU-s", "CPU-s per hour"]))
    print("memory: " + ", ".join(f"{key} {value}" for key, value in resident.items()))
    slope = resident["slope_mb_per_hour"]
    bars = {
        f"ten minutes cost ten times one, +- {TENFOLD:.0%}": abs(tenfold / 10 - 1) <= TENFOLD,
        f"busy sound at >= {TIMES_REAL_TIME:g}x real time on one core": speed >= TIMES_REAL_TIME,
        f"a silent file takes <= {SILENT_CPU_S_PER_H:g} CPU-s per hour beyond start-up": beyond["silent"] <= SILENT_CPU_S_PER_H,
        f"resident memory <= {MEMORY_MB:g} MB": resident["peak_mb"] <= MEMORY_MB,
        f"resident memory is flat (<= {FLAT_MB_PER_H:g} MB per hour)": slope is not None and slope <= FLAT_MB_PER_H,
    }
    result = {
        "busy_minutes": options.minutes,
        "hours": options.hours,
        "cpu_s": {kind: [round(value, 3) for value in values] for kind, values in cpu.items()},
        "cpu_s_median": {kind: round(value, 3) for kind, value in median.items()},
        "times_real_time": round(speed, 1),
        "times_real_time_beyond_start_up": round(speed_beyond, 1),
        "ten_minutes_to_one": round(tenfold, 2),
        "cpu_s_per_hour_beyond_start_up": {kind: round(value, 3) for kind, value in beyond.items()},
        "stages_on_busy_sound": per_stage,
        "memory": resident,
    }
    return finish(options, result, bars)


if __name__ == "__main__":
    raise SystemExit(main())
