"""Laws of the pages and of HTTP: what a browser shows is what was told, as text; nobody reads without right; slow readers hurt nobody."""

from __future__ import annotations

import itertools
import json
import math
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from sound_server import wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from edge.errors import ConfigError, EdgeError, OutputError
from edge.serve.access import Access, address, loopback, token_of
from edge.serve.broadcast import Broadcast
from edge.serve.web import Vital, Web, application

TOKEN = "0123456789abcdef-token"
NASTY = "<script>window.hit=1</script> \"quotes\" & 'more' <img src=x onerror=window.hit=1> \u202e"


def answering(question: str, last_s: float) -> dict[str, Any]:
    if question == "fail":
        raise EdgeError("nothing was heard")
    return {"type": "answer", "question": question, "text": NASTY, "start": 0.0, "end": last_s}


def caption(text: str, final: bool = True, committed: int | None = None, **more: Any) -> dict[str, Any]:
    count = len(text) if committed is None else committed
    told = {"type": "caption", "id": 1, "revision": 1, "final": final, "start": 1.0, "end": 2.0, "text": text, "committed": count}
    return {**told, "latency": 0.01, **more}


def sound(id: int, label: str, state: str = "start", **more: Any) -> dict[str, Any]:
    ended = {"end": 3.0} if state == "end" else {}
    return {"type": "sound", "id": id, "state": state, "label": label, "start": 1.0, **ended, "score": 0.9, **more}


@pytest.fixture
def stream() -> Broadcast:
    told = Broadcast()
    told.publish({"type": "session", "schema": 1, "source": "file:x"})
    return told


@pytest.fixture
def web(stream: Broadcast) -> Iterator[Web]:
    vital = Vital()
    vital.processed(64_000, -40.0, -60.0)
    with Web(application(stream, answering, vital), "127.0.0.1", 0) as served:
        yield served


@pytest.fixture
def closed(stream: Broadcast) -> Iterator[Web]:
    """One that wants a token."""
    with Web(application(stream, answering, Vital()), "127.0.0.1", 0, TOKEN, "kitchen.local") as served:
        yield served


