"""A power meter of one's own, whose program writes its readings into a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ConfigError
from edge.power import Channel, PowerMeter, PowerSource


def readings_of(path: Path) -> Iterator[tuple[float, float]]:
    """(Unix second, watts) of a meter's CSV with the columns time_s and watts, or time_s, volts and amps. Raises: ConfigError."""
    try:
        whole = path.read_text(encoding="utf-8-sig").rpartition("\n")[0]  # the last line may be half written
        with io.StringIO(whole, newline="") as stream:
            rows = csv.DictReader(stream)
            names = {name.strip().lower(): name for name in rows.fieldnames or []}
            wanted = ("time_s", "watts") if "watts" in names else ("time_s", "volts", "amps")
            if missing := [name for name in wanted if name not in names]:
                raise ConfigError(f"{path}: it has no column {missing[0]}; it needs time_s and watts, or time_s, volts and amps")
            for number, row in enumerate(rows, 2):
                try:
                    at, *values = (float(row[names[name]]) for name in wanted)
                except (TypeError, ValueError):
                    raise ConfigError(f"{path}: line {number} is not all numbers; correct it") from None
                yield at, values[0] if len(values) == 1 else values[0] * values[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: the meter's file cannot be read ({getattr(error, 'strerror', None) or error})") from None


class FileMeter(PowerMeter):
    """What another program writes into such a file meanwhile; stop() reads it. to_clock_s: what Unix time lacks of the windows' clock."""

    def __init__(self, path: Path, to_clock_s: float) -> None:
        super().__init__(PowerSource(f"file {path.name}", "what the meter stands before", (Channel("watts", lambda: 0.0),)))
        self._path, self._to_clock_s = path, to_clock_s

    def start(self) -> None:
        """Raises: ConfigError for a file that is none, before anything is measured."""
        for _ in readings_of(self._path):
            pass

    def stop(self) -> None:
        self.readings = sorted((at + self._to_clock_s, (watts,)) for at, watts in readings_of(self._path))
