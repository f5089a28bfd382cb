"""What a user should know about a file that was captioned all the same: one line each on standard error."""

from __future__ import annotations

from edge.commands.stderr import tell
from edge.types import Caption, Record, Sound, Speech, Vitals


class Heard:
    """Watches the records of one file, so that an empty answer is not taken for a failure."""

    def __init__(self) -> None:
        self._sounds = self._captions = 0

    def watch(self, record: Record | Vitals) -> None:
        """Counts finals that say something, and anything else that was heard."""
        if isinstance(record, Caption):
            self._captions += record.final and bool(record.text.strip())
        elif isinstance(record, (Sound, Speech)):
            self._sounds += 1

    def tell(self, name: str) -> None:
        """Says why there is no caption, where there is none."""
        if not self._captions:
            tell(f"no caption for what was heard in {name}; --format jsonl shows it" if self._sounds else f"nothing heard in {name}")
