"""The Wyoming service of Home Assistant's voice pipelines: sound in, one text out. Nothing that this machine's microphone hears is told.

Whoever connects sends sound and gets back what is said in it, so there is nothing to guard but the processor: requests wait for each
other, and one may hold LONGEST_S of sound. Wyoming knows no passwords. Source: the wyoming package, whose server and events these are.
"""

from __future__ import annotations

import asyncio
import io
import threading
import wave
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.errors import EdgeError, OutputError
from edge.sinks.record import printable
from edge.types import Caption

if TYPE_CHECKING:
    from edge.serve.transcriptions import Transcriptions

LONGEST_S = 600.0
"""A sentence for an assistant takes seconds; this is where a client that never ends is cut off."""
LARGEST_BYTES = 64 << 20
"""The same for sound of many bytes a second: ten minutes of 16 bits, 48 kHz, one channel are 58 MB."""
EVENT_BYTES = 8 << 20
"""Of one event: four minutes of 16 bits and 16 kHz. A chunk of sound is a few thousand usually."""
CONNECTIONS = 16
IDLE_S = 60.0
"""A client that says nothing for so long has left without saying so."""
START_S = 10.0


class Voice:
    """Serves from a thread of its own until close(). port 0: a free one, told by `port`.

    Raises: OutputError where wyoming is missing or the address cannot be had.
    """

    def __init__(self, transcriptions: Transcriptions, host: str, port: int, name: str) -> None:
        """name: of the model, as it is offered."""
        try:
            from wyoming.server import AsyncTcpServer
        except ImportError as error:
            raise OutputError(f"wyoming: its package is missing ({error}); pip install 'auricle[wyoming]'") from None
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._ready, self._failed = threading.Event(), ""
        self._server = AsyncTcpServer(host, port)
        self._thread = threading.Thread(target=self._serve, args=(_handler(transcriptions, name),), name="auricle-wyoming", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_S) or self._failed:
            raise OutputError(f"wyoming: {host} port {port} cannot be had ({self._failed or 'no answer'}); name another with --wyoming")

    def _serve(self, handler: Any) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.start(handler))
            listening: Any = self._server._server  # there is no other way to learn a free port
            self.port = listening.sockets[0].getsockname()[1]
        except OSError as error:
            self._failed = error.strerror or str(error)
            self._ready.set()
            return
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._server.stop())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def close(self) -> None:
        """Ends every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)


class _Bounded:
    """What the package reads a connection by, bounded in bytes and in time."""

    def __init__(self, reader: asyncio.StreamReader, refuse: Callable[[str, str], Awaitable[object]]) -> None:
        self._reader, self._refuse = reader, refuse
        self.at_eof, self.feed_eof = reader.at_eof, reader.feed_eof

    async def readline(self) -> bytes:
        return await asyncio.wait_for(self._reader.readline(), IDLE_S)

    async def readexactly(self, n: int) -> bytes:
        if n > EVENT_BYTES:
            await self._refuse(f"an event has {n} bytes, more than {EVENT_BYTES}; send the sound in smaller chunks", "audio-length")
            raise ValueError
        return await asyncio.wait_for(self._reader.readexactly(n), IDLE_S)


def _handler(transcriptions: Transcriptions, name: str) -> Any:
    """What the server makes for each connection."""
    from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.error import Error
    from wyoming.event import Event
    from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
    from wyoming.server import AsyncEventHandler

    offered: dict[str, Any] = {"attribution": Attribution("auricle", ""), "installed": True, "version": __version__}
    model = AsrModel(name=name, description=f"auricle's bundle {name}: speech and sounds", languages=["en"], **offered)
    about = "speech and sounds, on this device"
    program = AsrProgram(name="auricle", description=about, models=[model], supports_transcript_streaming=True, **offered)

    connected: set[Any] = set()

    class Connection(AsyncEventHandler):
        """One connection: describe, or transcribe, audio-start, audio-chunk …, audio-stop."""

        _format: tuple[int, int, int] | None = None
        """rate, bytes of a sample, channels."""

        def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            bounded: Any = _Bounded(reader, self._refuse)
            super().__init__(bounded, writer)
            self._heard = bytearray()

        async def run(self) -> None:
            connected.add(self)
            try:
                if len(connected) > CONNECTIONS:
                    self.writer.close()
                else:
                    await self._run()
            finally:
                connected.remove(self)

        async def _run(self) -> None:
            # What came was no event, or the client has left: its connection is closed, and that is all.
            nonsense = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
            with suppress(*nonsense, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                await super().run()

        async def handle_event(self, event: Event) -> bool:
            if Describe.is_type(event.type):
                await self.write_event(Info(asr=[program]).event())
            elif Transcribe.is_type(event.type) or AudioStart.is_type(event.type):
                self._heard.clear()
                self._format = None
            elif AudioChunk.is_type(event.type):
                return await self._take(AudioChunk.from_event(event))
            elif AudioStop.is_type(event.type):
                await self._answer()
            return True

        async def _take(self, chunk: AudioChunk) -> bool:
            form = chunk.rate, chunk.width, chunk.channels
            if self._format not in (None, form):
                return await self._refuse("the sound changes its rate, width or channels on the way", "audio-format")
            if not (1 <= chunk.width <= 4 and 1 <= chunk.channels <= 64 and 1_000 <= chunk.rate <= 768_000):
                return await self._refuse(f"sound of {form} (rate, bytes, channels) is not understood", "audio-format")
            self._format = form
            self._heard += chunk.audio
            if len(self._heard) > min(LARGEST_BYTES, LONGEST_S * chunk.rate * chunk.width * chunk.channels):
                longest = f"{LONGEST_S:.0f} s or {LARGEST_BYTES} bytes"
                return await self._refuse(f"the sound is longer than {longest}; send shorter ones", "audio-length")
            return True

        async def _answer(self) -> None:
            sound, self._heard = bytes(self._heard), bytearray()
            if self._format is None or not sound:
                await self.write_event(Transcript(text="").event())
                return
            data = _wave(sound, *self._format)
            try:
                told = await transcriptions.heard(data, "the sound", self._has_left)
            except EdgeError as error:
                await self._refuse(str(error), "transcription")
                return
            texts = [printable(r.text) for r in told if isinstance(r, Caption) and r.final and r.text.strip()]
            await self.write_event(TranscriptStart().event())
            for number, text in enumerate(texts):
                await self.write_event(TranscriptChunk(text=text if number == 0 else f" {text}").event())
            await self.write_event(Transcript(text=" ".join(texts)).event())
            await self.write_event(TranscriptStop().event())

        async def _has_left(self) -> bool:
            return bool(self.reader.at_eof() or self.writer.is_closing())  # no client of Wyoming closes its side before it has its text

        async def _refuse(self, message: str, code: str) -> bool:
            await self.write_event(Error(text=message, code=code).event())
            return False

    return Connection


def _wave(sound: bytes, rate: int, width: int, channels: int) -> bytes:
    """The sound as a WAV file, which the line reads like any other; what is left of a last sample is dropped."""
    whole = len(sound) - len(sound) % (width * channels)
    with io.BytesIO() as file:
        with wave.open(file, "wb") as written:
            written.setnchannels(channels)
            written.setsampwidth(width)
            written.setframerate(rate)
            written.writeframes(sound[:whole])
        return file.getvalue()
