"""A hub of one's own on this machine: what huggingface_hub asks for, and the ways in which it goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0" * 39 + "1"
REPOSITORY = "somebody/bundle"


class Hub(ThreadingHTTPServer):
    """Serves one folder as REPOSITORY. faults: file -> "missing", "stalled", "cut", "wrong", "moved", "circle" or "endless"."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.faults = folder, dict[str, str]()
        self.asked: list[tuple[str, str, str]] = []
        """(method, file, Range) of every request."""
        self.version = "1"
        self.cuts = 0
        """Answers that were broken off."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub, parts = self.server, self.path.strip("/").split("/")
        moved = parts[0] == "elsewhere"
        file = parts[-1]
        hub.asked.append((self.command, file, self.headers.get("Range", "")))
        fault = hub.faults.get(file, "")
        known = moved or "/".join(parts[:3]) == f"{REPOSITORY}/resolve"
        if not known or fault == "missing" or not (hub.folder / file).is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = (hub.folder / file).read_bytes()
        if fault == "circle" or (fault == "moved" and not moved):
            self.send_response(302)
            self.send_header("Location", f"{hub.endpoint}{self.path if fault == 'circle' else '/elsewhere/' + file}")
            self._describe(data, file)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        self.send_response(206 if begin else 200)
        self._describe(data, file)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        rest = data[begin:]
        if fault == "wrong":
            rest = bytes(byte ^ 1 for byte in rest)
        if fault == "endless" and body:
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(OSError):
                for _ in range(10_000):
                    self.wfile.write(rest[:65_536])
            self.close_connection = True
            return
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if not body:
            return
        if fault in ("stalled", "cut"):
            hub.cuts += 1
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            if fault == "stalled":
                time.sleep(30)
            self.close_connection = True
            return
        self.wfile.write(rest)

    def _describe(self, data: bytes, file: str) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{file}-{self.server.version}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")


@contextmanager
def serve(folder: Path) -> Iterator[Hub]:
    """A hub that runs until the block ends."""
    hub = Hub(folder)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
