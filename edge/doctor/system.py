"""The machine itself: libraries and their versions, cores, memory, heat, clock, power meters."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge import __version__
from edge.doctor.finding import Check, Finding, Machine

LIBRARIES = {
    "numpy": ("numpy", ""),
    "onnxruntime": ("onnxruntime", "no ONNX model runs: pip install onnxruntime"),
    "llama_cpp": ("llama-cpp-python", "no language model runs: pip install llama-cpp-python, or scripts/setup.sh from the source"),
    "sounddevice": ("sounddevice", "no microphone is heard: pip install sounddevice"),
    "soundfile": ("soundfile", "no file is read: pip install soundfile"),
    "soxr": ("soxr", "no other rate than 16 kHz is understood: pip install soxr"),
}
EXTRAS = {
    "ai_edge_litert": ("bundles of TFLite models", "tflite"),
    "starlette": ("pages and transcriptions of `auricle serve`", "web"),
    "paho.mqtt": ("`auricle bridge mqtt`", "mqtt"),
    "zenoh": ("`auricle bridge zenoh`", "zenoh"),
    "wyoming": ("`auricle serve --wyoming`", "wyoming"),
}
HOT_C, EARLIEST_YEAR = 80.0, 2025
UNSYNCHRONIZED = 5
"""What adjtimex(2) returns while nothing sets the clock right."""


def versions(machine: Machine) -> Iterator[Finding]:
    """auricle, Python, and every library that the runtime loads."""
    where = f"{platform.system()} {platform.release()} on {platform.machine()}"
    yield Finding("auricle", "good", f"auricle {__version__}, Python {platform.python_version()}, {where}")
    found = []
    for module, (name, remedy) in LIBRARIES.items():
        try:
            importlib.import_module(module)
            found.append(f"{name} {version(name)}")
        except (ImportError, OSError, PackageNotFoundError) as error:
            if module == "sounddevice" and isinstance(error, OSError):
                remedy = "no microphone is heard: apt-get install libportaudio2"
            yield Finding("libraries", "wrong", f"{name} cannot be loaded ({error})", remedy)
    yield Finding("libraries", "good", ", ".join(found))
    missing = []
    for module, (use, extra) in EXTRAS.items():
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(f"{use} (pip install 'auricle[{extra}]')")
    if missing:
        yield Finding("extras", "note", f"not installed, and only needed for: {'; '.join(missing)}")


def processor(machine: Machine) -> Iterator[Finding]:
    """Cores against threads, and whether they are slowed down."""
    cores, threads = len(os.sched_getaffinity(0)), machine.config.threads
    if threads > cores:
        yield Finding("threads", "wrong", f"{threads} threads share {cores} cores, which is slower than {cores}", f"set threads to {cores}")
    else:
        yield Finding("processor", "good", f"{cores} cores, {threads} for each model")
    governors = {path.read_text().strip() for path in (machine.root / "sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_governor")}
    if "powersave" in governors and not (machine.root / "sys/devices/system/cpu/intel_pstate").exists():
        yield Finding("processor", "note", "its governor is powersave: captions come late", "cpupower frequency-set -g schedutil")
    hot = [(celsius, kind) for celsius, kind in _temperatures(machine.root) if celsius >= HOT_C]
    if hot:
        celsius, kind = max(hot)
        yield Finding("heat", "note", f"{kind} is at {celsius:.0f} °C and will soon be slowed down", "cool it, or take the profile glasses")


def _temperatures(root: Path) -> Iterator[tuple[float, str]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        try:
            yield int((zone / "temp").read_text()) / 1000, (zone / "type").read_text().strip()
        except (OSError, ValueError):
            continue


def clock(machine: Machine) -> Iterator[Finding]:
    """Records carry the sample clock; wall time stands in sessions and in the history, so it should be right."""
    year = time.gmtime().tm_year
    remedy = "timedatectl set-ntp true, or fit a clock with a battery"
    if year < EARLIEST_YEAR:
        yield Finding("clock", "wrong", f"it says {year}: sessions and history will carry wrong dates", remedy)
    elif _adjtimex() == UNSYNCHRONIZED and not (machine.root / "run/systemd/timesync/synchronized").exists():
        yield Finding("clock", "note", "nothing keeps it right: dates in sessions and history may be off", remedy)
    else:
        yield Finding("clock", "good", "it is kept right")


def _adjtimex() -> int:
    """State of the kernel's clock, -1 where it cannot be asked. 512 bytes are more than struct timex has; modes 0 only reads."""
    if not sys.platform.startswith("linux"):
        return -1
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (AttributeError, OSError):
        return -1


def power(machine: Machine) -> Iterator[Finding]:
    """What `auricle bench` can read joules from."""
    from edge import power as sources

    found, why = sources.find(machine.root)
    if found is not None:
        yield Finding("power", "good", f"joules come from {found.name}: {found.scope}")
    else:
        remedy = "run it as root once, or give a meter's file: auricle bench --power-csv FILE"
        yield Finding("power", "note", f"joules cannot be measured: {why}", remedy)


CHECKS: tuple[Check, ...] = (versions, processor, clock, power)
