"""Laws of `auricle serve`: every client has every record or is told what it missed, none holds up another, and the end is told."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from edge.errors import EdgeError, OutputError
from edge.listener import Listener
from edge.pipeline import Line
from edge.serve.broadcast import Broadcast, Subscription
from edge.serve.client import ask, ask_each, connect, lines, usual_path
from edge.serve.local_socket import REQUEST_BYTES, LocalSocket

SCENE = "edge/data/demo_scene.flac"


def sound(id: int, state: str = "start") -> dict[str, Any]:
    return {"type": "sound", "id": id, "state": state, "label": "Bark", "start": 1.0, "score": 0.9}


def drained(reader: Subscription) -> list[dict[str, Any]]:
    found = []
    while (told := reader.get(0)) is not None:
        found.append(told.record)
    return found


# --- The stream itself.


def test_every_reader_has_every_record_in_order_behind_a_snapshot_of_what_is_open() -> None:
    stream = Broadcast()
    stream.publish({"type": "session", "schema": 1})
    stream.publish(sound(1))
    stream.publish(sound(2))
    stream.publish(sound(1, "end"))
    stream.publish({"type": "caption", "id": 1, "final": False, "text": "A dog"})
    reader = stream.subscribe()
    stream.publish({"type": "caption", "id": 1, "final": True, "text": "A dog barks."})
    snapshot, caption = drained(reader)
    assert (snapshot["type"], snapshot["seq"], snapshot["resumed"]) == ("snapshot", 5, False)
    assert [s["id"] for s in snapshot["sounds"]] == [2]
    assert snapshot["caption"]["text"] == "A dog"
    assert snapshot["session"]["seq"] == 1
    assert (caption["seq"], caption["final"]) == (6, True)
    assert drained(stream.subscribe())[0]["caption"] is None
    stream.publish({"type": "session", "schema": 1})
    assert drained(stream.subscribe())[0]["sounds"] == [], "another stream has sounds of its own"


@pytest.mark.parametrize("seed", range(10))
def test_who_comes_back_has_no_hole_and_no_double(seed: int) -> None:
    rng, stream, got = random.Random(seed), Broadcast(backlog=40), list[int]()
    after: int | None = None
    for _ in range(30):
        for number in range(rng.randint(0, 30)):
            stream.publish(sound(number))
        reader = stream.subscribe(after)
        snapshot, *records = drained(reader)
        for number in range(rng.randint(0, 5)):
            stream.publish(sound(number))
        records += drained(reader)
        reader.close()
        seqs = [r["seq"] for r in records]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
        if snapshot["resumed"]:
            assert not seqs or seqs[0] == (after or 0) + 1
        else:
            assert after is None or snapshot["seq"] - after > 40, "only what is no longer kept is lost"
            assert not seqs or seqs[0] == snapshot["seq"] + 1
        after = seqs[-1] if seqs else (after if snapshot["resumed"] else snapshot["seq"])
        got += seqs
    assert len(got) == len(set(got))


def test_a_number_of_another_life_of_the_server_is_not_resumed() -> None:
    stream = Broadcast()
    stream.publish(sound(1))
    stream.publish(sound(2))
    assert drained(stream.subscribe(1, stream.epoch))[0]["resumed"]
    assert not drained(stream.subscribe(1, "another"))[0]["resumed"]
    assert not drained(stream.subscribe(17))[0]["resumed"], "what has not been told cannot have been heard"


def test_a_slow_reader_is_told_what_it_missed_and_the_others_miss_nothing() -> None:
    stream = Broadcast()
    slow, quick, got = stream.subscribe(bound=10), stream.subscribe(), list[int]()
    for number in range(100):
        stream.publish(sound(number))
        got += [r["seq"] for r in drained(quick) if "seq" in r and r["type"] == "sound"]
    assert got == list(range(1, 101))
    snapshot, lag, *rest = drained(slow)
    assert snapshot["type"] == "snapshot"
    assert (lag["type"], lag["missed"], lag["after"]) == ("lag", 90, 0)
    assert [r["seq"] for r in rest] == list(range(91, 101))
    stream.publish(sound(1))
    assert [r["seq"] for r in drained(slow)] == [101], "told once"


def test_the_end_comes_behind_what_waits() -> None:
    stream = Broadcast()
    reader = stream.subscribe()
    stream.publish(sound(1))
    stream.close()
    assert [r["type"] for r in reader] == ["snapshot", "sound"]
    assert [r["type"] for r in stream.subscribe()] == ["snapshot"], "who comes late sees where it ended"


# --- The socket.


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "run" / "auricle.sock"


def answering(question: str, last_s: float) -> dict[str, Any]:
    if question == "fail":
        raise EdgeError("nothing was heard")
    return {"type": "answer", "question": question, "text": f"{last_s:g}", "start": 0.0, "end": 1.0}


def answering_each(question: str, last_s: float) -> Iterator[dict[str, Any]]:
    for number in range(3):
        yield {**answering(question, last_s), "start": float(number)}
    if question == "breaks":
        raise EdgeError("the line was closed")


@pytest.fixture
def served(place: Path) -> Iterator[Broadcast]:
    stream = Broadcast()
    with LocalSocket(place, stream, answering, answering_each):
        yield stream


class Client:
    """A connection that reads lines."""

    def __init__(self, place: Path, *requests: Any) -> None:
        self.connection = connect(place, 10.0)
        self.stream = self.connection.makefile("rb")
        self.send(*requests)

    def send(self, *requests: Any) -> None:
        for request in requests:
            self.connection.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        got = self.stream.readline()
        assert got, "the server hung up"
        return json.loads(got)

    def close(self) -> None:
        self.stream.close()
        self.connection.close()


def test_a_client_subscribes_and_gets_each_record_as_it_is_told(served: Broadcast, place: Path) -> None:
    served.publish({"type": "session", "schema": 1})
    client = Client(place, {"op": "subscribe"})
    assert client.line()["session"]["schema"] == 1
    for number in range(50):
        served.publish({**sound(number), "label": "Bébé \u2028 <script>"})
        assert client.line() == {**sound(number), "label": "Bébé \u2028 <script>", "seq": number + 2}
    client.close()
    again = Client(place, {"op": "subscribe", "after": 49, "epoch": served.epoch})
    assert again.line()["resumed"]
    assert [again.line()["seq"] for _ in range(2)] == [50, 51]
    again.close()


def test_the_socket_is_for_its_owner_alone(served: Broadcast, place: Path) -> None:
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700


def test_questions_are_answered_with_the_id_that_they_came_with(served: Broadcast, place: Path) -> None:
    client = Client(place, {"op": "ask", "id": "a", "question": "What?", "last_s": 5}, {"op": "status"})
    told = [client.line() for _ in range(2)]
    assert {"type": "status"} in told
    assert {"type": "answer", "id": "a", "question": "What?", "text": "5", "start": 0.0, "end": 1.0} in told
    client.send({"op": "ask", "id": 7, "question": "fail"})
    assert client.line() == {"type": "error", "id": 7, "message": "nothing was heard"}
    client.send({"op": "ask", "question": "x", "last_s": "soon"})
    assert "last_s must be" in client.line()["message"]
    client.close()
    assert ask(place, "How?", 9.0)["text"] == "9"
    with pytest.raises(EdgeError, match="nothing was heard"):
        ask(place, "fail")


def test_nobody_is_answered_about_further_turns_who_has_left(place: Path) -> None:
    asked: list[int] = []

    def each(question: str, last_s: float) -> Iterator[dict[str, Any]]:
        for number in range(1_000):
            asked.append(number)
            yield answering(question, last_s)
            time.sleep(0.01)

    with LocalSocket(place, Broadcast(), answering, each):
        with closing(Client(place, {"op": "ask", "question": "What?", "each": True})) as client:
            client.line()
        time.sleep(0.5)
        count = len(asked)
        time.sleep(0.3)
        assert len(asked) == count < 200


def test_the_spare_descriptor_may_be_lost_and_comes_back(served: Broadcast, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To another thread, between its being given up and its being had again."""
    other = place.with_name("other.sock")
    with LocalSocket(other, Broadcast(), answering) as local:
        with monkeypatch.context() as out:
            out.setattr("edge.serve.local_socket.os.open", lambda *given: (_ for _ in ()).throw(OSError(24, "Too many open files")))
            local._turn_away()
            assert local._spare is None
            local._turn_away()
        local._turn_away()
        assert local._spare is not None
        with closing(Client(other, {"op": "status"})) as client:
            assert client.line() == {"type": "status"}


