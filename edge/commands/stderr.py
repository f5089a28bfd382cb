"""What a command tells beside its output, on standard error."""

from __future__ import annotations

import sys
from contextlib import suppress


def tell(sentence: str) -> None:
    """One line for whoever reads along. Where nobody can (a log on a full disk, a pipe whose reader left) the command goes on without."""
    with suppress(OSError, ValueError):
        print(f"auricle: {sentence}", file=sys.stderr, flush=True)
