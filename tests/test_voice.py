"""Wyoming's own client against our service: what is offered, what is said of sound in every form, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info

from edge.config import Config
from edge.errors import OutputError
from edge.listener import Listener
from edge.serve import voice as service
from edge.serve.transcriptions import Transcriptions
from edge.serve.voice import Voice

SCENE = Path("edge/data/demo_scene.flac")


@pytest.fixture(scope="module")
def voice() -> Iterator[Voice]:
    transcriptions = Transcriptions(Config())
    served = Voice(transcriptions, "127.0.0.1", 0, "starter")
    yield served
    served.close()
    transcriptions.close()


@pytest.fixture(scope="module")
def wanted() -> str:
    with Listener() as listener:
        return " ".join(r["text"] for r in listener.listen(SCENE) if r["type"] == "caption" and r["final"])


def sound(width: int, channels: int) -> tuple[bytes, int]:
    """The scene as PCM of so many bytes a sample; its rate."""
    samples, rate = soundfile.read(SCENE, dtype="float32")
    whole = np.rint(np.repeat(samples[:, None], channels, axis=1) * 32_767).astype(np.int32)
    if width == 2:
        return whole.astype("<i2").tobytes(), rate
    return (whole << 16).astype("<i4").tobytes(), rate


async def said(port: int, *events: Event) -> list[Event]:
    """Everything that the server sends, up to its first transcript, info or error."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        for event in events:
            await client.write_event(event)
        return [event async for event in answers(client)]


async def answers(client: AsyncTcpClient) -> AsyncIterator[Event]:
    while (event := await asyncio.wait_for(client.read_event(), 60)) is not None:
        yield event
        if event.type in ("transcript", "info", "error"):
            return


def spoken(data: bytes, rate: int, width: int, channels: int, step: int = 4096) -> list[Event]:
    form: dict[str, Any] = {"rate": rate, "width": width, "channels": channels}
    chunks = [AudioChunk(audio=data[k : k + step], **form).event() for k in range(0, len(data), step)]
    return [Transcribe().event(), AudioStart(**form).event(), *chunks, AudioStop().event()]


def test_what_is_offered(voice: Voice) -> None:
    info = Info.from_event(asyncio.run(said(voice.port, Describe().event()))[-1])
    (program,) = info.asr
    assert program.supports_transcript_streaming
    assert [model.name for model in program.models] == ["starter"]


@pytest.mark.parametrize(("width", "channels", "step"), [(2, 1, 4096), (2, 2, 1001), (4, 1, 65_536)])
def test_sound_of_every_form_is_told_as_the_line_tells_it(voice: Voice, wanted: str, width: int, channels: int, step: int) -> None:
    data, rate = sound(width, channels)
    events = asyncio.run(said(voice.port, *spoken(data, rate, width, channels, step)))
    assert Transcript.from_event(events[-1]).text == wanted
    assert events[0].type == "transcript-start"
    assert "".join(event.data["text"] for event in events if event.type == "transcript-chunk") == wanted


def test_two_at_once_and_two_after_another_get_their_own(voice: Voice, wanted: str) -> None:
    data, rate = sound(2, 1)
    silence = bytes(2 * rate)

    async def all_of_it() -> list[str]:
        async with AsyncTcpClient("127.0.0.1", voice.port) as client:
            texts = []
            for part in (silence, data):
                for event in spoken(part, rate, 2, 1):
                    await client.write_event(event)
                texts.append(Transcript.from_event([event async for event in answers(client)][-1]).text)
            return texts

    async def both() -> list[list[str]]:
        return await asyncio.gather(all_of_it(), all_of_it())

    assert asyncio.run(both()) == [["", wanted], ["", wanted]]


def test_nothing_heard_is_an_empty_transcript(voice: Voice) -> None:
    events = asyncio.run(said(voice.port, Transcribe().event(), AudioStop().event()))
    assert Transcript.from_event(events[-1]).text == ""


def chunk(rate: int = 16_000, width: int = 2, channels: int = 1, size: int = 100) -> Event:
    return AudioChunk(rate=rate, width=width, channels=channels, audio=bytes(size)).event()