def test_of_every_turn_it_is_answered_by_itself_and_the_end_is_told(served: Broadcast, place: Path) -> None:
    with closing(Client(place, {"op": "ask", "id": 3, "question": "What?", "each": True})) as client:
        client.connection.shutdown(socket.SHUT_WR)  # it waits for all of them
        told = [client.line() for _ in range(4)]
        assert [t.get("start") for t in told] == [0.0, 1.0, 2.0, None]
        assert told[-1] == {"type": "answered", "id": 3, "answers": 3}
        assert client.stream.readline() == b""
    assert [a["start"] for a in ask_each(place, "What?", 9.0)] == [0.0, 1.0, 2.0]
    answers = ask_each(place, "breaks")
    assert [next(answers)["start"] for _ in range(3)] == [0.0, 1.0, 2.0]
    with pytest.raises(EdgeError, match="the line was closed"):
        next(answers)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"what\n", "a JSON object on one line"),
        (b"[]\n", "a JSON object on one line"),
        (b'{"op": "dance"}\n', "op is 'dance'"),
        (b"[" * 5_000 + b"\n", "a JSON object on one line"),
        (b"\xff\xfe\n", "a JSON object on one line"),
        (b"x" * (REQUEST_BYTES + 10), "longer than"),
    ],
)
def test_nonsense_is_answered_in_one_sentence_and_hurts_nobody(served: Broadcast, place: Path, sent: bytes, says: str) -> None:
    good, bad = Client(place, {"op": "subscribe"}), Client(place, sent)
    good.line()
    assert says in bad.line()["message"]
    bad.close()
    served.publish(sound(1))
    assert good.line()["seq"] == 1
    good.close()


