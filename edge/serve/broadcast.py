"""Records for any number of readers: numbered, the newest kept for those who come back, none held up by another.

Any thread. A reader that is slower than the stream loses its oldest waiting records and is told how many; the writer never waits.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

BACKLOG = 10_000
"""Records that are kept for readers who come back: hours of a room, minutes of a crowd."""
BOUND = 1_024
"""Records that may wait for one reader."""


@dataclass(frozen=True, slots=True)
class Told:
    """One record with its number; line: the same as one line of JSON, UTF-8, its end included."""

    seq: int
    record: dict[str, Any]
    line: bytes


def line_of(record: dict[str, Any]) -> bytes:
    """One line of JSON."""
    return (json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode("utf-8", "replace")


class Subscription:
    """One reader's place in the stream: a snapshot first, then records, and a `lag` where some were lost. Use it as a context manager."""

    def __init__(self, broadcast: Broadcast, bound: int, wake: Callable[[], None] | None) -> None:
        self._broadcast, self._bound, self._wake = broadcast, bound, wake
        self._changed = threading.Condition()
        self._waiting: deque[Told] = deque()
        self._missed = self._last = 0
        self._over = False

    def offer(self, told: Told) -> None:
        """The writer's side: never waits."""
        with self._changed:
            if len(self._waiting) >= self._bound:
                self._waiting.popleft()
                self._missed += 1
            self._waiting.append(told)
            self._changed.notify()
        if self._wake is not None:
            self._wake()

    def end(self) -> None:
        """Nothing follows what waits."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._wake is not None:
            self._wake()

    def get(self, timeout_s: float | None = None) -> Told | None:
        """The next record, a lag first where records were lost before it; None when none came in time or the stream is over."""
        with self._changed:
            if not self._waiting and not self._over:
                self._changed.wait(timeout_s)
            if not self._waiting:
                return None
            if self._missed:
                lag = {"type": "lag", "missed": self._missed, "after": self._last}
                self._missed = 0
                return Told(self._last, lag, line_of(lag))
            told = self._waiting.popleft()
            self._last = told.seq or self._last
            return told

    @property
    def over(self) -> bool:
        """Whether the stream has ended and nothing waits."""
        with self._changed:
            return self._over and not self._waiting

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while not self.over:
            told = self.get(1.0)
            if told is not None:
                yield told.record

    def close(self) -> None:
        """Leaves the stream."""
        self._broadcast.leave(self)
        self.end()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Broadcast:
    """epoch: names this life of the stream; numbers start at 1 in each."""

    def __init__(self, backlog: int = BACKLOG) -> None:
        self.epoch = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()
        self._kept: deque[Told] = deque(maxlen=backlog)
        self._readers: list[Subscription] = []
        self._seq = 0
        self._over = False
        self._counts: Counter[str] = Counter()
        self._session: dict[str, Any] | None = None
        self._status: dict[str, Any] | None = None
        self._caption: dict[str, Any] | None = None
        self._sounds: dict[int, dict[str, Any]] = {}

    def publish(self, record: dict[str, Any]) -> int:
        """Numbers a record of the contract and gives it to every reader. Returns its number."""
        with self._lock:
            self._seq += 1
            numbered = {**record, "seq": self._seq}
            told = Told(self._seq, numbered, line_of(numbered))
            self._kept.append(told)
            self._remember(numbered)
            for reader in self._readers:
                reader.offer(told)
            return self._seq

    def _remember(self, record: dict[str, Any]) -> None:
        kind = record["type"]
        self._counts[kind] += 1
        if kind == "session":
            self._session, self._caption, self._status = record, None, None
            self._sounds.clear()
        elif kind == "status":
            self._status = record
        elif kind == "caption":
            self._caption = None if record["final"] else record
        elif kind == "sound" and record["state"] == "start":
            self._sounds[record["id"]] = record
        elif kind == "sound":
            self._sounds.pop(record["id"], None)

    @property
    def status(self) -> dict[str, Any] | None:
        """The newest status record."""
        with self._lock:
            return self._status

    @property
    def counts(self) -> dict[str, int]:
        """Records told, by type."""
        with self._lock:
            return dict(self._counts)

    @property
    def readers(self) -> int:
        """How many read along."""
        with self._lock:
            return len(self._readers)

    def _snapshot(self, resumed: bool) -> Told:
        state = {
            **{"type": "snapshot", "seq": self._seq, "epoch": self.epoch, "resumed": resumed, "session": self._session},
            **{"sounds": list(self._sounds.values()), "caption": self._caption, "status": self._status},
        }
        return Told(0, state, line_of(state))

    def subscribe(
        self,
        after: int | None = None,
        epoch: str | None = None,
        last: int = 0,
        bound: int = BOUND,
        wake: Callable[[], None] | None = None,
    ) -> Subscription:
        """A reader from here on, or behind number `after` where all that followed it is still kept, without holes or doubles.

        epoch: the one that `after` was of; another one's cannot be resumed. last: where nothing is resumed, so many of the newest records
        follow the snapshot all the same. wake: called, from any thread, whenever there is something new.
        """
        with self._lock:
            oldest = self._kept[0].seq if self._kept else self._seq + 1
            known = after is not None and epoch in (None, self.epoch) and oldest - 1 <= after <= self._seq
            from_here = after if known and after is not None else self._seq - max(0, last)
            missing = [told for told in self._kept if told.seq > from_here]
            reader = Subscription(self, max(bound, len(missing) + 1), wake)
            reader.offer(self._snapshot(known))
            for told in missing:
                reader.offer(told)
            if self._over:
                reader.end()
            else:
                self._readers.append(reader)
            return reader

    def leave(self, reader: Subscription) -> None:
        """The reader gets nothing more."""
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)

    def close(self) -> None:
        """Readers get what waits for them, and the end."""
        with self._lock:
            self._over = True
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.end()
