"""One page of HTML that needs nothing else: tables with their notes, and plots drawn as SVG. Everything that is not ours is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from edge.bench.table import compared, differences, figures, shown

WIDTH, BAR = 640, 22
INK, SOFT, FILLED = "#1a1a1a", "#667085", "#2563eb"
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:56rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}p{margin:.3rem 0}small,td.note,figcaption{color:#667085;font-size:.85rem}
table{border-collapse:collapse;width:100%}
td,th{padding:.25rem .5rem;border-bottom:1px solid #e5e7eb;text-align:left;vertical-align:top}
table{table-layout:fixed}td:first-child{width:44%}td.value{width:18%;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
figure{margin:1rem 0}svg{max-width:100%;height:auto}
.warning{background:#fff7ed;border-left:4px solid #d97706;padding:.5rem .75rem}
@media(max-width:40rem){tr{display:grid;grid-template-columns:1fr auto;border-bottom:1px solid #e5e7eb}
td:first-child,td.value{width:auto;white-space:normal}td,th{border:0;padding:.2rem .3rem}td.note{grid-column:1/-1;padding-top:0}
tr:has(th),tr:has(td:nth-child(4)){grid-template-columns:2fr 1fr 1fr 1fr}}
"""


def page(result: dict[str, Any], other: dict[str, Any] | None = None) -> str:
    """A whole document. other: a second result beside it."""
    machine, bundle = result["machine"], result["bundle"]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>auricle bench: {escape(machine['model'])}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(bundle['name'])} {escape(bundle['version'])} on {escape(machine['model'])}</h1>",
        f"<p>{machine['cores']} cores, governor {escape(machine['governor'])}, load {machine['load_1min']:g} before; "
        f"{escape(machine['system'])}; auricle {escape(machine['auricle'])}; profile {escape(result['profile'] or 'none')}; "
        f"input {escape(result['input'])}; {escape(machine['date'])}</p>",
    ]
    if result["quick"]:
        parts.append("<p class=warning>Measured with --quick: windows shorter than ten seconds, not to be quoted.</p>")
    if other is not None:
        parts += _beside(result, other)
    parts += _plots(result)
    group = ""
    for figure in figures(result):
        if figure.group != group:
            parts.append(("</table>" if group else "") + f"<h2>{escape(figure.group)}</h2><table>")
            group = figure.group
        parts.append(
            f"<tr><td>{escape(figure.name)}</td><td class=value>{escape(shown(figure))}</td><td class=note>{escape(figure.note)}</td></tr>"
        )
    parts.append(
        "</table><p><small>p95 is told from 20 values on, p99 from 100. CPU is that of this program's threads; start-up is the time of a "
        "whole process.</small></p></body></html>"
    )
    return "\n".join(parts) + "\n"


def _beside(result: dict[str, Any], other: dict[str, Any]) -> list[str]:
    parts = [f"<p class=warning>{escape(sentence)}.</p>" for sentence in differences(result, other)]
    parts.append("<h2>beside the other result</h2><table><tr><th>figure</th><th>this</th><th>other</th><th>this / other</th></tr>")
    for figure, twin, ratio in compared(result, other):
        times = "" if ratio is None else f"{ratio:.2f}"
        parts.append(
            f"<tr><td>{escape(figure.name)}</td><td class=value>{escape(shown(figure))}</td><td class=value>{escape(shown(twin))}</td>"
            f"<td class=value>{times}</td></tr>"
        )
    return [*parts, "</table>"]


def _plots(result: dict[str, Any]) -> list[str]:
    steps = [(name, told["cpu_s_per_audio_hour"]) for name, told in result["offline"]["steps"].items()]
    late = [
        (f"{kind} {percent}", told[percent])
        for kind, told in result["live"]["late_ms"].items()
        for percent in ("p50", "p95")
        if told[percent] is not None
    ]
    return [
        _figure(_bars(steps, "s"), "CPU seconds of each step for an hour of this audio"),
        _figure(_bars(late, "ms"), "milliseconds behind: captions after their audio, sounds after their onset"),
        _figure(_curve(result["live"]["memory_mb"]["over_time"]), "resident memory in MB over the seconds of the run"),
    ]


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" if svg else ""


def _bars(values: Sequence[tuple[str, float]], unit: str) -> str:
    """Horizontal bars with their values behind them."""
    if not values:
        return ""
    most = max(value for _, value in values) or 1.0
    left, right = 130, 90
    rows = []
    for at, (name, value) in enumerate(values):
        y, width = at * (BAR + 8), max(1.0, (WIDTH - left - right) * value / most)
        rows.append(
            f"<text x='{left - 8}' y='{y + 16}' text-anchor='end'>{escape(name)}</text>"
            f"<rect x='{left}' y='{y}' width='{width:.1f}' height='{BAR}' rx='3' fill='{FILLED}'/>"
            f"<text x='{left + width + 6:.1f}' y='{y + 16}'>{value:,.4g} {escape(unit)}</text>"
        )
    height = len(values) * (BAR + 8)
    return f"<svg viewBox='0 0 {WIDTH} {height}' role='img' font-size='13' fill='{INK}'>{''.join(rows)}</svg>"


def _curve(points: Sequence[Sequence[float]]) -> str:
    """A line over time, its axis from nought."""
    if len(points) < 2:
        return ""
    left, low, height = 48, 20, 160
    last, most = points[-1][0] or 1.0, max(value for _, value in points) * 1.1 or 1.0
    wide, high = (WIDTH - left - 10) / last, (height - low - 10) / most
    line = " ".join(f"{left + wide * at:.1f},{height - low - high * value:.1f}" for at, value in points)
    base = height - low
    return (
        f"<svg viewBox='0 0 {WIDTH} {height}' role='img' font-size='13' fill='{SOFT}'>"
        f"<line x1='{left}' y1='{base}' x2='{WIDTH - 10}' y2='{base}' stroke='{SOFT}'/><line x1='{left}' y1='10' x2='{left}' y2='{base}' "
        f"stroke='{SOFT}'/><text x='{left - 6}' y='{base}' text-anchor='end'>0</text><text x='{left - 6}' y='20' text-anchor='end'>"
        f"{most:.0f}</text><text x='{WIDTH - 10}' y='{height - 4}' text-anchor='end'>{last:.0f} s</text>"
        f"<polyline points='{line}' fill='none' stroke='{FILLED}' stroke-width='2'/></svg>"
    )
