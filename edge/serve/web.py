"""The stream for browsers and programs over HTTP: pages, WebSocket, server-sent events, questions, metrics and health.

Starlette and uvicorn in a thread of their own; what they serve comes from the broadcast, and nothing that is slow holds up the line.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from importlib import resources
from types import TracebackType
from typing import Any

from edge.errors import EdgeError, OutputError
from edge.serve.access import Access
from edge.serve.broadcast import Broadcast, Subscription, Told

STATIC = {"captions.html": "text/html", "timeline.html": "text/html", "page.css": "text/css", "captions.js": "text/javascript"}
STATIC |= {"timeline.js": "text/javascript", "stream.js": "text/javascript"}
QUESTION_BYTES = 8_192
HEARTBEAT_S = 15.0
"""A comment so often keeps an idle stream of events open."""
REQUEST_S = 10.0
"""A connection that has asked for nothing for so long, or twice that behind an answer, is closed."""
BODY_S = 30.0
"""A request of whose body nothing more comes for so long is refused."""
CONNECTIONS = 256
"""Further ones are turned away, so that they don't take the descriptors that the line and its other clients need."""
STALE_S = 15.0
"""A live stream of which nothing was processed for so long is not healthy."""

Ask = Callable[[str, float], dict[str, Any]]


class Vital:
    """What health and metrics are fed by: the position of what was processed, and when that last grew."""

    def __init__(self) -> None:
        self.samples = 0
        self.grew_at = time.monotonic()
        self.level_dbfs: float | None = None
        self.floor_dbfs: float | None = None

    def processed(self, at: int, level_dbfs: float | None = None, floor_dbfs: float | None = None) -> None:
        """at: samples of the stream that have been dealt with; level of the newest chunk and of the noise floor."""
        self.samples, self.grew_at = at, time.monotonic()
        # Digital silence is minus infinity, which neither JSON nor a gauge has.
        self.level_dbfs, self.floor_dbfs = (v if v is not None and math.isfinite(v) else None for v in (level_dbfs, floor_dbfs))

    @property
    def healthy(self) -> bool:
        return time.monotonic() - self.grew_at < STALE_S


class _Reader:
    """A subscription for an event loop: the writer's thread wakes it."""

    def __init__(self, broadcast: Broadcast, given: Mapping[str, str], after: str = "") -> None:
        """given: what was asked for: after, epoch, last. after: stands above that of `given`."""
        self._loop, self._new = asyncio.get_running_loop(), asyncio.Event()
        numbers = [
            int(text) if text.isdigit() and len(text) < 16 else None for text in (after or given.get("after", ""), given.get("last", ""))
        ]
        self._subscription: Subscription = broadcast.subscribe(numbers[0], given.get("epoch"), numbers[1] or 0, wake=self._wake)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended: so has this reader
            self._loop.call_soon_threadsafe(self._new.set)

    async def get(self, timeout_s: float) -> Told | None:
        told = self._subscription.get(0)
        if told is None and not self._subscription.over:
            self._new.clear()
            told = self._subscription.get(0)
            if told is None:
                try:
                    await asyncio.wait_for(self._new.wait(), timeout_s)
                except asyncio.TimeoutError:
                    return None
                told = self._subscription.get(0)
        return told

    @property
    def over(self) -> bool:
        return self._subscription.over

    def close(self) -> None:
        self._subscription.close()