def asked(
    web: Web, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", web.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in ({"Host": f"127.0.0.1:{web.port}"} | (headers or {})).items():
        connection.putheader(name, value)
    data = (body or "").encode()
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    connection.close()
    return found


# --- Who may look.


LOOPBACK = {"127.0.0.1": True, "127.8.9.1": True, "::1": True, "localhost": True, "0.0.0.0": False, "192.168.0.7": False}


@pytest.mark.parametrize(("host", "is_loopback"), LOOPBACK.items())
def test_another_address_than_loopback_needs_a_token(host: str, is_loopback: bool) -> None:
    assert loopback(host) is is_loopback
    if is_loopback:
        Access(None, host, 80)
    else:
        with pytest.raises(ConfigError, match=r"can be reached by others, and there is no token; name a file"):
            Access(None, host, 80)
        Access(None, host, 80, TOKEN)


HOSTS = {"127.0.0.1:PORT": True, "localhost:PORT": True, "kitchen.local:PORT": True, "kitchen.local": True, "[::1]:PORT": True}
HOSTS |= {"127.0.0.1:1": False, "evil.com": False, "": False, "evil.com:PORT": False, "kitchen.local.evil.com": False}
HOSTS |= {"127.0.0.1.evil.com:PORT": False, "a@127.0.0.1:PORT": False, "192.168.0.7:PORT": False}
ORIGINS = {None: True, "http://127.0.0.1:PORT": True, "http://localhost:PORT": True, "https://kitchen.local": True, "null": False}
ORIGINS |= {"http://evil.com": False, "http://127.0.0.1:1": False, "file://": False, "http://kitchen.local.evil.com": False}
ORIGINS |= {"http://evil.com/127.0.0.1": False}
TOKENS = {None: False, "Bearer " + TOKEN: True, "Bearer " + TOKEN[:-1]: False, "Bearer ": False, "Basic " + TOKEN: False}
PAGES = ("/", "/timeline", "/static/captions.js", "/health", "/metrics", "/ws")
PATHS = [*(("GET", page) for page in PAGES), ("POST", "/ask")]
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"


def test_no_byte_without_right_over_the_whole_matrix(closed: Web, stream: Broadcast) -> None:
    stream.publish(caption("SECRET WORDS"))
    count = 0
    for host, origin, token, (method, path) in itertools.product(HOSTS, ORIGINS, TOKENS, PATHS):
        headers = {"Host": host.replace("PORT", str(closed.port))}
        headers |= {"Origin": origin.replace("PORT", str(closed.port))} if origin is not None else {}
        headers |= {"Authorization": token} if token is not None else {}
        allowed = HOSTS[host] and ORIGINS[origin] and TOKENS[token]
        if not allowed and count % 3:  # every third of the many that are refused, by turns
            count += 1
            continue
        count += 1
        status, body, told = asked(closed, method, path, headers, '{"question": "What?"}' if method == "POST" else None)
        if allowed:
            assert status in (200, 503, 404), (host, origin, token, path, status)  # /ws over plain HTTP is no page
            assert "default-src 'none'" in told["content-security-policy"]
        else:
            assert status in (400, 401, 403, 421), (host, origin, token, path, status)
            assert b"SECRET" not in body
            assert b"<html" not in body
    assert count == len(HOSTS) * len(ORIGINS) * len(TOKENS) * len(PATHS)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Authorization": f"Bearer {TOKEN}"}, True),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.com"}, False),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.com"}, False),
        ({"Cookie": f"a=b; auricle_token={TOKEN}"}, True),
        ({"Cookie": "auricle_token=wrong"}, False),
    ],
)
def test_a_websocket_is_guarded_like_a_page(closed: Web, stream: Broadcast, headers: dict[str, str], allowed: bool) -> None:
    stream.publish(caption("SECRET WORDS"))
    host = headers.get("Host")
    url = f"ws://127.0.0.1:{closed.port}/ws?last=9"
    more = {k: v for k, v in headers.items() if k != "Host"}
    if host is not None:
        status, body, _ = asked(
            closed,
            "GET",
            "/ws",
            {
                **headers,
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        )
        assert status == 403
        assert b"SECRET" not in body
    elif allowed:
        with connect(url, additional_headers=more) as socket:
            assert json.loads(socket.recv(5))["type"] == "snapshot"
    else:
        with pytest.raises(InvalidStatus):
            connect(url, additional_headers=more)


def test_another_pages_requests_are_refused_even_with_the_cookie(closed: Web) -> None:
    cookie = {"Cookie": f"auricle_token={TOKEN}"}
    assert asked(closed, "GET", "/events?last=9", {**cookie, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})[0] == 403
    assert asked(closed, "GET", "/", {**cookie, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200
    assert asked(closed, "POST", "/ask", {**cookie, "Sec-Fetch-Site": "same-site"}, '{"question": "x"}')[0] == 403


def test_a_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(closed: Web) -> None:
    status, _, headers = asked(closed, "GET", f"/?token={TOKEN}")
    assert status == 200
    assert headers["set-cookie"].startswith(f"auricle_token={TOKEN}; HttpOnly; SameSite=Strict")
    assert "set-cookie" not in asked(closed, "GET", "/", {"Authorization": f"Bearer {TOKEN}"})[2]


def test_a_cookie_is_found_behind_another_services(closed: Web) -> None:
    for before in ('prefs={"theme":"dark"}', "flag", "n=\u00e9", "a=1"):
        assert asked(closed, "GET", "/", {"Cookie": f"{before}; auricle_token={TOKEN}"})[0] == 200
        assert asked(closed, "GET", "/", {"Cookie": f"{before}; auricle_token={TOKEN}x"})[0] == 401


def test_tokens_and_addresses_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(TOKEN + "\nmore\n")
    assert token_of(str(tmp_path / "token")) == TOKEN
    monkeypatch.setenv("AURICLE_TOKEN", "short")
    with pytest.raises(ConfigError, match="has 5 characters"):
        token_of(None)
    with pytest.raises(ConfigError, match="cannot be read"):
        token_of(str(tmp_path / "none"))
    assert address("8765") == ("127.0.0.1", 8765)
    assert address("[::1]:80") == ("::1", 80)
    assert address("0.0.0.0:80") == ("0.0.0.0", 80)
    for wrong in ("", "x", "1.2.3.4", "1.2.3.4:x", "1.2.3.4:99999"):
        with pytest.raises(ConfigError, match="must be a port"):
            address(wrong)


def test_an_address_that_is_taken_is_told(web: Web, stream: Broadcast) -> None:
    with pytest.raises(OutputError, match=f"port {web.port} cannot be had"):
        Web(application(stream, answering, Vital()), "127.0.0.1", web.port)


# --- What is told.


def test_websocket_and_events_tell_every_record_and_resume(web: Web, stream: Broadcast) -> None:
    with connect(f"ws://127.0.0.1:{web.port}/ws") as socket:
        snapshot = json.loads(socket.recv(5))
        for number in range(20):
            stream.publish(caption(f"{number} {NASTY}"))
        got = [json.loads(socket.recv(5)) for _ in range(20)]
    assert [g["text"] for g in got] == [f"{number} {NASTY}" for number in range(20)]
    with connect(f"ws://127.0.0.1:{web.port}/ws?after={got[9]['seq']}&epoch={snapshot['epoch']}") as socket:
        assert json.loads(socket.recv(5))["resumed"]
        assert [json.loads(socket.recv(5))["seq"] for _ in range(10)] == [g["seq"] for g in got[10:]]
    request = urllib.request.Request(f"http://127.0.0.1:{web.port}/events", headers={"Last-Event-ID": str(got[17]["seq"])})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [line for line in (answer.readline() for _ in range(8)) if line.startswith((b"data: ", b"id: "))]
    assert b'"resumed":true' in told[0]
    assert told[1::2] == [b"id: %d\n" % got[18]["seq"], b"id: %d\n" % got[19]["seq"]]
    assert [json.loads(line.removeprefix(b"data: "))["seq"] for line in told[2::2]] == [got[18]["seq"], got[19]["seq"]]


def test_the_end_of_the_stream_closes_its_readers(stream: Broadcast) -> None:
    with Web(application(stream, answering, Vital()), "127.0.0.1", 0) as web, connect(f"ws://127.0.0.1:{web.port}/ws") as socket:
        socket.recv(5)
        stream.publish(caption("the last"))
        stream.close()
        assert json.loads(socket.recv(5))["text"] == "the last"
        with pytest.raises(Exception, match=r"OK|closed"):
            socket.recv(5)


def test_a_websocket_that_does_not_read_holds_up_no_other(web: Web, stream: Broadcast) -> None:
    url = f"ws://127.0.0.1:{web.port}/ws"
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(url, max_queue=1, close_timeout=0))
        good = stack.enter_context(connect(url))
        good.recv(5)
        for number in range(2_000):
            stream.publish(caption("x" * 2_000, id=number))
            if number % 100 == 99:
                got = [json.loads(good.recv(5))["id"] for _ in range(100)]
                assert got == list(range(number - 99, number + 1))


def test_connections_that_do_not_go_on_are_closed_and_half_a_body_is_refused(stream: Broadcast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.serve.web.REQUEST_S", 0.4)
    monkeypatch.setattr("edge.serve.web.BODY_S", 0.4)
    with Web(application(stream, answering, Vital()), "127.0.0.1", 0) as web, ExitStack() as stack:
        head = f"Host: 127.0.0.1:{web.port}\r\n".encode()
        one, half = (stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=10)) for _ in range(2))
        one.sendall(b"GET /health HTTP/1.1\r\n" + head + b"\r\n")
        assert one.recv(9) == b"HTTP/1.1 "
        one.sendall(b"G")  # ends uvicorn's own patience
        half.sendall(b"POST /ask HTTP/1.1\r\n" + head + b"Content-Length: 90\r\n\r\n{")
        assert half.recv(12) == b"HTTP/1.1 408"
        for connection in (one, half):
            with suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
        wait_until(lambda: not web._server.server_state.connections)


@pytest.mark.parametrize(("idle_s", "most"), [(0.5, 256), (60.0, 4)], ids=["they wait too long", "there are too many"])
def test_connections_that_ask_for_nothing_hold_up_nobody(
    stream: Broadcast, monkeypatch: pytest.MonkeyPatch, idle_s: float, most: int
) -> None:
    monkeypatch.setattr("edge.serve.web.REQUEST_S", idle_s)
    monkeypatch.setattr("edge.serve.web.CONNECTIONS", most)
    with Web(application(stream, answering, Vital()), "127.0.0.1", 0) as web, ExitStack() as stack:
        reader = stack.enter_context(connect(f"ws://127.0.0.1:{web.port}/ws"))
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=10)) for _ in range(4)]
        for connection in idle if most > 4 else idle[3:]:
            with suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: half of a req")
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        for connection in idle:
            connection.close()
        wait_until(lambda: len(web._server.server_state.connections) == 1)
        assert asked(web, "GET", "/")[0] == 200
        stream.publish(caption("still here"))
        assert "still here" in reader.recv(5) + reader.recv(5)


