"""How many cells of a terminal a text takes, and where it breaks. Source: Unicode TR 11 (East Asian Width), combining marks take none."""

from __future__ import annotations

import unicodedata


def cells(character: str) -> int:
    """Cells of one printable character: 0, 1 or 2."""
    if character < "\u0300":
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """The beginning of `text` that fits into `width` cells."""
    taken = 0
    for i, character in enumerate(text):
        taken += cells(character)
        if taken > width:
            return text[:i]
    return text


def wrap(text: str, width: int) -> list[tuple[int, int]]:
    """Lines of at most `width` cells (>= 2) as spans of `text`, broken at spaces where there are any; spaces at a break are left out."""
    lines: list[tuple[int, int]] = []
    start, stop = 0, len(text)
    while True:
        while start < stop and text[start] == " ":
            start += 1
        if start >= stop:
            return lines
        end, taken = start, 0
        while end < stop and taken + cells(text[end]) <= width:
            taken += cells(text[end])
            end += 1
        if end < stop and text[end] != " ":
            space = text.rfind(" ", start, end)
            end = space if space > start else end
        lines.append((start, start + len(text[start:end].rstrip(" "))))
        start = end
