"""What a run costs in joules, from whatever the machine can read: INA rails, RAPL, a Raspberry Pi 5's PMIC, a battery, or a meter's file.

Powers are integrated by trapezoids, counters by differences. A figure is given only where readings cover the whole window, and the part
above idle only where it stands out from the drift of idle itself.
Sources: Linux hwmon sysfs-interface.rst, powercap.rst (max_energy_range_uj) and sysfs-class-power; `vcgencmd pmic_read_adc` of Raspberry
Pi OS.
"""

from __future__ import annotations

import math
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

RATE_HZ = 50.0
LONGEST_GAP_S = 1.0
"""A window with a longer gap between two readings is not measured."""
PMIC_LINE = re.compile(r"\s*(\S+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]")


@dataclass(frozen=True, slots=True)
class Channel:
    """read: watts, or joules that count up where counts is True, starting anew at wraps_at (0: never). Raises OSError or ValueError."""

    name: str
    read: Callable[[], float]
    counts: bool = False
    wraps_at: float = 0.0


@dataclass(frozen=True, slots=True)
class PowerSource:
    """name: what is read. scope: what its figures cover."""

    name: str
    scope: str
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one window: joules over seconds, from so many readings, the largest gap between two. joules None: not measured, why says so."""

    joules: float | None
    seconds: float
    readings: int
    largest_gap_s: float
    why: str = ""

    @property
    def watts(self) -> float | None:
        return None if self.joules is None or self.seconds <= 0 else self.joules / self.seconds


def find(root: Path = Path("/"), vcgencmd: Callable[[], str] | None = None) -> tuple[PowerSource | None, str]:
    """The best source of this machine, or None and why there is none. root: where sys lies. vcgencmd: gives what pmic_read_adc prints."""
    refused: list[str] = []
    for look in (_ina, _rapl):
        source = look(root / "sys", refused)
        if source is not None:
            return source, ""
    source = _pmic(vcgencmd or _vcgencmd) or _battery(root / "sys")
    if source is not None:
        return source, ""
    return None, "; ".join(refused) or "no INA rails, RAPL, PMIC or discharging battery can be read on this machine"


def _number(path: Path) -> float:
    return float(path.read_text())


def _scaled(scale: float, *paths: Path) -> Callable[[], float]:
    """The product of the numbers in these files, without its sign: some drivers count what flows out as negative."""
    return lambda: scale * abs(math.prod(_number(path) for path in paths))


def _readable(path: Path) -> bool:
    try:
        _number(path)
    except (OSError, ValueError):
        return False
    return True


def _ina(sys: Path, refused: list[str]) -> PowerSource | None:
    rails: dict[str, Channel] = {}
    for device in sorted((sys / "class/hwmon").glob("hwmon*")):
        try:
            if not (device / "name").read_text().startswith("ina"):
                continue
        except OSError:
            continue
        for path in sorted(device.glob("curr*_input")):
            number = path.name.removeprefix("curr").removesuffix("_input")
            label = device / f"in{number}_label"
            name = label.read_text().strip() if label.is_file() else f"{device.name} {number}"
            power, volts = device / f"power{number}_input", device / f"in{number}_input"
            if _readable(power):
                rails[name] = Channel(name, _scaled(1e-6, power))
            elif _readable(volts) and _readable(path):
                rails[name] = Channel(name, _scaled(1e-6, volts, path))
            else:
                refused.append(f"INA rail {name} is there but cannot be read")
    whole = next((rails[name] for name in rails if name.upper() in ("VDD_IN", "VIN", "5V_IN")), None)
    if whole is not None:
        return PowerSource(f"INA {whole.name}", "the whole board", (whole,))
    return PowerSource("INA rails", f"the rails {', '.join(rails)}", tuple(rails.values())) if rails else None


def _rapl(sys: Path, refused: list[str]) -> PowerSource | None:
    zones: dict[str, Channel] = {}
    for zone in sorted((sys / "class/powercap").glob("intel-rapl:*")):
        if zone.name.count(":") != 1:
            continue  # a part of another zone
        counter = zone / "energy_uj"
        try:
            name = (zone / "name").read_text().strip()
            wraps = _number(zone / "max_energy_range_uj") / 1e6
            _number(counter)
        except (OSError, ValueError) as error:
            refused.append(f"RAPL {zone.name} cannot be read ({getattr(error, 'strerror', None) or error}); run as root")
            continue
        zones[name] = Channel(name, _scaled(1e-6, counter), counts=True, wraps_at=wraps)
    if "psys" in zones:
        return PowerSource("RAPL psys", "the whole platform", (zones["psys"],))
    packages = {name: channel for name, channel in zones.items() if name.startswith("package")}
    return PowerSource("RAPL", "the processor packages, without memory and devices", tuple(packages.values())) if packages else None


def _vcgencmd() -> str:
    return subprocess.run(["vcgencmd", "pmic_read_adc"], capture_output=True, text=True, check=True, timeout=2).stdout


def pmic_watts(text: str) -> float:
    """Sum over the rails of what `vcgencmd pmic_read_adc` prints that have both a current and a voltage. Raises: ValueError for none."""
    found: dict[str, dict[str, float]] = {}
    for match in map(PMIC_LINE.match, text.splitlines()):
        if match:
            found.setdefault(match[1], {})[match[2]] = float(match[3])
    rails = [rail["A"] * rail["V"] for rail in found.values() if len(rail) == 2]
    if not rails:
        raise ValueError("pmic_read_adc names no rail with current and voltage")
    return sum(rails)


def _pmic(vcgencmd: Callable[[], str]) -> PowerSource | None:
    try:
        pmic_watts(vcgencmd())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    channel = Channel("PMIC", lambda: pmic_watts(vcgencmd()))
    return PowerSource("Raspberry Pi PMIC", "the board's rails behind the PMIC, without USB devices and losses of the supply", (channel,))


def _battery(sys: Path) -> PowerSource | None:
    for supply in sorted((sys / "class/power_supply").glob("*")):
        try:
            kind, state = (supply / "type").read_text().strip(), (supply / "status").read_text().strip()
        except OSError:
            continue
        if kind != "Battery" or state != "Discharging":
            continue
        power, volts, amps = (supply / name for name in ("power_now", "voltage_now", "current_now"))
        if _readable(power):
            return _battery_of(supply.name, _scaled(1e-6, power))
        if _readable(volts) and _readable(amps):
            return _battery_of(supply.name, _scaled(1e-12, volts, amps))
    return None


def _battery_of(name: str, read: Callable[[], float]) -> PowerSource:
    return PowerSource(f"battery {name}", "all that the battery feeds", (Channel(name, read),))


@dataclass(slots=True)
class PowerMeter:
    """Reads a source from a thread of its own between start() and stop(); or by read(), one reading each. clock: monotonic seconds."""

    source: PowerSource
    rate_hz: float = RATE_HZ
    clock: Callable[[], float] = time.monotonic
    readings: list[tuple[float, tuple[float, ...]]] = field(default_factory=list)
    """(second, value of each channel)."""
    failures: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def read(self) -> None:
        """One reading of every channel; one that fails is counted and leaves a gap."""
        try:
            self.readings.append((self.clock(), tuple(channel.read() for channel in self.source.channels)))
        except (OSError, ValueError, subprocess.SubprocessError):
            self.failures += 1

    def start(self) -> None:
        def work() -> None:
            while not self._stop.wait(1 / self.rate_hz):
                self.read()

        self._thread = threading.Thread(target=work, name="auricle-power", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(3.0)

    def energy(self, begin_s: float, end_s: float) -> Energy:
        """What was used from one second of the clock to another."""
        kept = [reading for reading in self.readings if begin_s <= reading[0] <= end_s]
        times = [begin_s, *(at for at, _ in kept), end_s]
        gap = max(later - at for at, later in pairwise(times))
        seconds = end_s - begin_s
        if len(kept) < 2 or gap > LONGEST_GAP_S:
            failed = f", {self.failures} readings failed" if self.failures else ""
            return Energy(None, seconds, len(kept), gap, f"{self.source.name}: a gap of {gap:.1f} s between readings{failed}")
        covered = kept[-1][0] - kept[0][0]
        joules = sum(_between(a, b, self.source) for a, b in pairwise(kept))
        # The readings nearest to the edges stand for what lies between them and the edges: at most a gap each.
        return Energy(joules * seconds / covered, seconds, len(kept), gap)


def _between(a: tuple[float, tuple[float, ...]], b: tuple[float, tuple[float, ...]], source: PowerSource) -> float:
    joules = 0.0
    for channel, before, after in zip(source.channels, a[1], b[1], strict=True):
        if channel.counts:
            joules += after - before if after >= before or not channel.wraps_at else after - before + channel.wraps_at
        else:
            joules += (before + after) / 2 * (b[0] - a[0])
    return joules


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run used: gross all of it, net_j what is above idle_w, the mean of idle before and after.

    None where it cannot be told; why says so.
    """

    gross: Energy
    idle_w: float | None
    net_j: float | None
    why: str = ""


def cost(before: Energy, run: Energy, after: Energy) -> Cost:
    """From an idle window, the run, and another idle window. Net figures below twice the drift of idle are refused."""
    if run.joules is None or before.watts is None or after.watts is None:
        return Cost(run, None, None, run.why or before.why or after.why)
    idle_w = (before.watts + after.watts) / 2
    net, drift = run.joules - idle_w * run.seconds, abs(after.watts - before.watts) * run.seconds
    if net < 2 * drift:
        why = f"{net:.2f} J above idle are less than twice the {drift:.2f} J that idle itself drifted; measure longer, on a quiet machine"
        return Cost(run, idle_w, None, why)
    return Cost(run, idle_w, net)