def test_questions_are_answered_or_refused_in_json(web: Web) -> None:
    status, body, _ = asked(web, "POST", "/ask", body='{"question": "What?", "last_s": 7}')
    assert (status, json.loads(body)["end"]) == (200, 7)
    refused = {'{"question": "fail"}': 409, "{}": 400, "[]": 400, "nonsense": 400, '{"question": 5}': 400, "x" * 9_000: 400}
    refused |= {"[" * 8_000: 400, '{"question": "What?", "last_s": 1' + "0" * 400 + "}": 400}
    for sent, code in refused.items():
        status, body, _ = asked(web, "POST", "/ask", body=sent)
        assert status == code, sent
        assert json.loads(body)["type"] == "error"
    assert asked(web, "GET", "/ask")[0] == 405
    assert asked(web, "GET", "/static/../web.py")[0] == 404
    assert asked(web, "GET", "/static/..%2fweb.py")[0] == 404


def test_health_is_fed_by_what_was_processed_and_metrics_are_prometheus_own(stream: Broadcast, monkeypatch: pytest.MonkeyPatch) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    vital = Vital()
    with Web(application(stream, answering, vital), "127.0.0.1", 0) as web:
        vital.processed(32_000, -42.25, -math.inf)
        status, body, _ = asked(web, "GET", "/health")
        assert (status, json.loads(body)["processed_s"]) == (200, 2.0)
        assert (json.loads(body)["level_dbfs"], json.loads(body)["floor_dbfs"]) == (-42.25, None), "digital silence has no level"
        monkeypatch.setattr(vital, "grew_at", time.monotonic() - 60)
        assert asked(web, "GET", "/health")[0] == 503
        stream.publish(caption("one"))
        stream.publish({"type": "status", "at": 1.0, "lag": 0.25, "waiting": 1, "shed": 2, "duty": {"vad": 0.5}})
        _, body, headers = asked(web, "GET", "/metrics")
        found = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(body.decode()) for s in f.samples}
    assert headers["content-type"].startswith("text/plain")
    assert found["auricle_records_total", "caption"] == 1
    assert found["auricle_lag_seconds",] == 0.25
    assert found["auricle_level_dbfs",] == -42.25
    assert ("auricle_floor_dbfs",) not in found
    assert found["auricle_duty_ratio", "vad"] == 0.5
    assert found["auricle_processed_samples_total",] == 32_000
    assert found["auricle_seconds_since_progress",] >= 60


