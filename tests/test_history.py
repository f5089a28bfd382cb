"""Laws of the history: what was acknowledged is there, whole, once; what cannot be written is said and stops nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge import cli
from edge.commands.history import since
from edge.errors import ConfigError, OutputError
from edge.serve import history as room
from edge.serve.history import History, search


def caption(text: str, final: bool = True) -> dict[str, Any]:
    return {"type": "caption", "id": 1, "revision": 1, "final": final, "start": 0.0, "end": 1.0, "text": text, "committed": len(text)}


SOUND = {"type": "sound", "id": 1, "state": "end", "label": "Smoke detector, smoke alarm", "start": 1.0, "end": 2.0, "score": 0.9}
STATUS = {"type": "status", "at": 1.0, "lag": 0.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


def texts(path: Path, *words: str, **options: Any) -> list[str]:
    return [record.get("text") or record["label"] for _, record in search(path, " ".join(words), **options)]


def test_finals_and_ended_sounds_are_kept_and_found_by_their_words(path: Path) -> None:
    kept = History(path)
    assert kept.keep(caption("A dog barks."))["kept"] == 1
    assert "kept" not in kept.keep(caption("A dog", final=False))
    assert "kept" not in kept.keep({**SOUND, "state": "start"})
    assert kept.keep(SOUND)["kept"] == 2
    assert kept.keep(caption("Someone knocks, then a dog barks."))["kept"] == 3
    assert "kept" not in kept.keep(STATUS)
    kept.close()
    assert texts(path) == ["A dog barks.", "Smoke detector, smoke alarm", "Someone knocks, then a dog barks."]
    assert texts(path, "dog") == ["A dog barks.", "Someone knocks, then a dog barks."]
    assert texts(path, "DOG", "kno") == ["Someone knocks, then a dog barks."]
    assert texts(path, "smoke") == ["Smoke detector, smoke alarm"]
    assert texts(path, limit=1) == ["Someone knocks, then a dog barks."]
    assert texts(path, since_unix=time.time() + 5) == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_said_is_for_the_owner_alone_while_it_is_written_too(tmp_path: Path) -> None:
    """SQLite's -wal, where a record first stands, has the mode that the database has when it is opened."""
    umask = os.umask(0o022)
    try:
        history = History(tmp_path / "history.db")
        try:
            sides = [path for path in tmp_path.iterdir() if path.suffix != ".db"]
            assert sides, "the database is open"
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
        finally:
            history.close()
    finally:
        os.umask(umask)


def test_text_only_is_text_only(path: Path) -> None:
    kept = History(path, "text")
    kept.keep(SOUND)
    kept.keep(caption("A dog barks."))
    kept.close()
    assert texts(path) == ["A dog barks."]


TEXTS = ("<script>alert(1)</script>", "\"quotes\" 'and' %", "x" * 100_000, "\x00\x1b[31m\u202e\U0001f600 \ud83d", "DROP TABLE record;--")


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_as_it_was(path: Path, text: str) -> None:
    kept = History(path)
    kept.keep(caption(text))
    kept.close()
    assert texts(path) == [text]


@pytest.mark.parametrize("words", ['"', "AND", "dog OR", "NEAR(", "a*b", "col:dog", "-dog", "'"])
def test_words_are_never_a_query(path: Path, words: str) -> None:
    kept = History(path)
    kept.keep(caption("A dog barks and more."))
    kept.close()
    with suppress(ConfigError):  # no letters in it
        texts(path, words)


def test_what_is_too_old_or_too_much_is_deleted_the_oldest_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PRUNE_EVERY", 50)
    kept = History(path, megabytes=1.0)
    for number in range(600):
        kept.keep(caption(f"{number} " + "word " * 600))
    kept.close()
    left = texts(path, limit=1_000)
    assert 50 < len(left) < 400
    assert left[-1].startswith("599 ")
    assert [int(t.split()[0]) for t in left] == list(range(600 - len(left), 600))
    assert sum(p.stat().st_size for p in path.parent.iterdir()) < 2.5e6
    with sqlite3.connect(path) as database:
        database.execute("UPDATE record SET unix = ? WHERE id <= 590", (time.time() - 5 * 86_400,))
    History(path, days=2.0).close()
    assert len(texts(path, limit=1_000)) == 10