def test_who_only_closes_the_writing_side_still_reads_to_the_end(served: Broadcast, place: Path) -> None:
    client = Client(place, {"op": "subscribe"})
    client.connection.shutdown(socket.SHUT_WR)
    client.line()
    for number in range(3):
        served.publish(sound(number))
        assert client.line()["seq"] == number + 1
    client.close()
    asker = Client(place, {"op": "ask", "question": "What?"})
    asker.connection.shutdown(socket.SHUT_WR)
    assert asker.line()["type"] == "answer"
    assert asker.stream.readline() == b"", "and nothing else follows"
    asker.close()


def test_stalled_clients_hold_up_nobody_and_are_told_once_they_read(served: Broadcast, place: Path) -> None:
    stalled = [Client(place, {"op": "subscribe"}) for _ in range(20)]
    good = Client(place, {"op": "subscribe"})
    good.line()
    for client in stalled:
        assert client.line()["type"] == "snapshot", "they are in before the flood"
    text = "x" * 2_000
    for number in range(3_000):
        served.publish({**sound(number), "label": text})
        assert good.line()["seq"] == number + 1
    for client in stalled[:3]:
        types, seqs = set(), []
        while not seqs or seqs[-1] < 3_000:
            record = client.line()
            types.add(record["type"])
            seqs += [record["seq"]] if record["type"] == "sound" else []
        assert "lag" in types
        assert seqs == sorted(set(seqs))
    for client in [*stalled, good]:
        client.close()


def test_a_client_that_vanishes_is_forgotten(served: Broadcast, place: Path) -> None:
    for _ in range(300):  # more than may be connected at once
        client = Client(place, {"op": "subscribe"})
        client.line()
        client.close()
        served.publish(sound(1))
    last = Client(place, {"op": "subscribe"})
    assert last.line()["seq"] == 300
    last.close()