# --- What a browser shows.


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS.split(), "--disable-sync", f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


def until(check: Any, seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def texts(browser: Any, selector: str) -> list[str]:
    """What is shown in these, read at once: the page replaces lines while one would be read after the other."""
    return list(browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector))


def complaints(browser: Any) -> list[Any]:
    return [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]]


def test_the_captions_page_shows_what_is_told_as_text(browser: Any, web: Web, stream: Broadcast) -> None:
    stream.publish(caption("Told before the page was opened."))
    browser.get(f"http://localhost:{web.port}/")
    until(lambda: "Told before" in " ".join(texts(browser, "#lines li")))
    stream.publish(caption("A dog barks, then", final=False, committed=11, id=2))
    until(lambda: texts(browser, "#open") == ["A dog barks, then"])
    assert texts(browser, "#open .tentative") == [" then"] or texts(browser, "#open .tentative") == [", then"]
    stream.publish(caption(NASTY, id=2))
    until(lambda: any("<script>" in text for text in texts(browser, "#lines li")))
    assert browser.execute_script("return window.hit") is None
    assert browser.execute_script("return document.querySelectorAll('main img, main script').length") == 0
    assert texts(browser, "#open") == [""]
    assert NASTY.split()[1] in browser.execute_script("return document.getElementById('said').textContent")
    stream.publish(sound(1, "Bark"))
    stream.publish(sound(2, "Smoke detector, smoke alarm", priority=True))
    until(lambda: len(texts(browser, "#sounds li")) == 2)
    assert texts(browser, "#alert") == ["Smoke detector, smoke alarm"]
    assert texts(browser, "#sounds li.priority") == ["Smoke detector, smoke alarm 00:00:01"]
    stream.publish(sound(1, "Bark", "end"))
    until(lambda: len(texts(browser, "#sounds li")) == 1)
    assert complaints(browser) == []


