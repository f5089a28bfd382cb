"""The stream on a Unix socket: JSON Lines both ways, one thread for all clients, none of whom can hold up the line or another client.

A client asks by lines: {"op": "subscribe"}, {"op": "ask", …} or {"op": "status"}; the protocol is described in docs/serving.md.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.errors import EdgeError
from edge.serve.binding import bind
from edge.serve.broadcast import Broadcast, Subscription, line_of

REQUEST_BYTES = 1 << 16
"""Longest line that a client may send."""
CLIENTS = 256
ENOUGH_BYTES = 1 << 16
"""No more records are taken from a client's queue while so many bytes wait for it to read."""
DRAIN_S = 2.0
"""At the end, slow clients get so long to take what waits for them."""

Ask = Callable[[str, float], dict[str, Any]]
"""(question, last_s) -> an answer record; may take its time, any thread. Raises: EdgeError, ValueError."""
AskEach = Callable[[str, float], Iterator[dict[str, Any]]]  # of each turn, the oldest first


class _Client:
    """One connection. out: what it has not read yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.out = bytearray()
        self.line = bytearray()
        self.subscription: Subscription | None = None
        self.asking = 0
        self.watched = 0
        """Events that the selector looks for on it."""
        self.spoken = False
        """It sends nothing more; it may still read, as the far end of `echo … | nc -NU` does."""
        self.leaving = self.gone = False
        self.blocked = False
        """It has not read what was sent: nothing more is tried until the selector says that it has."""

    def fill(self) -> None:
        """Takes what waits in its place of the stream, as long as it reads it."""
        while self.subscription is not None and len(self.out) < ENOUGH_BYTES:
            told = self.subscription.get(0)
            if told is None:
                self.leaving = self.leaving or self.subscription.over
                return
            self.out += told.line


class LocalSocket:
    """Serves from a thread of its own until close(). path: made with mode 0600, in a folder that is made with 0700 if it is missing.

    Raises: OutputError when the socket cannot be made or another server has it.
    """

    def __init__(self, path: Path, broadcast: Broadcast, ask: Ask, ask_each: AskEach | None = None) -> None:
        self.path, self._broadcast, self._ask, self._ask_each = path, broadcast, ask, ask_each
        self._listener = bind(path)
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)  # given up to turn somebody away when descriptors are out
        # Sockets and not a pipe: whoever answers after the end finds them closed, and not a number that is another file's by then.
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._clients: dict[int, _Client] = {}
        self._answers: list[tuple[_Client, bytes, bool]] = []
        """Whose they are, and whether it is the last to a request."""
        self._lock = threading.Lock()
        self._until: float | None = None
        self._thread = threading.Thread(target=self._serve, name="auricle-socket", daemon=True)
        self._thread.start()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it will wake anyhow
            self._wake_write.send(b".")

    def _serve(self) -> None:
        while self._until is None or (self._clients and time.monotonic() < self._until):
            for key, events in self._selector.select(0.05 if self._until is not None else None):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_read:
                    with suppress(BlockingIOError):
                        while len(self._wake_read.recv(4096)) == 4096:
                            pass
                elif (client := self._clients.get(key.fd)) is not None:
                    client.blocked = client.blocked and not events & selectors.EVENT_WRITE
                    if events & selectors.EVENT_READ:
                        self._read(client)
            self._deliver()
        for client in list(self._clients.values()):
            self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # whoever is left waiting would wake us without end
                self._turn_away()
            return
        connection.setblocking(False)
        if len(self._clients) >= CLIENTS:
            connection.close()
            return
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._watch(client)

    def _turn_away(self) -> None:
        if self._spare is None:
            time.sleep(0.05)  # another thread took its place
        else:
            os.close(self._spare)
            self._spare = None
            with suppress(OSError):
                self._listener.accept()[0].close()
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _watch(self, client: _Client) -> None:
        """Looks for what the client may do next; for nothing where it can only be waited for, since a hang-up is reported without end."""
        wanted = (0 if client.spoken else selectors.EVENT_READ) | (selectors.EVENT_WRITE if client.out else 0)
        if wanted == client.watched:
            return
        if client.watched and wanted:
            self._selector.modify(client.connection, wanted)
        elif wanted:
            self._selector.register(client.connection, wanted)
        else:
            self._selector.unregister(client.connection)
        client.watched = wanted

    def _read(self, client: _Client) -> None:
        try:
            data = client.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            client.spoken = True
            return
        client.line += data
        while (end := client.line.find(b"\n")) >= 0:
            line, client.line = bytes(client.line[:end]), client.line[end + 1 :]
            self._request(client, line)
        if len(client.line) > REQUEST_BYTES:
            client.out += line_of({"type": "error", "message": f"a request is longer than {REQUEST_BYTES} bytes; send shorter lines"})
            client.leaving = True

    def _request(self, client: _Client, line: bytes) -> None:
        if not line.strip():
            return
        try:
            request = json.loads(line)
            operation = request["op"]
        except (ValueError, TypeError, KeyError, RecursionError):
            client.out += line_of(
                {"type": "error", "message": 'a request is a JSON object on one line with an "op": subscribe, ask or status'}
            )
            return
        if operation == "subscribe":
            after, epoch = request.get("after"), request.get("epoch")
            if client.subscription is not None:
                client.subscription.close()
            number, last = (n if isinstance(n, int) and not isinstance(n, bool) else None for n in (after, request.get("last")))
            named = epoch if isinstance(epoch, str) else None
            client.subscription = self._broadcast.subscribe(number, named, last or 0, wake=self._wake)
        elif operation == "status":
            client.out += line_of(self._broadcast.status or {"type": "status"})
        elif operation == "ask":
            client.asking += 1
            threading.Thread(target=self._answer, args=(client, request), name="auricle-ask", daemon=True).start()
        else:
            client.out += line_of({"type": "error", "message": f"op is {str(operation)[:40]!a}, but must be subscribe, ask or status"})

    def _answer(self, client: _Client, request: dict[str, Any]) -> None:
        named = {"id": request["id"]} if isinstance(request.get("id"), str | int) else {}
        try:
            last_s = request.get("last_s", 60.0)
            if isinstance(last_s, bool) or not isinstance(last_s, int | float) or not 0 < last_s < 1e9:
                raise ValueError("last_s must be a number of seconds above 0")
            question = str(request.get("question", ""))
            if request.get("each") is not True or self._ask_each is None:
                told = {**self._ask(question, float(last_s)), **named}
            else:
                count = 0
                for answer in self._ask_each(question, float(last_s)):
                    if client.gone:
                        return
                    self._hand(client, {**answer, **named}, False)
                    count += 1
                told = {"type": "answered", **named, "answers": count}
        except (EdgeError, ValueError) as error:
            told = {"type": "error", **named, "message": str(error)}
        self._hand(client, told, True)

    def _hand(self, client: _Client, told: dict[str, Any], last: bool) -> None:
        with self._lock:
            self._answers.append((client, line_of(told), last))
        self._wake()

    def _deliver(self) -> None:
        with self._lock:
            answers, self._answers = self._answers, []
        for client, line, last in answers:
            client.asking -= last
            client.out += b"" if client.gone else line
        for client in [client for client in self._clients.values() if not client.blocked]:
            client.fill()
            self._write(client)

    def _write(self, client: _Client) -> None:
        try:
            while client.out:
                sent = client.connection.send(client.out)
                del client.out[:sent]
                client.fill()
        except BlockingIOError:
            client.blocked = True
        except OSError:
            self._drop(client)
            return
        done = client.leaving or (client.spoken and client.subscription is None)
        if done and not client.out and not client.asking:
            self._drop(client)
        else:
            self._watch(client)

    def _drop(self, client: _Client) -> None:
        client.gone = True
        self._clients.pop(client.connection.fileno(), None)
        if client.watched:
            self._selector.unregister(client.connection)
            client.watched = 0
        if client.subscription is not None:
            client.subscription.close()
        client.connection.close()

    def close(self) -> None:
        """Ends the stream for every client once it has what waits for it, at most two seconds later, and removes the socket."""
        self._broadcast.close()
        self._until = time.monotonic() + DRAIN_S
        self._wake()
        self._thread.join(DRAIN_S + 1)
        self._selector.close()
        if self._spare is not None:
            os.close(self._spare)
        for end in (self._listener, self._wake_read, self._wake_write):
            end.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> LocalSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