def test_without_descriptors_who_comes_is_turned_away_and_the_others_are_served(served: Broadcast, place: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        client = stack.enter_context(connect(place))
        answers = stack.enter_context(client.makefile())
        client.sendall(b'{"op": "status"}\n')
        assert json.loads(answers.readline())["type"] == "status"
        late = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for one in late:
                one.settimeout(10)
                one.connect(os.fspath(place))
                assert one.recv(1) == b""
            began_s = time.process_time()
            time.sleep(0.5)
            assert time.process_time() - began_s < 0.25, "nobody is waited on in a circle"
            client.sendall(b'{"op": "status"}\n')
            assert json.loads(answers.readline())["type"] == "status"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_socket_that_was_left_behind_is_replaced_and_a_living_one_is_not(place: Path) -> None:
    place.parent.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(os.fspath(place))
    left.close()
    with LocalSocket(place, Broadcast(), answering):
        with pytest.raises(OutputError, match="another auricle serve is listening there"):
            LocalSocket(place, Broadcast(), answering)
        assert ask(place, "still there?")["type"] == "answer"
    assert not place.exists()
    place.write_text("a file")
    with pytest.raises(OutputError, match="there is a file of that name"):
        LocalSocket(place, Broadcast(), answering)
    with pytest.raises(OutputError, match="cannot be made"):
        LocalSocket(place / "below", Broadcast(), answering)


def test_without_a_server_the_client_says_what_to_do(place: Path) -> None:
    with pytest.raises(EdgeError, match=r"nothing listens there; start `auricle serve`"):
        ask(place, "What?")


def test_the_usual_place_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert usual_path() == Path("/run/user/7/auricle.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert usual_path().name == "auricle.sock"


# --- The whole command.


def auricle(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edge.cli", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )


def ready(server: subprocess.Popen[str]) -> None:
    assert server.stderr is not None
    said = server.stderr.readline()
    assert "serving on" in said, said + server.stderr.read()


def test_serve_tells_what_listen_tells_answers_meanwhile_and_ends_with_a_final(place: Path) -> None:
    server = auricle("serve", "--input", SCENE, "--socket", str(place))
    ready(server)
    told: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: told.extend(lines(place, {"op": "subscribe"})))
    reader.start()
    deadline = time.monotonic() + 20
    while not any(r["type"] == "caption" and r["final"] for r in told) and time.monotonic() < deadline:
        time.sleep(0.05)
    asked = subprocess.run(
        [sys.executable, "-m", "edge.cli", "ask", "Is a dog barking?", "--socket", str(place), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(asked.stdout)
    assert answer["text"]
    assert answer["end"] > answer["start"] >= 0
    command = [sys.executable, "-m", "edge.cli", "ask", "Is a dog barking?", "--each", "--last", "300", "--socket", str(place)]
    each = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(each) >= 1
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} to \d\d:\d\d:\d\d\.\d{3}  .+", line) for line in each), each
    assert subprocess.run([*command, SCENE], capture_output=True).returncode == 2
    while not any(r["type"] == "caption" and not r["final"] for r in told[-1:]) and time.monotonic() < deadline:
        time.sleep(0.01)
    begun = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 130
    assert time.monotonic() - begun < 3
    reader.join(5)
    captions = [r for r in told if r["type"] == "caption"]
    last = {c["id"]: c for c in captions}
    assert all(c["final"] for c in last.values()), "what was open was finished and told"
    with Listener() as listener:
        wanted = [(r["id"], r["text"]) for r in listener.listen(SCENE) if r["type"] == "caption" and r["final"]]
    finals = [(c["id"], c["text"]) for c in captions if c["final"]]
    assert finals[:-1] == wanted[: len(finals) - 1]
    assert len(finals) >= 2
    assert [r["seq"] for r in told if "seq" in r and r["type"] != "snapshot"] == list(range(told[0]["seq"] + 1, told[0]["seq"] + len(told)))
    assert not place.exists()


def test_what_cannot_be_served_is_one_sentence(tmp_path: Path) -> None:
    for words, says in (
        (["serve", "--input", "nothing.wav"], "nothing.wav"),
        (["serve", "--input", SCENE, "--socket", str(tmp_path)], "there is a file of that name"),
        (["ask", "What?", "--socket", str(tmp_path / "none")], "start `auricle serve`"),
    ):
        done = auricle(*words)
        _, said = done.communicate(timeout=30)
        assert done.returncode == 1
        assert says in said
        assert "Traceback" not in said


def test_questions_from_other_threads_do_not_change_what_is_told() -> None:
    """Ten askers beside a stream: the records of the stream alone, and each answer that of the same turn asked alone."""
    with Listener() as listener:
        line: Line = listener._line
        expected = [{k: v for k, v in r.items() if k != "latency"} for r in listener.listen(SCENE) if r["type"] != "session"]
        stop, failures, answers = threading.Event(), list[BaseException](), list[Any]()

        def keep_asking() -> None:
            while not stop.is_set():
                try:
                    answers.append(line.recall("How many times did someone knock?"))
                except EdgeError as error:
                    if "nothing" not in str(error):
                        failures.append(error)
                except BaseException as error:
                    failures.append(error)

        askers = [threading.Thread(target=keep_asking) for _ in range(10)]
        records = []
        for record in listener.listen(SCENE):
            if record["type"] == "session":
                for asker in askers:
                    asker.start()
                continue
            records.append({k: v for k, v in record.items() if k != "latency"})
        stop.set()
        for asker in askers:
            asker.join()
    assert not failures
    assert records == expected
    assert len(answers) > 10
