"""What was told, kept in SQLite: finals and, unless only text is wanted, sounds, gaps and device changes. Never audio.

A record counts as kept once its transaction is on the disk (WAL with synchronous=FULL); only then is it told to anybody, with its number in
`kept`. One writer, the thread that made the History. What cannot be written is said and does not stop the captions.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.errors import ConfigError, OutputError

VERSION = 1
PRUNE_EVERY, PRUNE_S = 500, 3_600.0
RETRY_S = 30.0
STEP_S = 60.0
"""By how much the wall clock must leave the one since boot to count as set."""
EARLIEST = 1_735_689_600.0
"""2025 as Unix time: what is dated before was written by a clock that had not been set yet."""
KINDS = {"text": ("caption",), "all": ("session", "caption", "sound", "gap", "device", "speech")}
SCHEMA = """
CREATE TABLE record (id INTEGER PRIMARY KEY AUTOINCREMENT, unix REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, json TEXT NOT NULL);
CREATE INDEX record_unix ON record (unix);
CREATE VIRTUAL TABLE words USING fts5 (text, content='record', content_rowid='id');
CREATE TRIGGER record_in AFTER INSERT ON record BEGIN INSERT INTO words (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER record_out AFTER DELETE ON record BEGIN INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text); END;
"""


def usual_path(name: str = "history") -> Path:
    """$XDG_STATE_HOME/auricle/NAME.db, else below ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / f"auricle/{name}.db"


def _uptime() -> float:
    """Seconds since boot, those asleep too: what nobody sets, and what ages records of a machine that sleeps at night."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class History:
    """path: made with its folder, both for the owner alone. what: "text" or "all". days, megabytes: what is older or beyond is deleted.

    Age is looked at on opening, after PRUNE_EVERY records or PRUNE_S seconds, and when the clock was set; see _delete_old.
    notices: what the user should know, one sentence each: a database that was moved aside, writing that failed or works again.
    """

    def __init__(self, path: Path, what: str = "all", days: float = 30.0, megabytes: float = 256.0) -> None:
        self.path, self._kinds, self._days, self._bytes = path, KINDS[what], days, megabytes * 1e6
        self.notices: list[str] = []
        self.degraded = ""
        """Why nothing is kept at the moment; "" while it is."""
        self._database: sqlite3.Connection | None = None
        self._checked = False
        self._retry_at = self._pruned_at = 0.0
        self._added = 0
        self._first = sys.maxsize  # rows from here on are of this run
        self._offset = time.time() - _uptime()
        self._open()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for attempt in range(2):
                self._database = database = _connect(self.path)
                fault = _fault(database, whole=not self._checked)
                if not fault:
                    break
                database.close()
                if attempt:
                    raise sqlite3.DatabaseError(fault)
                aside = move_aside(self.path, "newer" if "newer" in fault else "damaged")
                self.notices.append(f"history {self.path}: {fault}; it was moved to {aside.name}, and a new one begun")
            self._checked = True
            (newest,) = database.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()
            self._first = min(self._first, newest + 1)  # lower where a new database was begun
            self._prune()
        except (OSError, sqlite3.Error) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        why = getattr(error, "strerror", None) or str(error)
        if not self.degraded:
            self.notices.append(f"history {self.path}: nothing is kept for now ({why}); free or repair its place, captions go on")
        self.degraded = why
        self._checked = self._checked and _of_the_place(error)  # a full disk is no reason to read all of it every RETRY_S
        self._retry_at = time.monotonic() + RETRY_S
        if self._database is not None:
            self._database.close()
            self._database = None

    def wants(self, record: dict[str, Any]) -> bool:
        """Whether the record is of a kind that is kept: of captions the finals, of sounds the ends, which say all."""
        kind = record["type"]
        whole = record.get("final", True) and record.get("state", "end") != "start"
        return bool(kind in self._kinds and whole)

    def keep(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record, with its number in `kept` once it is on the disk; as it was where it is not wanted or cannot be written."""
        self._tend()  # whatever the record: where nobody speaks, what is old is deleted all the same
        if self._database is None or not self.wants(record):
            return record
        text = str(record.get("text") or record.get("label") or "").encode("utf-8", "replace").decode()
        try:
            with self._database:
                row = self._database.execute(
                    "INSERT INTO record (unix, kind, text, json) VALUES (?, ?, ?, ?)",
                    (time.time(), record["type"], text, json.dumps(record)),
                )
            number = row.lastrowid
        except (OSError, sqlite3.Error) as error:
            self._fail(error)
            return record
        self._added += 1
        if self.degraded:  # only what is written shows that there is room
            self.notices.append(f"history {self.path}: records are kept again")
            self.degraded = ""
        return {**record, "kept": number}

    def _tend(self) -> None:
        if self._database is None:
            if time.monotonic() >= self._retry_at:
                self._open()
            return
        if self._added >= PRUNE_EVERY or _uptime() - self._pruned_at >= PRUNE_S or self._step():
            self._prune()

    def _step(self) -> float:
        """Seconds by which the wall clock was set since this run's rows were dated; 0 up to STEP_S."""
        step = time.time() - _uptime() - self._offset
        return step if abs(step) > STEP_S else 0.0

    def _prune(self) -> None:
        if self._database is None:
            return
        self._added, self._pruned_at, step = 0, _uptime(), self._step()
        try:
            with self._database:
                if step:
                    self._database.execute("UPDATE record SET unix = unix + ? WHERE id >= ?", (step, self._first))
                self._delete_old(self._database)
                used = _used_bytes(self._database)
                if used > self._bytes:
                    (count,) = self._database.execute("SELECT count(*) FROM record").fetchone()
                    drop = int(count * (1 - 0.9 * self._bytes / used)) + 1
                    self._database.execute("DELETE FROM record WHERE id IN (SELECT id FROM record ORDER BY id LIMIT ?)", (drop,))
            self._offset += step
            self._database.executescript("PRAGMA incremental_vacuum")  # execute, even with fetchall, frees one page alone
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._fail(error)

    def _delete_old(self, database: sqlite3.Connection) -> None:
        """This run's rows move along when the wall clock is set, so the clock since boot alone ages them; earlier ones the wall clock does.

        One that is behind deletes too late. One that is far ahead deletes all earlier rows: it cannot be told from one right at last.
        """
        now = time.time()
        limit = now - self._days * 86_400
        # An earlier run's date before EARLIEST or after now says nothing: such a row goes once one that was written later is too old.
        dated = "SELECT max(+id) FROM record WHERE unix < ? AND (unix >= ? OR id >= ?)"  # +: by record_unix, not through the whole table
        (newest,) = database.execute(dated, (limit, EARLIEST, self._first)).fetchone()
        if newest is not None:
            database.execute("DELETE FROM record WHERE id <= ? AND (unix < ? OR unix > ?)", (newest, limit, now))

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def owned(path: Path) -> None:
    """A database and what belongs to it are the owner's alone. Before it is opened, made if it must be: -wal and -shm take its mode."""
    path.touch(0o600)
    for part in _parts(path):
        part.chmod(0o600)


