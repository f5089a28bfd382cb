"""Records for any number of readers: numbered, the newest kept for those who come back, none held up by another.

Any thread. A reader that is slower than the stream loses its oldest waiting records and is told how many; the writer never waits.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
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
    """One reader's place in the stream: a snapshot first, then records, and a `lag` where some were lost. Use it as a context manager.

    It is a number in the stream's own log, so a reader who takes nothing costs the writer nothing.
    """

    def __init__(self, broadcast: Broadcast, snapshot: Told, after: int, bound: int, wake: Callable[[], None] | None) -> None:
        """The broadcast's lock is held. after: number of the newest record that is not to come. bound: records that may wait."""
        self._broadcast, self._bound, self._wake = broadcast, bound, wake
        self._changed = threading.Condition(broadcast.lock)
        self._snapshot: Told | None = snapshot
        self._after = self._told = after
        self._left = False
        self.idle = wake is not None
        """Whether it has been told everything, and is to be woken for what follows."""

    def woken(self) -> None:
        """There is something new, or the end. The broadcast's lock is held."""
        self.idle = False
        self._changed.notify()
        if self._wake is not None:
            self._wake()

    def get(self, timeout_s: float | None = None) -> Told | None:
        """The next record, a lag first where records were lost before it; None when none came in time or the stream is over."""
        with self._changed:
            told = self._next()
            if told is None and not self._ended and timeout_s != 0:
                self._changed.wait(timeout_s)
                told = self._next()
            return told

    def _next(self) -> Told | None:
        if self._snapshot is not None:
            told, self._snapshot = self._snapshot, None
            return told
        waiting = self._broadcast.newest - self._after
        if waiting > self._bound:
            missed, self._after = waiting - self._bound, self._after + waiting - self._bound
            lag = {"type": "lag", "missed": missed, "after": self._told}
            return Told(self._told, lag, line_of(lag))
        if waiting == 0:
            self.idle = True
            return None
        self._after = self._told = self._after + 1
        return self._broadcast.numbered(self._after)

    @property
    def _ended(self) -> bool:
        return self._left or self._broadcast.over

    @property
    def over(self) -> bool:
        """Whether the stream has ended and nothing waits."""
        with self._changed:
            return self._ended and self._snapshot is None and self._broadcast.newest == self._after

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while not self.over:
            told = self.get(1.0)
            if told is not None:
                yield told.record

    def close(self) -> None:
        """Leaves the stream: what is new is not told any more."""
        self._broadcast.leave(self)

    def leave(self) -> None:
        """The broadcast's lock is held."""
        self._left, self._snapshot, self._after = True, None, self._broadcast.newest
        self.woken()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Broadcast:
    """epoch: names this life of the stream; numbers start at 1 in each."""

    def __init__(self, backlog: int = BACKLOG) -> None:
        self.epoch = uuid.uuid4().hex[:12]
        self.lock = threading.Lock()
        """What follows, and every reader's place, is read and changed under it."""
        self.newest = 0
        """Number of the newest record."""
        self.over = False
        self._backlog = backlog
        self._kept: dict[int, Told] = {}
        self._readers: list[Subscription] = []
        self._counts: Counter[str] = Counter()
        self._session: dict[str, Any] | None = None
        self._status: dict[str, Any] | None = None
        self._caption: dict[str, Any] | None = None
        self._sounds: dict[int, dict[str, Any]] = {}

    def publish(self, record: dict[str, Any]) -> int:
        """Numbers a record of the contract and gives it to every reader. Returns its number."""
        with self.lock:
            self.newest += 1
            numbered = {**record, "seq": self.newest}
            self._kept[self.newest] = Told(self.newest, numbered, line_of(numbered))
            self._kept.pop(self.newest - self._backlog, None)
            self._remember(numbered)
            for reader in self._readers:
                if reader.idle:
                    reader.woken()
            return self.newest

    def numbered(self, number: int) -> Told:
        """A record that is still kept. The lock is held."""
        return self._kept[number]

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
        with self.lock:
            return self._status

    @property
    def counts(self) -> dict[str, int]:
        """Records told, by type."""
        with self.lock:
            return dict(self._counts)

    @property
    def readers(self) -> int:
        """How many read along."""
        with self.lock:
            return len(self._readers)

    def _snapshot(self, resumed: bool) -> Told:
        state = {
            **{"type": "snapshot", "seq": self.newest, "epoch": self.epoch, "resumed": resumed, "session": self._session},
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
        follow the snapshot all the same. wake: called, from any thread, when there is something new behind all that was taken.
        """
        with self.lock:
            oldest = self.newest - len(self._kept) + 1
            known = after is not None and epoch in (None, self.epoch) and oldest - 1 <= after <= self.newest
            begin = after if known and after is not None else max(oldest - 1, self.newest - max(0, last))
            room = min(max(bound, self.newest - begin + 1), self._backlog)
            reader = Subscription(self, self._snapshot(known), begin, room, wake)
            self._readers.append(reader)
            return reader

    def leave(self, reader: Subscription) -> None:
        """The reader gets nothing more."""
        with self.lock:
            if reader in self._readers:
                self._readers.remove(reader)
            reader.leave()

    def close(self) -> None:
        """Readers get what waits for them, and the end."""
        with self.lock:
            self.over = True
            readers, self._readers = self._readers, []
            for reader in readers:
                reader.woken()
