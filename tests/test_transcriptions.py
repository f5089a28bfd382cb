"""OpenAI's own client against our transcriptions: every format, streaming, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest
import webvtt

from edge.config import Config
from edge.errors import EdgeError
from edge.listener import Listener
from edge.serve.broadcast import Broadcast
from edge.serve.transcriptions import Transcriptions, _events
from edge.serve.web import Vital, Web, application

SCENE = Path("edge/data/demo_scene.flac")
TOKEN = "0123456789abcdef-token"


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    transcriptions = Transcriptions(Config())
    routes = transcriptions.routes()
    with Web(application(Broadcast(), lambda question, last_s: {}, Vital(), routes), "127.0.0.1", 0, TOKEN) as web:
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{web.port}/v1", api_key=TOKEN, max_retries=0)
    transcriptions.close()


@pytest.fixture(scope="module")
def finals() -> list[dict[str, Any]]:
    with Listener() as listener:
        return [r for r in listener.listen(SCENE) if r["type"] == "caption" and r["final"]]


def test_every_format_says_what_the_line_says(client: openai.OpenAI, finals: list[dict[str, Any]]) -> None:
    wanted = " ".join(final["text"] for final in finals)

    def told(form: Any) -> Any:
        with SCENE.open("rb") as file:
            return client.audio.transcriptions.create(model="starter", file=file, response_format=form)

    assert told("json").text == wanted
    assert told("text").strip() == wanted
    verbose = told("verbose_json")
    assert [(s.start, s.end, s.text) for s in verbose.segments] == [(f["start"], f["end"], f["text"]) for f in finals]
    assert float(verbose.duration) == pytest.approx(29.8, abs=0.2)
    cues = list(webvtt.from_buffer(io.StringIO(told("vtt"))))
    assert " ".join(" ".join(cue.text.split()) for cue in cues) == wanted
    assert told("srt").startswith("1\n00:00:")


def test_a_stream_tells_each_final_and_then_the_whole(client: openai.OpenAI, finals: list[dict[str, Any]]) -> None:
    with SCENE.open("rb") as file:
        events = list(client.audio.transcriptions.create(model="starter", file=file, stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert [d.strip() for d in deltas] == [final["text"] for final in finals]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(deltas)


def test_a_stream_that_breaks_off_says_so_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full /tmp, or a defect of ours: before, whoever had asked waited for ever."""

    def broken(data: bytes, name: str, gone: threading.Event) -> Iterator[Any]:
        raise fault

    transcriptions = Transcriptions(Config())
    monkeypatch.setattr(transcriptions, "records", broken)
    for fault in (OSError(28, "No space left on device"), RuntimeError("a defect")):

        async def told() -> list[bytes]:
            return [event async for event in _events(transcriptions, b"", "x.wav")]

        events = [json.loads(event.removeprefix(b"data: ")) for event in asyncio.run(asyncio.wait_for(told(), 20))]
        assert [event["type"] for event in events] == ["error"]
        assert str(fault) in events[0]["error"]["message"]
    transcriptions.close()


def test_the_end_of_the_server_does_not_wait_for_a_long_file() -> None:
    transcriptions = Transcriptions(Config())
    records = transcriptions.records(SCENE.read_bytes(), "scene.flac")
    next(records)
    ended = threading.Thread(target=transcriptions.close)
    ended.start()
    until(transcriptions._closed.is_set)
    with pytest.raises(EdgeError, match="the server ends"):
        list(records)
    ended.join(5)
    assert not ended.is_alive()


@pytest.mark.parametrize("streamed", [False, True])
def test_nobody_is_listened_for_who_has_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, streamed: bool) -> None:
    """Half of the upload, or all of it; the processor is for the others."""
    transcriptions, heard, gone = Transcriptions(Config()), threading.Event(), threading.Event()

    def slowly(data: bytes, name: str, left: threading.Event) -> Iterator[Any]:
        heard.set()
        if left.wait(20):
            gone.set()
        yield from ()

    monkeypatch.setattr(transcriptions, "records", slowly)
    monkeypatch.setattr("edge.serve.transcriptions.LOOK_S", 0.05)
    fields = '--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\n' + f"{streamed}\r\n"
    body = (fields + '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nsound\r\n--x--\r\n').encode()
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + body
    with Web(application(Broadcast(), lambda question, last_s: {}, Vital(), transcriptions.routes()), "127.0.0.1", 0) as web:
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        for sent in (request[:-20], request):
            with socket.create_connection(("127.0.0.1", web.port), timeout=10) as client:
                client.sendall(sent.replace(b"Host: localhost", f"Host: 127.0.0.1:{web.port}".encode()))
                if sent is request:
                    assert heard.wait(20)
                else:
                    time.sleep(0.2)
        until(gone.is_set)
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert not caplog.records
    transcriptions.close()


def test_an_upload_in_chunks_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.serve.transcriptions.UPLOAD_BYTES", 100_000)
    transcriptions = Transcriptions(Config())
    with Web(application(Broadcast(), lambda question, last_s: {}, Vital(), transcriptions.routes()), "127.0.0.1", 0) as web:
        connection = HTTPConnection("127.0.0.1", web.port, timeout=10)
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", "/v1/audio/transcriptions", iter([part, *[b"0" * 10_000] * 20]), kind, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 413
        assert "larger than" in json.loads(answer.read())["error"]["message"]


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_cannot_be_heard_is_refused_in_the_clients_own_terms(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"x\.wav is not sound that can be read"):
        client.audio.transcriptions.create(model="starter", file=("x.wav", b"no sound at all"))
    with pytest.raises(openai.BadRequestError, match="response_format is"):
        client.audio.transcriptions.create(model="starter", file=("x.wav", b"x"), response_format="poem")
    stranger = openai.OpenAI(base_url=client.base_url, api_key="wrong-wrong-wrong-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    assert [model.id for model in client.models.list()] == ["starter"]
