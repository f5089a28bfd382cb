"""Which machine, in which state: what a figure must be told with. root: where proc and sys lie.

Sources: proc(5); Linux cpufreq and thermal sysfs documentation; `vcgencmd get_throttled` of Raspberry Pi OS (bits 0-3: now).
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge import __version__
from edge.bundle import Bundle

PAGE = os.sysconf("SC_PAGE_SIZE")


def stamp(root: Path = Path("/")) -> dict[str, Any]:
    """The machine, the system, this program's version and the moment."""
    return {
        "model": _text(root / "proc/device-tree/model").rstrip("\0") or _cpu(root),
        "cpu": _cpu(root),
        "cores": len(os.sched_getaffinity(0)),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not told",
        "load_1min": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "auricle": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def bundle_stamp(bundle: Bundle) -> dict[str, Any]:
    """Name, version and the first twelve digits of each model's sha256."""
    return {"name": bundle.name, "version": bundle.version, "models": {m.role: m.sha256[:12] for m in bundle.manifest.models}}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _cpu(root: Path) -> str:
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return PAGE * int(Path("/proc/self/statm").read_text().split()[1])


def heat(root: Path = Path("/")) -> dict[str, Any]:
    """{"hottest_c", "throttled"}: the hottest zone, and how often the processor was slowed down since it started; None where not told."""
    temperatures = [float(text) / 1000 for zone in (root / "sys/class/thermal").glob("thermal_zone*") if (text := _text(zone / "temp"))]
    counts = [
        int(text)
        for core in (root / "sys/devices/system/cpu").glob("cpu[0-9]*")
        if (text := _text(core / "thermal_throttle/core_throttle_count")).isdigit()
    ]
    return {"hottest_c": max(temperatures, default=None), "throttled": sum(counts) if counts else _vcgencmd()}


def _vcgencmd() -> int | None:
    """How many of the Pi's four conditions (under-voltage, capped, throttled, soft limit) hold now; None on other machines."""
    try:
        told = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, check=True, timeout=2).stdout
        return (int(told.partition("=")[2], 16) & 0xF).bit_count()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