DAY = 86_400.0
NOW = 1_790_000_000.0


class Clocks:
    """The wall clock and the one since boot, to be set and to pass."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall, self.up = NOW, 100.0
        patch.setattr(room, "_uptime", lambda: self.up)
        patch.setattr(room.time, "time", lambda: self.wall)

    def passes(self, seconds: float) -> None:
        self.wall, self.up = self.wall + seconds, self.up + seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_where_hardly_anybody_speaks_what_is_old_is_deleted_within_the_hour(path: Path, clocks: Clocks) -> None:
    kept = History(path, "text", days=30.0)
    kept.keep(caption("first"))
    clocks.passes(10 * DAY)
    kept.keep(caption("second"))
    clocks.passes(20 * DAY - 60)
    kept.keep(STATUS)
    assert texts(path) == ["first", "second"]
    clocks.passes(3_000)
    kept.keep(STATUS)
    assert texts(path) == ["first", "second"], "looked at a moment ago"
    clocks.passes(600)
    kept.keep(STATUS)
    assert texts(path) == ["second"]


def test_a_clock_set_forward_by_decades_deletes_nothing_of_this_run_nor_of_one_before_it(path: Path, clocks: Clocks) -> None:
    earlier = History(path)
    earlier.keep(caption("yesterday, rightly dated"))
    earlier.close()
    for text in ("after a boot at 1970", "and after another"):
        clocks.wall = 30.0
        kept = History(path)
        kept.keep(caption(text))
        clocks.passes(60.0)
        if text.startswith("after"):
            kept.close()  # before the clock was set
    clocks.wall = NOW + DAY
    kept.keep(caption("set"))
    clocks.passes(7_200)
    kept.keep(STATUS)
    kept.close()
    kept = History(path)
    assert texts(path) == ["yesterday, rightly dated", "after a boot at 1970", "and after another", "set"]
    assert texts(path, since_unix=NOW + DAY - 61) == ["and after another", "set"], "its date was put right"
    clocks.passes(29 * DAY)
    kept.keep(STATUS)
    assert texts(path) == ["after a boot at 1970", "and after another", "set"], "it was yesterday's turn alone"
    clocks.passes(DAY)
    kept.keep(STATUS)
    assert texts(path) == [], "what had no date of its own goes with what was written after it"


@pytest.mark.parametrize("year", [1970, 2020, 2026, 2099])
def test_this_runs_records_are_as_old_as_the_run_whatever_the_clock_says(path: Path, clocks: Clocks, year: int) -> None:
    clocks.wall = (year - 1970) * 365.25 * DAY + 1.0
    kept = History(path, days=2.0)
    kept.keep(caption("first"))
    clocks.passes(DAY)
    clocks.wall = NOW if year != 2026 else 9 * DAY
    kept.keep(caption("second"))
    clocks.passes(DAY - 60)
    kept.keep(STATUS)
    assert texts(path) == ["first", "second"]
    clocks.passes(3_700)
    kept.keep(STATUS)
    assert texts(path) == ["second"]


def test_a_date_of_an_earlier_run_that_is_yet_to_come_keeps_no_record_for_ever(path: Path, clocks: Clocks) -> None:
    clocks.wall = NOW + 70 * 365 * DAY
    ahead = History(path)
    ahead.keep(caption("dated ahead"))
    ahead.close()
    clocks.wall = NOW
    kept = History(path)
    kept.keep(caption("rightly dated"))
    clocks.passes(29 * DAY)
    kept.keep(STATUS)
    assert texts(path) == ["dated ahead", "rightly dated"]
    clocks.passes(2 * DAY)
    kept.keep(STATUS)
    assert texts(path) == []


def test_fewer_megabytes_make_the_file_smaller_at_once(path: Path) -> None:
    kept = History(path, megabytes=50.0)
    for number in range(500):
        kept.keep(caption(f"{number} " + "word " * 1_000))
    kept.close()
    assert path.stat().st_size > 5e6
    History(path, megabytes=1.0).close()
    assert path.stat().st_size < 2e6
    assert texts(path, limit=1)[0].startswith("499 ")


def test_a_damaged_database_is_moved_aside_and_said_and_nothing_of_it_is_deleted(path: Path) -> None:
    kept = History(path)
    kept.keep(caption("A dog barks."))
    kept.close()
    data = bytearray(path.read_bytes())
    data[100:4000] = os.urandom(3900)
    path.write_bytes(data)
    again = History(path)
    assert "it was moved to history.db.damaged-" in again.notices[0]
    assert again.keep(caption("A bell rings."))["kept"] == 1
    again.close()
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == bytes(data)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    assert "moved to" in History(path).notices[0]


def test_a_newer_database_is_moved_aside_whole(path: Path) -> None:
    History(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=999")
    database.close()
    again = History(path)
    assert "newer auricle (version 999" in again.notices[0]
    again.close()
    (aside,) = path.parent.glob("*.newer-*")
    with sqlite3.connect(aside) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (999,)


def test_a_full_disk_stops_no_caption_is_said_once_and_is_over_when_there_is_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = History(path)
    assert kept._database is not None
    (pages,) = kept._database.execute("PRAGMA page_count").fetchone()
    kept._database.execute(f"PRAGMA max_page_count={pages + 2}")  # SQLite's own "database or disk is full"
    got = [kept.keep(caption("word " * 500)) for _ in range(20)]
    assert "kept" in got[0]
    assert "kept" not in got[-1]
    assert [n for n in kept.notices if "nothing is kept for now" in n] == kept.notices
    assert len(kept.notices) == 1
    assert "full" in kept.degraded
    monkeypatch.setattr(kept, "_retry_at", 0.0)
    assert "kept" in kept.keep(caption("room again"))
    assert "kept again" in kept.notices[-1]
    assert kept.degraded == ""
    numbers = [record["kept"] for record in got if "kept" in record]
    assert numbers == list(range(1, len(numbers) + 1))


def test_while_files_cannot_grow_no_retry_says_records_are_kept_nor_reads_them_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = History(path)
    statements: list[str] = []
    connect = room._connect

    def grows_no_more(place: Path) -> sqlite3.Connection:
        database = connect(place)
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count={pages}")
        database.set_trace_callback(statements.append)
        return database

    with monkeypatch.context() as patch:
        patch.setattr(room, "_connect", grows_no_more)
        kept._fail(OSError(28, "No space left on device"))
        for _ in range(5):
            kept._retry_at = 0.0
            assert "kept" not in kept.keep(caption("word " * 5_000))
            assert "full" in kept.degraded
    assert len(kept.notices) == 1
    assert "nothing is kept for now" in kept.notices[0]
    assert any("INSERT INTO record" in s for s in statements)
    assert not any("quick_check" in s for s in statements)
    kept._retry_at = 0.0
    kept.keep(STATUS)
    assert kept.degraded, "opened, and nothing written yet"
    assert "kept" in kept.keep(caption("room again"))
    assert [n for n in kept.notices[1:] if "kept again" in n] == kept.notices[1:] != []
    assert not kept.degraded


def test_damage_that_comes_while_it_runs_is_found_at_the_next_try(path: Path) -> None:
    kept = History(path)
    for number in range(200):
        kept.keep(caption(f"{number} " + "word " * 100))
    assert kept._database is not None
    kept._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    kept._database.close()
    kept._database = room._connect(path)
    assert "kept" not in kept.keep(caption("lost"))
    assert kept.degraded
    kept._retry_at = 0.0
    assert kept.keep(caption("A bell rings."))["kept"] == 1
    assert "moved to history.db.damaged-" in kept.notices[1]
    assert "kept again" in kept.notices[2]


def test_a_place_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = History(tmp_path / "file" / "history.db")
    assert "nothing is kept for now" in kept.notices[0]
    assert kept.keep(caption("A dog."))["text"] == "A dog."


WRITER = """
import sys
from pathlib import Path
from edge.serve.history import History
kept = History(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    told = kept.keep({"type": "caption", "final": True, "text": f"caption {number} " + "x" * (number * 37 % 3000)})
    sys.stdout.write(f"{told['kept']}\\n")
    sys.stdout.flush()
"""


def test_no_acknowledged_record_is_lost_to_a_kill_and_numbers_have_no_holes(path: Path) -> None:
    rng, last = random.Random(7), 0
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline())]
        time.sleep(rng.uniform(0.0, 0.12))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
        acknowledged += [int(line) for line in rest if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()
        assert acknowledged == list(range(acknowledged[0], acknowledged[0] + len(acknowledged)))
        assert last < acknowledged[0] <= last + 2, "at most one that was written and not yet acknowledged lies between"
        last = acknowledged[-1]
        with sqlite3.connect(path) as database:
            numbers = [n for (n,) in database.execute("SELECT id FROM record ORDER BY id")]
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= last
    assert last > 30


def test_the_command_shows_finds_and_refuses(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = History(path)
    kept.keep(caption("A dog barks.\x1b[2J"))
    kept.keep(SOUND)
    kept.keep({"type": "gap", "start": 1.0, "end": 2.0, "reason": "overrun"})
    kept.close()
    at = ["--history-path", str(path)]
    assert cli.main(["history", *at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("  A dog barks. [2J")
    assert lines[1].endswith("  [Smoke detector, smoke alarm]")
    assert "-- gap: start 1.0, end 2.0, reason overrun" in lines[2]
    assert cli.main(["history", "dog", *at, "--json", "--since", "1h"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kept"] == 1
    assert found["unix"] == pytest.approx(time.time(), abs=60)
    for words, code, says in (
        (["--since", "soon"], 2, "--since is 'soon'"),
        (["--limit", "0"], 2, "--limit is '0'"),
        (["--limit", "2.5"], 2, "--limit is '2.5', but must be a whole number from 1 to 1000000"),
        (["!!"], 2, "hold no letters"),
    ):
        assert cli.main(["history", *words, *at]) == code
        assert says in capsys.readouterr().err
    assert cli.main(["history", "--history-path", str(path.with_name("none.db"))]) == 1
    assert "there is none; start `auricle serve` with --history" in capsys.readouterr().err
    path.write_bytes(b"x" * 5_000)
    with pytest.raises(OutputError, match="cannot be read"):
        list(search(path))


def test_a_moment_is_a_date_or_so_long_ago() -> None:
    assert since("2h", now=10_000.0) == 2_800.0
    assert since("30m", now=10_000.0) == 8_200.0
    assert since(None) == 0.0
    assert since("2026-11-26T18:00+00:00") == 1_795_716_000.0


def test_serve_keeps_what_it_tells_and_tells_what_it_has_kept(path: Path, tmp_path: Path) -> None:
    from edge.serve.client import lines

    place = tmp_path / "auricle.sock"
    words = ["serve", "--input", "edge/data/demo_scene.flac", "--socket", str(place), "--history", "all", "--history-path", str(path)]
    server = subprocess.Popen([sys.executable, "-m", "edge.cli", *words], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    assert "serving on" in server.stderr.readline()
    told = []
    for record in lines(place, {"op": "subscribe"}):
        told.append(record)
        if sum("kept" in r for r in told) > 2:
            break
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stderr.close()
    acknowledged = {r["kept"]: r for r in told if "kept" in r}
    stored = {record["kept"]: record for _, record in search(path)}
    for number, record in acknowledged.items():
        assert stored[number] == {k: v for k, v in record.items() if k != "seq"}