def _parts(path: Path) -> list[Path]:
    """Those of the database and of what belongs to it that are there."""
    return [part for ending in ("", "-wal", "-shm") if (part := path.with_name(path.name + ending)).exists()]


def _connect(path: Path) -> sqlite3.Connection:
    owned(path)
    database = sqlite3.connect(path, timeout=5.0)
    try:
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
    except sqlite3.DatabaseError:
        pass  # told by _fault
    return database


def _fault(database: sqlite3.Connection, whole: bool = True) -> str:
    """What is wrong with it; a new one gets its tables. whole: all of it is read, which takes a while."""
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > VERSION:
            return f"it was written by a newer auricle (version {version}, this one knows {VERSION})"
        if version == 0 and tables == 0:
            database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
            return ""
        (sound,) = database.execute("PRAGMA quick_check(1)").fetchone() if whole else ("ok",)
        return "" if version == VERSION and sound == "ok" else f"it is damaged ({sound if sound != 'ok' else f'version {version}'})"
    except sqlite3.DatabaseError as error:
        if _of_the_place(error):
            raise
        return f"it is damaged ({error})"


def _of_the_place(error: Exception) -> bool:
    """Whether it tells of the disk or of another program, not of what is in the database."""
    told = isinstance(error, sqlite3.OperationalError) and any(w in str(error) for w in ("disk", "readonly", "locked", "unable to open"))
    return told or isinstance(error, OSError)


def _used_bytes(database: sqlite3.Connection) -> int:
    (pages,), (size,), (free,) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size", "freelist_count"))
    return int((pages - free) * size)


def move_aside(path: Path, why: str) -> Path:
    """Nothing is deleted: the database and what belongs to it get another name."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.{why}-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{why}-{stamp}-{number}")
    for part in _parts(path):
        os.replace(part, aside.with_name(aside.name + part.name.removeprefix(path.name)))
    return aside


def search(path: Path, words: str = "", since_unix: float = 0.0, limit: int = 100) -> Iterator[tuple[float, dict[str, Any]]]:
    """(Unix time, record) of what is kept, the newest `limit` in order of time. words: all must occur, each as the beginning of a word.

    Raises: OutputError where there is no history or it cannot be read; ConfigError for words without letters.
    """
    if not path.is_file():
        raise OutputError(f"history {path}: there is none; start `auricle serve` with --history text or all")
    terms = " ".join(f'"{word}"*' for word in words.replace('"', " ").split())
    if words and not any(c.isalnum() for c in words):
        raise ConfigError(f"words {words!r} hold no letters; search for words")
    where = "WHERE record.unix >= ?" + (" AND record.id IN (SELECT rowid FROM words WHERE words MATCH ?)" if terms else "")
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            rows = database.execute(
                f"SELECT unix, id, json FROM record {where} ORDER BY id DESC LIMIT ?", (since_unix, *((terms,) if terms else ()), limit)
            ).fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise OutputError(f"history {path}: it cannot be read ({error}); end other programs that use it, or move it away") from None
    for unix, number, text in reversed(rows):
        yield unix, {**json.loads(text), "kept": number}


def soundness(path: Path) -> str:
    """What is wrong with a history that is there, "" for nothing; it is only read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as database:
            return _fault(database)
    except sqlite3.Error as error:
        return f"it cannot be read ({error})"
