"""What was told, kept in SQLite: finals and, unless only text is wanted, sounds, gaps and device changes. Never audio.

A record counts as kept once its transaction is on the disk (WAL with synchronous=FULL); only then is it told to anybody, with its number in
`kept`. One writer, the thread that made the History. What cannot be written is said and does not stop the captions.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.errors import ConfigError, OutputError

VERSION = 1
PRUNE_EVERY = 500
RETRY_S = 30.0
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


class History:
    """path: made with its folder, both for the owner alone. what: "text" or "all". days, megabytes: what is older or beyond is deleted.

    notices: what the user should know, one sentence each: a database that was moved aside, writing that failed or works again.
    """

    def __init__(self, path: Path, what: str = "all", days: float = 30.0, megabytes: float = 256.0) -> None:
        self.path, self._kinds, self._days, self._bytes = path, KINDS[what], days, megabytes * 1e6
        self.notices: list[str] = []
        self.degraded = ""
        """Why nothing is kept at the moment; "" while it is."""
        self._database: sqlite3.Connection | None = None
        self._retry_at = 0.0
        self._added = 0
        self._open()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for attempt in range(2):
                self._database = _connect(self.path)
                fault = _fault(self._database)
                if not fault:
                    break
                self._database.close()
                if attempt:
                    raise sqlite3.DatabaseError(fault)
                aside = _move_aside(self.path, "newer" if "newer" in fault else "damaged")
                self.notices.append(f"history {self.path}: {fault}; it was moved to {aside.name}, and a new one begun")
            os.chmod(self.path, 0o600)
            self._prune()
            if self.degraded:
                self.notices.append(f"history {self.path}: records are kept again")
            self.degraded = ""
        except (OSError, sqlite3.Error) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        why = getattr(error, "strerror", None) or str(error)
        if not self.degraded:
            self.notices.append(f"history {self.path}: nothing is kept for now ({why}); free or repair its place, captions go on")
        self.degraded = why
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
        if not self.wants(record):
            return record
        if self._database is None and time.monotonic() >= self._retry_at:
            self._open()
        if self._database is None:
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
        if self._added % PRUNE_EVERY == 0:
            self._prune()
        return {**record, "kept": number}

    def _prune(self) -> None:
        if self._database is None:
            return
        try:
            with self._database:
                self._database.execute("DELETE FROM record WHERE unix < ?", (time.time() - self._days * 86_400,))
                used = _used_bytes(self._database)
                if used > self._bytes:
                    (count,) = self._database.execute("SELECT count(*) FROM record").fetchone()
                    drop = int(count * (1 - 0.9 * self._bytes / used)) + 1
                    self._database.execute("DELETE FROM record WHERE id IN (SELECT id FROM record ORDER BY id LIMIT ?)", (drop,))
            self._database.execute("PRAGMA incremental_vacuum")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._fail(error)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=5.0)
    try:
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
    except sqlite3.DatabaseError:
        pass  # told by _fault
    return database


def _fault(database: sqlite3.Connection) -> str:
    """What is wrong with it; a new one gets its tables."""
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > VERSION:
            return f"it was written by a newer auricle (version {version}, this one knows {VERSION})"
        if version == 0 and tables == 0:
            database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
            return ""
        (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
        return "" if version == VERSION and sound == "ok" else f"it is damaged ({sound if sound != 'ok' else f'version {version}'})"
    except sqlite3.OperationalError as error:
        if "disk" in str(error) or "readonly" in str(error) or "locked" in str(error) or "unable to open" in str(error):
            raise
        return f"it is damaged ({error})"
    except sqlite3.DatabaseError as error:
        return f"it is damaged ({error})"


def _used_bytes(database: sqlite3.Connection) -> int:
    (pages,), (size,), (free,) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size", "freelist_count"))
    return int((pages - free) * size)


def _move_aside(path: Path, why: str) -> Path:
    """Nothing is deleted: the database and what belongs to it get another name."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.{why}-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{why}-{stamp}-{number}")
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            os.replace(part, aside.with_name(aside.name + ending))
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
