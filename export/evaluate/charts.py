"""Pictures of an evaluation as PNG bytes: confusion, counts, skills of questions, onset errors."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from export.train.language import PHRASES

INK = "#20506b"


def charts(parts: Mapping[str, Any]) -> dict[str, bytes]:
    """Every picture that the parts give, by its caption. Needs matplotlib."""
    found: dict[str, bytes] = {}
    clips, counts, digits, questions, scenes = (parts.get(name, {}) for name in ("clips", "counts", "digits", "questions", "scenes"))
    if clips.get("confusion"):
        found["Clips: class (row) and strongest sound (column)"] = confusion(clips["confusion"], "strongest sound")
    if scenes.get("onsets_ms"):
        found["Onset errors in two-sound scenes"] = onsets(scenes["onsets_ms"])
    if scenes.get("by_label") and "captions_invent" in scenes["figures"]:
        found["Two-sound scenes: missed and invented, by label"] = by_label(scenes["by_label"])
    if counts.get("table"):
        found["Counts: how many there were (row), how many were said (column)"] = confusion(counts["table"], "said")
    if digits.get("confusion"):
        found["Digits: said (row) and captioned (column)"] = confusion(digits["confusion"], "captioned")
    if questions.get("by_skill"):
        found["Questions right, by skill"] = skills(questions["by_skill"])
    return found


@contextmanager
def _picture(width: float, height: float, into: list[bytes]) -> Iterator[Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    yield figure.subplots()
    held = io.BytesIO()
    figure.savefig(held, format="png")
    into.append(held.getvalue())


def short(label: str) -> str:
    """Enough of a label to know it."""
    return label.split(",")[0][:18]


def confusion(table: Mapping[str, Mapping[str, int]], heard: str) -> bytes:
    """{true: {heard: n}} as a matrix, columns in the order of the rows and then what else was heard."""
    rows = list(table)
    rest = sorted({name for row in table.values() for name in row} - set(rows))
    columns = ["0", *rows, *(name for name in rest if name != "0")] if rows == ["1", "2", "3", "4"] else [*rows, *rest]
    numbers = np.array([[table[row].get(column, 0) for column in columns] for row in rows])
    made: list[bytes] = []
    with _picture(2.2 + 0.42 * len(columns), 1.6 + 0.36 * len(rows), made) as axes:
        axes.imshow(numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (y, x), n in np.ndenumerate(numbers):
            if n:
                axes.text(x, y, str(n), ha="center", va="center", fontsize=8, color="white" if n > numbers[y].sum() / 2 else "black")
        axes.set_xticks(range(len(columns)), [short(c) for c in columns], rotation=55, ha="right", fontsize=8)
        axes.set_yticks(range(len(rows)), [short(r) for r in rows], fontsize=8)
        axes.set_xlabel(heard)
    return made[0]


def skills(by_skill: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A bar with its interval for each skill that was asked for."""
    asked = {name: figure for name, figure in by_skill.items() if figure["value"] is not None}
    values = [100 * figure["value"] for figure in asked.values()]
    spread = [[v - 100 * f["low"] for v, f in zip(values, asked.values(), strict=True)]]
    spread.append([100 * f["high"] - v for v, f in zip(values, asked.values(), strict=True)])
    made: list[bytes] = []
    with _picture(6.4, 1.0 + 0.28 * len(asked), made) as axes:
        axes.barh(range(len(asked)), values, xerr=np.maximum(spread, 0), color=INK, ecolor="#888888", capsize=2)
        axes.set_yticks(range(len(asked)), [f"{name} ({figure['n']})" for name, figure in asked.items()], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% right, 95 % interval")
    return made[0]


def onsets(errors_ms: Sequence[float]) -> bytes:
    """Histogram of signed errors; what lies beyond a second is gathered at the edge."""
    made: list[bytes] = []
    with _picture(6.4, 2.6, made) as axes:
        axes.hist(np.clip(errors_ms, -1000, 1000), bins=50, range=(-1000, 1000), color=INK)
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.set_xlabel("ms from the true onset (late is right)")
        axes.set_ylabel("sounds")
    return made[0]


def by_label(table: Mapping[str, Mapping[str, int]]) -> bytes:
    """Missed to the left and invented to the right, beside how often the label was there."""
    labels = [label for label in PHRASES if label in table]
    made: list[bytes] = []
    with _picture(6.4, 1.0 + 0.26 * len(labels), made) as axes:
        axes.barh(range(len(labels)), [-table[label]["missed"] for label in labels], color="#b5533c", label="missed")
        axes.barh(range(len(labels)), [table[label]["invented"] for label in labels], color="#c9a227", label="invented")
        axes.set_yticks(range(len(labels)), [f"{short(label)} ({table[label]['there']})" for label in labels], fontsize=8)
        axes.invert_yaxis()
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.legend(fontsize=8)
        axes.set_xlabel("scenes")
    return made[0]
