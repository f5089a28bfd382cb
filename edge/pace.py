"""How fast an open caption may change, for whoever reads it: revisions that come too soon or change too much are held back.

Counts the stream's own time, so that a file gives the same records every time. A final and a caption of priority are never held back.
"""

from __future__ import annotations

from dataclasses import replace

from edge.types import SAMPLE_RATE, Caption


class Pace:
    """reading_cps: characters that are read in a second, 0 for no limit. revised_words: most words that a revision may change of what is
    shown, None for no limit; words that are only added do not count.
    """

    def __init__(self, reading_cps: float = 0.0, revised_words: int | None = None) -> None:
        self._cps, self._most = reading_cps, revised_words
        self._shown: Caption | None = None
        self._read_at = 0.0
        """Sample at which what is shown has been read."""

    def admit(self, caption: Caption) -> Caption | None:
        """The caption as the next revision that is shown, or None where it is held back."""
        before = self._shown if self._shown is not None and self._shown.id == caption.id else None
        text = before.text if before is not None else ""
        if not caption.final and not caption.priority:
            if self._cps and before is not None and caption.stop < self._read_at:
                return None
            if self._most is not None and revised(text, caption.text) > self._most:
                return None
        if self._cps:
            new = len(caption.text) - _common(text, caption.text)
            self._read_at = caption.stop + new / self._cps * SAMPLE_RATE
        self._shown = replace(caption, revision=before.revision + 1 if before is not None else 1)
        return self._shown


def revised(old: str, new: str) -> int:
    """Words of `old` that are no longer in their places in `new`; the stop behind the last of them aside."""
    before, after = old.rstrip(" .").split(), new.rstrip(" .").split()
    kept = sum(a == b.rstrip(".,") or a == b for a, b in zip(before, after, strict=False))
    return len(before) - kept


def _common(a: str, b: str) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
