"""Who may look: loopback without more, any other address with a token; hosts and origins by list, so that no page elsewhere reads along.

A browser that was lured to another page sends that page's Origin, and one whose name was rebound to this machine that name as Host (DNS
rebinding): both are refused, on HTTP and WebSocket alike.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge.errors import ConfigError

COOKIE = "auricle_token"
TOKEN_LENGTH = 16
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def address(text: str, option: str = "web") -> tuple[str, int]:
    """("127.0.0.1", 8765) of "127.0.0.1:8765" or "8765", ("::1", 80) of "[::1]:80". option: named in errors. Raises: ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ConfigError(f"{option} is {text!r}, but must be a port, or an address and a port such as 127.0.0.1:8765")
    return host, int(port)


def loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(path: str | None) -> str:
    """The first line of a file, else of AURICLE_TOKEN; "" for none. Raises: ConfigError for one that cannot be read or is short."""
    token = os.environ.get("AURICLE_TOKEN", "")
    if path is not None:
        try:
            token = Path(path).read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"token file {path}: it cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if token and len(token) < TOKEN_LENGTH:
        raise ConfigError(
            f"the token has {len(token)} characters; make one of at least {TOKEN_LENGTH}, such as `openssl rand -hex 16` gives"
        )
    return token


class Access:
    """An ASGI application around another that lets through who may look, and sets the headers of every answer.

    host, port: where it is bound. names: further names by which this machine is called. Raises: ConfigError for another address than
    loopback without a token.
    """

    def __init__(self, app: Any, host: str, port: int, token: str = "", names: str = "") -> None:
        if not loopback(host) and not token:
            raise ConfigError(
                f"web address {host} can be reached by others, and there is no token; name a file with one by --token-file, or leave the "
                "address out"
            )
        self._app, self._token = app, token
        own = {"localhost", "127.0.0.1", "::1", host, *(name.strip().lower() for name in names.split(",") if name.strip())}
        self._hosts = own - {"0.0.0.0", "::", ""}
        self._everywhere = not loopback(host)
        self._port = port

    def allows_host(self, value: str) -> bool:
        """value: of a Host header, or host and port of an Origin."""
        try:
            parts = urlsplit(f"//{value}")
            name = parts.hostname or ""
            return (name in self._hosts or self._bare(name)) and parts.port in (None, self._port) and parts.username is None
        except ValueError:
            return False

    def _bare(self, name: str) -> bool:
        """Bound to all its addresses, the machine may be called by any of them: a number cannot be rebound as a name can."""
        try:
            return self._everywhere and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def allows_origin(self, value: str) -> bool:
        scheme, _, rest = value.partition("://")
        return scheme in ("http", "https") and "/" not in rest and self.allows_host(rest)

    def _holds_token(self, scope: dict[str, Any], headers: dict[str, list[str]]) -> bool:
        given = [value.removeprefix("Bearer ").strip() for value in headers.get("authorization", []) if value.startswith("Bearer ")]
        given += parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        for value in headers.get("cookie", []):
            # By hand: cookies are shared by all ports of a host, and SimpleCookie drops every one behind another's that it cannot parse.
            pairs = (part.strip().partition("=") for part in value.split(";"))
            given += [held.strip('"') for name, _, held in pairs if name == COOKIE]
        return any(hmac.compare_digest(value.encode(), self._token.encode()) for value in given)

    def refusal(self, scope: dict[str, Any]) -> tuple[int, str] | None:
        """(status, why) for a request that may not pass."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self.allows_host(hosts[0].lower()):
            return 421, "this machine is not called that; use its address, or name it with --web-names"
        if any(not self.allows_origin(value.lower()) for value in headers.get("origin", [])):
            return 403, "another page may not read this"
        elsewhere = any(value not in ("same-origin", "none") for value in headers.get("sec-fetch-site", []))
        if elsewhere and not (scope.get("method") == "GET" and headers.get("sec-fetch-mode") == ["navigate"]):
            return 403, "another page may not read this"
        if self._token and not self._holds_token(scope, headers):
            return 401, "a token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN once in a browser"
        return None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self.refusal(scope)
        if refused is not None:
            await self._refuse(scope, receive, send, *refused)
            return
        extra = [*HEADERS, *self._cookie(scope)]

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self._app(scope, receive, answer)

    def _cookie(self, scope: dict[str, Any]) -> list[tuple[bytes, bytes]]:
        """A browser that came with ?token= keeps it, so that its further requests need none in their addresses."""
        if not self._token or b"token=" not in scope.get("query_string", b""):
            return []
        return [(b"set-cookie", f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/".encode())]

    @staticmethod
    async def _refuse(scope: dict[str, Any], receive: Any, send: Any, status: int, why: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": why})
            return
        body = f"{why}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *HEADERS]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