def application(broadcast: Broadcast, ask: Ask, vital: Vital, further: list[Any] | None = None) -> Any:
    """The Starlette application without its guard. further: routes of other programs' interfaces. Raises: OutputError without Starlette."""
    try:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
        from starlette.routing import Route, WebSocketRoute
        from starlette.websockets import WebSocket, WebSocketDisconnect
    except ImportError as error:
        raise OutputError(f"web: it needs Starlette and uvicorn ({error}); pip install 'auricle[web]'") from None

    async def static(request: Request) -> Response:
        name = {"/": "captions.html", "/timeline": "timeline.html"}.get(request.url.path, request.url.path.rpartition("/")[2])
        if name not in STATIC:
            return PlainTextResponse("there is no such page\n", 404)
        return Response(resources.files("edge.serve").joinpath("static", name).read_bytes(), media_type=f"{STATIC[name]}; charset=utf-8")

    async def events(request: Request) -> Response:
        async def told() -> AsyncIterator[bytes]:
            reader = _Reader(broadcast, request.query_params, request.headers.get("last-event-id", ""))
            try:
                while not reader.over:
                    record = await reader.get(HEARTBEAT_S)
                    if record is None:
                        yield b": still here\n\n"
                    else:
                        number = b"id: %d\n" % record.seq if record.record["type"] != "lag" and record.seq else b""
                        yield number + b"data: " + record.line + b"\n"
            finally:
                reader.close()

        return StreamingResponse(told(), media_type="text/event-stream")

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        reader = _Reader(broadcast, websocket.query_params)
        listener = asyncio.ensure_future(websocket.receive())
        try:
            while not reader.over:
                record = await reader.get(1.0)
                if record is not None:
                    await websocket.send_text(record.line.decode().rstrip("\n"))
                    await asyncio.sleep(0)  # sending to one that has left does not wait: without this its leaving was never heard of
                if listener.done():
                    if listener.result()["type"] == "websocket.disconnect":
                        return
                    listener = asyncio.ensure_future(websocket.receive())
            await websocket.close()
        except (WebSocketDisconnect, RuntimeError):
            pass  # it has left
        finally:
            listener.cancel()
            reader.close()

    async def answer(request: Request) -> Response:
        try:
            body = await _bounded(request)
            question, last_s = body["question"], float(body.get("last_s", 60.0))
            if not isinstance(question, str) or not 0 < last_s < 1e9:
                raise ValueError("question is text, last_s a number of seconds above 0")
            return JSONResponse(await asyncio.to_thread(ask, question, last_s))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            return JSONResponse({"type": "error", "message": f"send JSON with a question ({error})"}, 400)
        except EdgeError as error:
            return JSONResponse({"type": "error", "message": str(error)}, 409)

    async def health(request: Request) -> Response:
        told = {
            **{"healthy": vital.healthy, "processed_s": round(vital.samples / 16_000, 3), "status": broadcast.status},
            **{"level_dbfs": vital.level_dbfs, "floor_dbfs": vital.floor_dbfs},
        }
        return JSONResponse(told, 200 if vital.healthy else 503)

    async def metrics(request: Request) -> Response:
        from edge.serve.metrics import exposed

        body, kind = exposed(broadcast, vital)
        return Response(body, media_type=kind)

    return Starlette(
        routes=[
            Route("/", static),
            Route("/timeline", static),
            Route("/static/{name}", static),
            Route("/events", events),
            WebSocketRoute("/ws", stream),
            Route("/ask", answer, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics),
            *(further or []),
        ]
    )


async def _bounded(request: Any) -> Any:
    """The JSON of a body that is not too long. Raises: ValueError."""
    import json

    from starlette.requests import Request

    body = b""
    async for part in Request(request.scope, patient(request.receive)).stream():
        body += part
        if len(body) > QUESTION_BYTES:
            raise ValueError(f"a body longer than {QUESTION_BYTES} bytes")
    return json.loads(body)


def _bounded_protocol() -> Any:
    """uvicorn's protocol, which by itself waits for a request without end and takes connections without number."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > CONNECTIONS:
                transport.abort()
            else:
                self.loop.call_later(REQUEST_S, self._look, None)

        def _look(self, before: Any) -> None:
            """before: the request that was answered last when it was looked before; some other value while one is being answered."""
            if self.transport.is_closing() or self.transport.get_protocol() is not self:  # a WebSocket has another by now
                return
            idle = self.cycle is None or self.cycle.response_complete
            if idle and before is self.cycle:
                self.transport.abort()
            else:
                self.loop.call_later(REQUEST_S, self._look, self.cycle if idle else object())

    return Bounded


def patient(receive: Any) -> Any:
    """A request's `receive` that does not wait without end: HTTPException after BODY_S."""
    from starlette.exceptions import HTTPException

    async def waited() -> Any:
        try:
            return await asyncio.wait_for(receive(), BODY_S)
        except asyncio.TimeoutError:
            raise HTTPException(408, f"nothing more of the request came for {BODY_S:g} s") from None

    return waited


class Web:
    """Serves an application behind its guard, from a thread of its own until close(). port 0: a free one, told by `port`.

    Raises: OutputError where uvicorn is missing or the address cannot be had.
    """

    def __init__(self, app: Any, host: str, port: int, token: str = "", names: str = "") -> None:
        try:
            import uvicorn
        except ImportError as error:
            raise OutputError(f"web: it needs Starlette and uvicorn ({error}); pip install 'auricle[web]'") from None
        Access(app, host, port, token, names)  # before anything is bound
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(128)  # before, another one may bind to the same
        except OSError as error:
            self._socket.close()
            raise OutputError(f"web: {host} port {port} cannot be had ({error.strerror or error}); name another with --web") from None
        self.port = self._socket.getsockname()[1]
        guarded = Access(app, host, self.port, token, names)
        config = uvicorn.Config(
            guarded,
            http=_bounded_protocol(),
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws_max_size=4_096,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="auricle-web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Readers get what waits and the end of the stream, within a second or so."""
        self._server.should_exit = True
        self._thread.join(5.0)
        self._socket.close()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
