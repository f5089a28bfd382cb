"""The figures of a result, one after another, as the terminal, the page and a comparison show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
LATE = {"partial": "partial caption after its audio", "final": "final after the gate closes", "sound": "sound after its onset"}


@dataclass(frozen=True, slots=True)
class Figure:
    """value None: not measured, note says why. note: what it rests on."""

    group: str
    name: str
    value: float | None
    unit: str
    note: str = ""


def figures(result: dict[str, Any]) -> Iterator[Figure]:
    """Every figure that a person would compare, in the order of the page."""
    for name, told in result["startup_ms"].items():
        yield Figure("start-up", name, told["p50"] if told["p50"] is not None else told["max"], "ms", _rests(told))
    fast = result["offline"]
    window = f"{fast['audio_s']:g} s of audio in {fast['window_s']:g} s"
    yield Figure("as fast as it goes", "real-time factor", fast["real_time_factor"], "", window)
    yield Figure("as fast as it goes", "CPU for an hour of audio", fast["cpu_s_per_audio_hour"], "s", window)
    for step, told in fast["steps"].items():
        note = f"{100 * told['duty']:.1f} % of the audio, {told['calls']} calls"
        yield Figure("as fast as it goes", f"CPU of {step} for an hour", told["cpu_s_per_audio_hour"], "s", note)
    live = result["live"]
    for kind, what in LATE.items():
        told = live["late_ms"][kind]
        for percent in ("p50", "p95", "p99"):
            note = _rests(told) if told[percent] is not None else f"too few: n = {told['n']}"
            yield Figure("at the speed of real time", f"{what}, {percent}", told[percent], "ms", note)
    yield Figure("at the speed of real time", "share of one core", 100 * live["cpu_share_of_one_core"], "%", f"{live['seconds']:g} s")
    memory = live["memory_mb"]
    yield Figure("memory", "resident at the start", memory["start"], "MB")
    yield Figure("memory", "most", memory["peak"], "MB", f"{live['seconds']:g} s")
    slope_note = "" if memory["slope_per_hour"] is not None else "runs shorter than ten minutes have none"
    yield Figure("memory", "growth in an hour", memory["slope_per_hour"], "MB", slope_note)
    heat = live["heat"]
    note = "" if heat["after_c"] is not None else "this machine tells no temperature"
    yield Figure("heat", "hottest after the run", heat["after_c"], "°C", note)
    note = "" if heat["throttled"] is not None else "this machine does not tell"
    yield Figure("heat", "times that the processor was slowed down", heat["throttled"], "", note)
    yield from _energy(live["energy"])


def _energy(energy: dict[str, Any]) -> Iterator[Figure]:
    if energy["joules"] is None:
        yield Figure("energy", "joules", None, "J", energy["why"])
        return
    scope = f"{energy['source']}, {energy['scope']}; {energy['readings']} readings, largest gap {energy['largest_gap_s']:g} s"
    yield Figure("energy", "mean power", energy["watts"], "W", scope)
    yield Figure("energy", "mean power when idle", energy["idle_watts"], "W", scope)
    yield Figure("energy", "above idle", energy["net_joules"], "J", energy["why"] or scope)
    yield Figure("energy", f"a captioned minute ({energy['of']})", energy["per_captioned_minute"], "J", scope)
    yield Figure("energy", f"a caption ({energy['of']})", energy["per_caption"], "J", scope)


def _rests(told: dict[str, Any]) -> str:
    return f"n = {told['n']}" + (f", at most {told['max']:g}" if told["max"] is not None else "")


def shown(figure: Figure) -> str:
    """Value and unit, or that it was not measured."""
    if figure.value is None:
        return "not measured"
    return f"{figure.value:,.4g}".replace(",", " ") + (f" {figure.unit}" if figure.unit else "")


def lines(result: dict[str, Any]) -> list[str]:
    """The table for a terminal."""
    machine, bundle = result["machine"], result["bundle"]
    told = [
        f"{machine['model']}, {machine['cores']} cores, governor {machine['governor']}, load {machine['load_1min']:g}; {machine['system']}",
        f"auricle {machine['auricle']}, bundle {_named(bundle)}, profile {result['profile'] or 'none'}, {machine['date']}",
    ]
    if result["quick"]:
        told.append("quick: windows shorter than ten seconds; not to be quoted")
    group = ""
    for figure in figures(result):
        if figure.group != group:
            group = figure.group
            told.append(group)
        told.append(f"  {figure.name:<44} {shown(figure):>14}  {figure.note}".rstrip())
    return told


def _named(bundle: dict[str, Any]) -> str:
    return f"{bundle['name']} {bundle['version']} ({' '.join(bundle['models'].values())})"


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What makes two results hard to compare, one sentence each."""
    found = []
    for key, what in (("model", "machines"), ("cores", "numbers of cores"), ("governor", "governors"), ("auricle", "versions of auricle")):
        if one["machine"][key] != other["machine"][key]:
            found.append(f"the {what} differ: {one['machine'][key]} and {other['machine'][key]}")
    if one["bundle"] != other["bundle"]:
        found.append(f"the bundles differ: {_named(one['bundle'])} and {_named(other['bundle'])}")
    if one["input"] != other["input"]:
        found.append(f"the inputs differ: {one['input']} and {other['input']}")
    if one["quick"] or other["quick"]:
        found.append("at least one was measured with --quick")
    return found


def compared(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[Figure, Figure, float | None]]:
    """(figure of one, the same of the other, one / other) of what both have."""
    others = {(figure.group, figure.name): figure for figure in figures(other)}
    found = []
    for figure in figures(one):
        twin = others.get((figure.group, figure.name))
        if twin is not None:
            ratio = figure.value / twin.value if figure.value is not None and twin.value else None
            found.append((figure, twin, ratio))
    return found
