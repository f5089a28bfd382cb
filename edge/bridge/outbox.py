"""Messages that wait to be delivered, on the disk: they outlive an outage of the broker and a kill of the bridge.

A message and the place in the stream that it came from are written in one transaction: nothing is lost between the two, nothing is taken
twice. One thread at a time, guarded by a lock.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.errors import OutputError
from edge.serve.history import move_aside, owned

MOST = 100_000
"""Beyond so many the oldest are dropped, and counted."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL, seq INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Message:
    """id: its number in the outbox, in the order in which it came."""

    id: int
    topic: str
    payload: str


class Outbox:
    """path: made with its folder, for the owner alone; a damaged one is moved aside.

    Raises: OutputError where it cannot be opened, read or written.
    """

    def __init__(self, path: Path, most: int = MOST) -> None:
        self._lock, self._most = threading.Lock(), most
        self.dropped = 0
        """Messages that were dropped because too many waited."""
        self.notice = ""
        """What the user should know of the file: that it was damaged, and where it is now."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._database = _opened(path)
            except sqlite3.OperationalError:
                raise  # the disk, or its permissions
            except sqlite3.DatabaseError as error:
                aside = move_aside(path, "damaged")
                self.notice = f"outbox {path}: it is damaged ({error}); it was moved to {aside.name}, and a new one begun"
                self._database = _opened(path)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"outbox {path}: it cannot be opened ({error}); repair its place, or name another with --outbox") from None
        (self._count,) = self._database.execute("SELECT count(*) FROM message").fetchone()

    @property
    def place(self) -> tuple[str, int] | None:
        """(epoch, number) of the newest record that was taken from the stream; None at first."""
        with self._using("its place in the stream cannot be read"):
            row = self._database.execute("SELECT epoch, seq FROM place").fetchone()
        return None if row is None else (str(row[0]), int(row[1]))

    def take(self, epoch: str, seq: int, messages: list[tuple[str, str]]) -> None:
        """Keeps the messages, (topic, payload) each, that a record of the stream led to, and its place."""
        with self._using("a message cannot be kept"):
            self._database.executemany("INSERT INTO message (topic, payload) VALUES (?, ?)", messages)
            self._database.execute("INSERT OR REPLACE INTO place VALUES (1, ?, ?)", (epoch, seq))
            self._count += len(messages)
            if self._count > self._most:
                more = self._count - self._most
                self._database.execute("DELETE FROM message WHERE id IN (SELECT id FROM message ORDER BY id LIMIT ?)", (more,))
                self._count, self.dropped = self._most, self.dropped + more

    def waiting(self, after: int, count: int) -> list[Message]:
        """The oldest messages behind one, at most so many."""
        with self._using("messages cannot be read"):
            rows = self._database.execute(
                "SELECT id, topic, payload FROM message WHERE id > ? ORDER BY id LIMIT ?", (after, count)
            ).fetchall()
        return [Message(*row) for row in rows]

    def delivered(self, id: int) -> None:
        """The receiver has it."""
        with self._using("a message cannot be taken out"):
            self._count -= self._database.execute("DELETE FROM message WHERE id = ?", (id,)).rowcount

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def _using(self, failed: str) -> Iterator[None]:
        """One transaction."""
        try:
            with self._lock, self._database:
                yield
        except sqlite3.Error as error:
            raise OutputError(f"outbox: {failed} ({error}); free or repair its place") from None


def _opened(path: Path) -> sqlite3.Connection:
    owned(path)
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(SCHEMA)
        (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
    except BaseException:
        database.close()
        raise
    return database
