"""What must not be overlooked: sounds by words of their labels (alarm, siren, glass, …), and names in what is said."""

from __future__ import annotations

import re

SEPARATOR = re.compile(r"[;,]")


class Priority:
    """sounds, names: words or phrases with `;` or `,` between them. A label or a text matches where it holds one as whole words, in
    capitals or not.
    """

    def __init__(self, sounds: str = "", names: str = "") -> None:
        self._sounds, self._names = _pattern(sounds), _pattern(names)

    def of_label(self, label: str) -> bool:
        """Whether a sound of that label is of priority."""
        return self._sounds is not None and self._sounds.search(label) is not None

    def of_text(self, text: str) -> bool:
        """Whether one of the names is said."""
        return self._names is not None and self._names.search(text) is not None


def _pattern(listed: str) -> re.Pattern[str] | None:
    words = [" ".join(word.split()) for word in SEPARATOR.split(listed)]
    found = [re.escape(word) for word in words if word]
    return re.compile(rf"(?<!\w)(?:{'|'.join(found)})(?!\w)", re.IGNORECASE) if found else None