def test_a_page_that_was_cut_off_comes_back_without_a_hole_or_a_double(browser: Any, stream: Broadcast) -> None:
    app = application(stream, answering, Vital())
    first = Web(app, "127.0.0.1", 0)
    browser.get(f"http://localhost:{first.port}/")
    until(lambda: texts(browser, "#state") == ["listening"])
    stream.publish(caption("one"))
    until(lambda: texts(browser, "#lines li span") == ["one"])
    first.close()
    until(lambda: "not connected" in texts(browser, "#state")[0])
    stream.publish(caption("two"))
    second = Web(app, "127.0.0.1", first.port)
    until(lambda: texts(browser, "#state") == ["listening"], 20)
    stream.publish(caption("three"))
    until(lambda: texts(browser, "#lines li span") == ["one", "two", "three"])
    second.close()


def test_the_page_can_be_read_and_used_at_every_size_and_by_keyboard(browser: Any, web: Web, stream: Broadcast, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    stream.publish(caption("Someone knocks four times, then a doorbell rings and a person is speaking."))
    stream.publish(sound(1, "Vehicle horn, car horn, honking", priority=True))
    for width, height in ((360, 740), (1280, 800), (3840, 2160)):
        browser.set_window_size(width, height)
        browser.get(f"http://localhost:{web.port}/")
        until(lambda: texts(browser, "#lines li"))
        assert browser.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
        size = float(browser.execute_script("return getComputedStyle(document.querySelector('#lines li')).fontSize").removesuffix("px"))
        assert size >= 24
        assert browser.save_screenshot(str(tmp_path / f"{width}.png"))
    body = browser.find_element("css selector", "body")
    body.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the captions"
    names = []
    for _ in range(7):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        names.append(element.accessible_name)
    assert names[:6] == ["Smaller text", "Larger text", "High contrast", "Time line", "Captions", "Ask about what was just heard"]
    before = browser.execute_script("return getComputedStyle(document.querySelector('#lines li')).fontSize")
    browser.find_element("id", "larger").send_keys(Keys.ENTER)
    assert browser.execute_script("return getComputedStyle(document.querySelector('#lines li')).fontSize") != before
    contrast = browser.find_element("id", "contrast")
    contrast.click()
    assert contrast.get_attribute("aria-pressed") == "true"
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
    assert browser.find_element("id", "said").get_attribute("aria-live") == "polite"
    question = browser.find_element("id", "question")
    question.send_keys("Is a dog barking?", Keys.ENTER)
    until(lambda: "<script>" in texts(browser, "#answer")[0])
    assert browser.execute_script("return window.hit") is None
    contrast.click()
    browser.find_element("id", "smaller").click()
    browser.set_window_size(1280, 800)


def test_the_time_line_page_shows_lanes_condition_and_events(browser: Any, web: Web, stream: Broadcast) -> None:
    stream.publish({"type": "speech", "start": 1.0, "end": 2.5})
    stream.publish(sound(1, NASTY))
    stream.publish(sound(1, NASTY, "end"))
    stream.publish(caption("A person is speaking."))
    stream.publish({"type": "gap", "start": 3.0, "end": 3.5, "reason": "overrun"})
    stream.publish({"type": "status", "at": 4.0, "lag": 0.25, "waiting": 1, "shed": 2, "duty": {"vad": 0.5}})
    complaints(browser)  # those of pages before
    browser.get(f"http://localhost:{web.port}/timeline")
    until(lambda: len(browser.find_elements("css selector", "#lanes rect")) == 4)
    assert texts(browser, "#events tr")[0].endswith("0.500 s lost (overrun)")
    assert any("<script>" in text for text in texts(browser, "#events tr"))
    shown = dict(zip(texts(browser, "#condition dt"), texts(browser, "#condition dd"), strict=True))
    assert shown["lag"] == "0.25 s"
    assert shown["duty of vad"] == "50.0 %"
    # In one go: the lanes are drawn anew twice a second, and an element that was found may be gone.
    until(lambda: browser.execute_script("return document.querySelector('#lanes polyline#level')?.getAttribute('points')"))
    assert browser.execute_script("return window.hit") is None
    assert complaints(browser) == []
