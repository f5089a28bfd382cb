"""The interface that programs for OpenAI's transcriptions speak: a file is posted, its captions come back.

A line of its own is loaded with the first request and kept; requests wait for each other. What this line does not know (tokens, log-
probabilities of segments) is left out. Source: OpenAI API reference, createTranscription.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

from edge.bundle import Bundle
from edge.capture import AudioFile
from edge.config import Config
from edge.errors import EdgeError
from edge.pipeline import Line
from edge.serve.web import patient
from edge.sinks import open_sink
from edge.sinks.record import printable, seconds
from edge.types import Caption, Record, Vitals

UPLOAD_BYTES = 200 << 20
_TOO_LARGE = f"the upload is larger than {UPLOAD_BYTES} bytes"
LOOK_S = 0.5
"""So often it is looked whether who waits for a text is still there."""
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


class Transcriptions:
    """Routes for edge.serve.web.application. config: of the line that is loaded for them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._line: Line | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def routes(self) -> list[Any]:
        from starlette.routing import Route

        return [Route("/v1/audio/transcriptions", self._post, methods=["POST"]), Route("/v1/models", self._models)]

    async def _models(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        named = {"id": self._config.bundle, "object": "model", "created": 0, "owned_by": "auricle"}
        return JSONResponse({"object": "list", "data": [named]})

    async def _post(self, request: Any) -> Any:
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect, Request
        from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

        if int(request.headers.get("content-length") or 0) > UPLOAD_BYTES:
            return _refused(_TOO_LARGE, 413)
        try:
            async with Request(request.scope, _limited(request.receive)).form(max_files=1, max_fields=20) as form:
                sent, form_of = form.get("file"), str(form.get("response_format") or "json")
                streamed = str(form.get("stream") or "").lower() in ("true", "1")
                if sent is None or isinstance(sent, str):
                    return _refused("there is no file in the request; send one as multipart/form-data under the name file")
                if form_of not in FORMATS:
                    return _refused(f"response_format is {form_of[:40]!r}, but must be one of {', '.join(FORMATS)}")
                if "word" in form.getlist("timestamp_granularities[]") and not self._config.word_times:
                    return _refused("the times of words are not told here; start the server with --word-times, or leave them out")
                data, name = await sent.read(), printable(sent.filename or "the upload")[:80]
        except HTTPException as error:
            return _refused(str(error.detail), error.status_code)
        except ClientDisconnect:
            return _refused("the client has left")
        if streamed:
            return StreamingResponse(_events(self, data, name), media_type="text/event-stream")
        try:
            records = await self.heard(data, name, request.is_disconnected)
        except EdgeError as error:
            return _refused(str(error))
        finals = [r for r in records if isinstance(r, Caption) and r.final and r.text.strip()]
        text = " ".join(printable(final.text) for final in finals)
        if form_of == "json":
            return JSONResponse({"text": text})
        if form_of == "verbose_json":
            return JSONResponse(_verbose(finals, text, records))
        if form_of == "text":
            return PlainTextResponse(text + "\n")
        written = io.StringIO()
        sink = open_sink(form_of, written)
        for record in records:
            if not isinstance(record, Vitals):
                sink.write(record)
        sink.close()
        return PlainTextResponse(written.getvalue())

    async def heard(self, data: bytes, name: str, has_left: Callable[[], Awaitable[bool]]) -> list[Record | Vitals]:
        """All of `records`, or as many as were told when whoever waits for them had left. Raises: EdgeError."""
        gone = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(lambda: list(self.records(data, name, gone))))
        while not (await asyncio.wait({work}, timeout=LOOK_S))[0]:
            if await has_left():
                gone.set()
        return work.result()

    def records(self, data: bytes, name: str, gone: threading.Event | None = None) -> Iterator[Record | Vitals]:
        """Everything that the line tells of an uploaded file. name: what it is called in errors. gone: set once nobody waits any more.

        Raises: EdgeError.
        """
        with self._lock, tempfile.NamedTemporaryFile(prefix="upload-") as file:
            file.write(data)
            file.flush()
            if gone is not None and gone.is_set():
                return
            if self._line is None:
                self._line = Line(Bundle.open(self._config.bundle), self._config)
            try:
                with closing(self._line.run(AudioFile(file.name))) as records:
                    for record in records:
                        if self._closed.is_set():
                            raise EdgeError("the server ends; send the file again once it is back")
                        if gone is not None and gone.is_set():
                            return
                        yield record
            except EdgeError as error:
                raise type(error)(str(error).replace(file.name, name)) from None

    def close(self) -> None:
        """Breaks off what is being heard, so that a long file does not hold up the end."""
        self._closed.set()
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line.bundle.close()
                self._line = None


def _limited(receive: Any) -> Any:
    """What comes of a request, up to UPLOAD_BYTES: one that is sent in chunks does not say before how long it is."""
    from starlette.exceptions import HTTPException

    taken, waited = 0, patient(receive)

    async def limited() -> Any:
        nonlocal taken
        message = await waited()
        taken += len(message.get("body", b""))
        if taken > UPLOAD_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return limited


def _refused(message: str, status: int = 400) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, status)


def _verbose(finals: list[Caption], text: str, records: list[Record | Vitals]) -> dict[str, Any]:
    duration = max((r.at for r in records if isinstance(r, Vitals)), default=0)
    segments = [
        {"id": at, "start": seconds(final.start), "end": seconds(final.stop), "text": printable(final.text)}
        for at, final in enumerate(finals)
    ]
    words = [word for final in finals for word in final.words]
    language = next((final.language for final in finals if final.language), "unknown")
    timed = [{"word": printable(w.text), "start": seconds(w.start), "end": seconds(w.stop)} for w in words]
    told = {"task": "transcribe", "language": language, "duration": seconds(duration), "text": text, "segments": segments}
    return {**told, "words": timed} if timed else told


async def _events(transcriptions: Transcriptions, data: bytes, name: str) -> AsyncIterator[bytes]:
    """A delta for each final as it is told, and the whole at the end."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    loop, said, gone = asyncio.get_running_loop(), list[str](), threading.Event()

    def work() -> None:
        try:
            for record in transcriptions.records(data, name, gone):
                if isinstance(record, Caption) and record.final and record.text.strip():
                    loop.call_soon_threadsafe(queue.put_nowait, printable(record.text))
        except Exception as error:  # whatever it is, nobody waits for ever, and no half is called done
            loop.call_soon_threadsafe(queue.put_nowait, f"\0{error}")
        else:
            loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=work, name="auricle-transcribe", daemon=True).start()
    try:
        while (text := await queue.get()) is not None:
            if text.startswith("\0"):
                yield _event({"type": "error", "error": {"message": text[1:], "type": "invalid_request_error"}})
                return
            yield _event({"type": "transcript.text.delta", "delta": (" " if said else "") + text})
            said.append(text)
        yield _event({"type": "transcript.text.done", "text": " ".join(said)})
    finally:
        gone.set()


def _event(told: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n".encode()
