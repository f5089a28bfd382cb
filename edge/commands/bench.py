"""`auricle bench`: what this device needs for a bundle, as a table, as JSON and as a page."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands import DONE, options
from edge.commands.stderr import tell
from edge.commands.stdout import refusal, say
from edge.errors import ConfigError
from edge.profiles import PROFILES

if TYPE_CHECKING:
    from edge.bench.run import Plan
    from edge.config import Config
    from edge.power import PowerMeter

DEMO = Path(__file__).parents[1] / "data/demo_scene.flac"
QUICK_S, QUICK_LIVE_S = 2.0, 5.0


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints a table, writes what was asked for, after each profile what there is so far. Raises: ConfigError, EdgeError."""
    configs = []
    for profile in PROFILES if arguments.profile == "all" else (arguments.profile,):
        arguments.profile = profile
        configs.append(options.config(arguments))
    other = _other(arguments.compare) if arguments.compare else None
    live_s = QUICK_LIVE_S if arguments.quick else options.number("--seconds", arguments.seconds or "60", 10, 86_400)
    from edge.bench.run import WINDOW_S, Plan, files_of
    from edge.bench.table import lines

    path = Path(arguments.input) if arguments.input else DEMO
    window_s = QUICK_S if arguments.quick else WINDOW_S
    plan = Plan(tuple(files_of(path)), window_s, live_s, window_s)
    results: list[dict[str, Any]] = []
    for config in configs:
        results.append(_measured(config, plan, path.name, arguments.quick, arguments.power_csv))
        say("\n".join(lines(results[-1])))
        _write(results, other, arguments)
    return DONE


def _measured(config: Config, plan: Plan, name: str, quick: bool, power_csv: str | None) -> dict[str, Any]:
    from edge.bench import machine
    from edge.bench.run import Live, offline
    from edge.bench.startup import startup
    from edge.bench.table import SCHEMA

    meter, why = _meter(power_csv)
    stamp = machine.stamp()
    times = 1 if quick else 5
    tell(f"starting up, {3 * times} processes")
    started = startup(str(plan.files[0]), config.bundle, times)
    with options.line(config) as line:
        told: dict[str, Any] = {"offline": offline(line, plan, tell)}
        told["live"] = Live(line, plan, meter).measure(tell)
        if meter is None:
            told["live"]["energy"] = {"joules": None, "why": why}
        bundle = machine.bundle_stamp(line.bundle)
    heads = {"schema": SCHEMA, "machine": stamp, "bundle": bundle, "profile": config.profile, "input": name, "quick": quick}
    return {**heads, "startup_ms": started, **told}


def _meter(power_csv: str | None) -> tuple[PowerMeter | None, str]:
    from edge.meter_file import FileMeter
    from edge.power import PowerMeter, find

    if power_csv is not None:
        return FileMeter(Path(power_csv), time.monotonic() - time.time()), ""
    source, why = find()
    return (None if source is None else PowerMeter(source)), why


def _other(path: str) -> dict[str, Any]:
    """A result that was written with --json. Raises: ConfigError."""
    try:
        found = json.loads(Path(path).read_text())
        found = found[0] if isinstance(found, list) else found
        if not {"machine", "bundle", "offline", "live", "startup_ms", "quick", "input", "profile"} <= set(found):
            raise ValueError("it is no result of auricle bench")
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise ConfigError(f"{path}: it cannot be compared with ({error}); name a file that auricle bench wrote with --json") from None
    assert isinstance(found, dict)
    return found


def _write(results: list[dict[str, Any]], other: dict[str, Any] | None, arguments: argparse.Namespace) -> None:
    from edge.bench.page import page
    from edge.bench.table import compared, differences, shown

    beside = other if other is not None else (results[0] if len(results) > 1 else None)
    if beside is not None:
        last = results[-1]
        say("\n".join(["beside the other result", *(f"  {sentence}" for sentence in differences(last, beside))]))
        for figure, twin, ratio in compared(last, beside):
            if ratio is not None:
                say(f"  {figure.name:<44} {shown(figure):>14} {shown(twin):>14}  {ratio:6.2f}")
    for path, text in (
        (arguments.json, json.dumps(results if len(results) > 1 else results[0], indent=1, ensure_ascii=False) + "\n"),
        (arguments.html, page(results[-1], beside)),
    ):
        if path:
            try:
                Path(path).write_text(text, encoding="utf-8")
            except OSError as error:
                raise refusal(error, os.fspath(path)) from None
