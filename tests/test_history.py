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
    assert "kept" not in kept.keep({"type": "status", "at": 1.0, "lag": 0.0})
    kept.close()
    assert texts(path) == ["A dog barks.", "Smoke detector, smoke alarm", "Someone knocks, then a dog barks."]
    assert texts(path, "dog") == ["A dog barks.", "Someone knocks, then a dog barks."]
    assert texts(path, "DOG", "kno") == ["Someone knocks, then a dog barks."]
    assert texts(path, "smoke") == ["Smoke detector, smoke alarm"]
    assert texts(path, limit=1) == ["Someone knocks, then a dog barks."]
    assert texts(path, since_unix=time.time() + 5) == []
    assert path.stat().st_mode & 0o777 == 0o600


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