@pytest.mark.parametrize(
    ("events", "says"),
    [([chunk(16_000), chunk(8_000)], "changes its rate"), ([chunk(0)], "is not understood"), ([chunk(width=9)], "is not understood")],
)
def test_sound_that_cannot_be_is_refused_in_a_sentence(voice: Voice, events: list[Event], says: str) -> None:
    error = Error.from_event(asyncio.run(said(voice.port, *events))[-1])
    assert says in error.text


def test_sound_without_end_is_cut_off(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LONGEST_S", 1.0)
    error = Error.from_event(asyncio.run(said(voice.port, chunk(size=20_000), chunk(size=20_000)))[-1])
    assert "longer than 1 s" in error.text


def test_memory_is_for_the_sound_that_may_be_sent(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its bytes, whatever rate and channels it claims, and by those that an event claims to have."""
    monkeypatch.setattr(service, "LARGEST_BYTES", 30_000)
    wide = AudioChunk(rate=768_000, width=4, channels=64, audio=bytes(20_480)).event()
    assert "or 30000 bytes" in Error.from_event(asyncio.run(said(voice.port, wide, wide))[-1]).text
    with socket.create_connection(("127.0.0.1", voice.port), timeout=10) as claims, claims.makefile("rb") as said_:
        claims.sendall(b'{"type": "audio-chunk", "payload_length": 4000000000}\n')
        assert b"smaller chunks" in said_.read(), "it is not waited for"


def test_who_says_nothing_more_gives_its_place_back(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "IDLE_S", 0.3)
    for begun in (b"", b'{"type": "desc', b'{"type": "audio-chunk", "payload_length": 40}\nhalf'):
        with socket.create_connection(("127.0.0.1", voice.port), timeout=10) as idle:
            idle.sendall(begun)
            assert idle.recv(1) == b""


def test_nobody_is_listened_for_who_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()

    class Slow(Transcriptions):
        def records(self, data: bytes, name: str, gone: threading.Event | None = None) -> Iterator[Any]:
            if gone is not None and gone.wait(20):
                left.set()
            yield from ()

    monkeypatch.setattr("edge.serve.transcriptions.LOOK_S", 0.05)
    served = Voice(Slow(Config()), "127.0.0.1", 0, "starter")

    async def ask_and_leave() -> None:
        async with AsyncTcpClient("127.0.0.1", served.port) as client:
            for event in spoken(bytes(2_000), 16_000, 2, 1):
                await client.write_event(event)
            await asyncio.sleep(0.3)

    asyncio.run(ask_and_leave())
    assert left.wait(20)
    served.close()


def test_of_many_connections_the_last_are_turned_away(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CONNECTIONS", 3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", voice.port), timeout=10))
        late = stack.enter_context(socket.create_connection(("127.0.0.1", voice.port), timeout=10))
        assert late.recv(1) == b""
    assert asyncio.run(said(voice.port, Describe().event()))[-1].type == "info"


@pytest.mark.parametrize(
    "nonsense", [b"\xff\x00 not json\n" * 10, b'{"type":"audio-chunk"}\n', b'{"type":"audio-chunk","data":[]}\n', b"[]\n"]
)
def test_nonsense_ends_its_own_connection_and_no_other(voice: Voice, nonsense: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", voice.port)) as wild:
        wild.sendall(nonsense)
        wild.settimeout(10)
        with suppress(ConnectionResetError):
            while wild.recv(4096):
                pass
    gc.collect()
    assert not caplog.records
    assert asyncio.run(said(voice.port, Describe().event()))[-1].type == "info"


def test_a_port_that_is_taken_is_one_sentence(voice: Voice) -> None:
    with pytest.raises(OutputError, match=r"wyoming: 127\.0\.0\.1 port \d+ cannot be had"):
        Voice(Transcriptions(Config()), "127.0.0.1", voice.port, "starter")


def test_serve_offers_it_and_ends_with_a_client_still_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge.cli", "serve", "--input", str(SCENE), "--repeat", "--wyoming", "0"]
    process = subprocess.Popen(
        [*command, "--socket", str(tmp_path / "auricle.sock")], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("auricle: Wyoming on 127.0.0.1:")
        with socket.create_connection(("127.0.0.1", int(line.rpartition(":")[2]))):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
