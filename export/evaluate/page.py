"""One page that holds everything: figures against the bars, pictures, and the worst scenes to listen to. Nothing is linked from outside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edge.types import SAMPLE_RATE, Samples
from export.evaluate.figure import HEADLINES, Figure, reached

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top } td:first-child { min-width: 17em }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } th { background: #f3f5f6 }
.aim { background: #dcefdc } .bar { background: #f2f0d0 } .short { background: #f4d9d3 } img { max-width: 100%; border: 1px solid #eee }
figure { margin: 1em 0 } figcaption, .small { color: #666; font-size: 13px } audio { width: 15em; height: 2.2em }
"""
WORDS = {"aim": "aim reached", "bar": "bar reached", "short": "short of the bar", "": ""}


def shown(number: float | None, unit: str) -> str:
    """A value as a person reads it."""
    if number is None:
        return "–"
    if unit == "share":
        return f"{100 * number:.1f} %"
    if unit == "bytes":
        return f"{number / 1e6:.2f} MB"
    return f"{number:.4g}{'/h' if unit == '1/h' else ' ' + unit}"


def ogg(samples: Samples) -> bytes:
    """float32[n] at 16 kHz as Ogg Vorbis."""
    import soundfile

    held = io.BytesIO()
    soundfile.write(held, samples, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return held.getvalue()


def data_url(kind: str, content: bytes) -> str:
    """Bytes inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def render(evaluation: Mapping[str, Any], pictures: Mapping[str, bytes], sound: Mapping[int, Samples]) -> str:
    """The page. pictures: PNG by caption. sound: samples by index of the failure cases."""
    bundle = evaluation["bundle"]
    title = f"Evaluation of {bundle['name']} {bundle['version']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _stamp(evaluation),
        "<h2>Figures</h2>",
        _headlines(evaluation),
        _skipped(evaluation["parts"]),
        "<h2>Pictures</h2>" if pictures else "",
        *(
            f'<figure><img alt="{escape(name)}" src="{data_url("image/png", png)}"><figcaption>{escape(name)}</figcaption></figure>'
            for name, png in pictures.items()
        ),
        _groups(evaluation["parts"]),
        _failures(evaluation["failures"], sound),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(part for part in parts if part) + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """Cells are HTML already; those that begin with a digit or a sign stand to the right. classes: of each row."""
    lines = []
    for row, kind in zip(rows, [*classes, *[""] * (len(rows) - len(classes))], strict=True):
        cells = "".join(f'<td class="n">{cell}</td>' if cell[:1] in "0123456789-+–" and cell else f"<td>{cell}</td>" for cell in row)
        lines.append(f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>")
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{''.join(lines)}</table>"


def _stamp(evaluation: Mapping[str, Any]) -> str:
    options, machine = evaluation["options"], evaluation["machine"]
    lines = [
        f"Through the runtime, on what the edition must not have been trained on: ESC-10 fold {options['fold']}, "
        f"FSDD speaker {options['speaker'] or 'none'}; seed {options['seed']}"
        + (", a tenth of everything (--quick)." * options["quick"] or "."),
        f"Manifest sha256 {evaluation['bundle']['manifest_sha256'][:16]}…, commit {evaluation['commit']}, {evaluation['date']}, "
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}.",
        "Not a life-safety device: these figures say how often it errs on sound like this, and nothing about yours.",
    ]
    return "".join(f'<p class="small">{escape(line)}</p>' for line in lines)


def _interval(figure: Figure) -> str:
    if figure["low"] is None:
        return ""
    return f"{shown(figure['low'], figure['unit'])} to {shown(figure['high'], figure['unit'])}"


def _headlines(evaluation: Mapping[str, Any]) -> str:
    figures, other = evaluation["figures"], evaluation.get("against")
    head = ["figure", "value", "95 %", "n", "bar", "aim", "", "sound"]
    if other:
        precisions = ", ".join(f"{role} {kind}" for role, kind in other["bundle"].get("precisions", {}).items())
        head += [f"{other['bundle']['name']} {other['bundle']['version']} {precisions}".strip(), "difference"]
    rows, classes = [], []
    for key, asked in HEADLINES.items():
        if key not in figures:
            continue
        figure = figures[key]
        unit, state = figure["unit"], reached(key, figure)
        row = [escape(asked.title), shown(figure["value"], unit), _interval(figure), str(figure["n"])]
        row += [shown(asked.bar, unit) if asked.bar is not None else "", shown(asked.aim, unit) if asked.aim is not None else ""]
        row += [WORDS[state], figure["origin"]]
        if other:
            twin, apart = other["figures"].get(key), other["difference"].get(key)
            row += [
                shown(twin["value"], unit) if twin else "",
                "" if apart is None else f"{apart:+.4g} points" if unit == "share" else f"{'+' if apart > 0 else ''}{shown(apart, unit)}",
            ]
        rows.append(row)
        classes.append(state)
    return table(head, rows, classes)


def _skipped(parts: Mapping[str, Any]) -> str:
    lines = [f"{name}: {part['skipped']}" for name, part in parts.items() if "skipped" in part]
    return "<p>Not examined:</p><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _groups(parts: Mapping[str, Any]) -> str:
    """Figures by kind of scene, by counted label and by digit, in small tables."""
    found = []
    for name, key, title in (("counts", "by_label", "Counts exact, by label"), ("digits", "by_digit", "Digits right, by digit")):
        shares = parts.get(name, {}).get(key, {})
        rows = [[escape(label), shown(f["value"], f["unit"]), _interval(f), str(f["n"]), f["origin"]] for label, f in shares.items()]
        found.append(f"<h2>{title}</h2>" + table(["", "right", "95 %", "n", "sound"], rows) if rows else "")
    kinds = parts.get("scenes", {}).get("by_kind", {})
    if kinds:
        keys = list(next(iter(kinds.values())))
        rows = [[escape(kind), *(shown(figures[key]["value"], "share") for key in keys)] for kind, figures in kinds.items()]
        found.append("<h2>Two-sound scenes, by kind</h2>" + table(["scenes", *(key.replace("_", " ") for key in keys)], rows))
    claimed = parts.get("quiet", {})
    rows = [[name, escape(label), str(n)] for name in ("noise", "speech") for label, n in claimed.get(name, {}).get("sounds", {}).items()]
    found.append("<h2>False sounds</h2>" + table(["on", "label", "records"], rows) if rows else "")
    return "\n".join(part for part in found if part)


def _failures(failures: Sequence[Mapping[str, Any]], sound: Mapping[int, Samples]) -> str:
    if not failures:
        return ""
    rows = []
    for scene in failures:
        events = "<br>".join(f"{e['start_s']:.2f}–{e['stop_s']:.2f} s {escape(e['label'])}, {e['dbfs']:.0f} dBFS" for e in scene["events"])
        heard = "<br>".join(f"{s['start_s']:.2f}–{s['stop_s']:.2f} s {escape(s['label'])}" for s in scene["heard"])
        said = escape(scene["said"]) or "<i>nothing</i>"
        player = (
            f'<audio controls preload="none" src="{data_url("audio/ogg", ogg(sound[scene["index"]]))}"></audio>'
            if scene["index"] in sound
            else ""
        )
        rows.append([f"{scene['index']}", f"{scene['kind']}, {scene['origin']}", f" {events}", said, f" {heard}", player])
    return "<h2>The worst scenes</h2>" + table(["scene", "kind", "what sounded", "what was said", "sounds heard", "listen"], rows)
