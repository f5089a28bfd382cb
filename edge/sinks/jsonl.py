"""JSON Lines: one record, one line, one write."""

from __future__ import annotations

import json
from typing import TextIO

from edge.sinks.record import as_dict
from edge.types import Record, Vitals


class JsonLines:
    """Writes each record as one JSON object and flushes it. stream: text, UTF-8."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: Record | Vitals) -> None:
        if not isinstance(record, Vitals):
            self._stream.write(json.dumps(as_dict(record), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
            self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
