"""Progress for a person, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
EVERY_S = 10.0


def tell(line: str) -> None:
    """One line of progress."""
    print(f"auricle-export: {line}", file=sys.stderr, flush=True)


def told(items: Iterable[T], name: str, count: int) -> Iterator[T]:
    """The items, with a line every ten seconds. count: how many there are."""
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last >= EVERY_S:
            last = time.monotonic()
            tell(f"  {name}: {done} of {count}")
        yield item
