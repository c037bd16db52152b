"""Bounds on connections, with real sockets against uvicorn in a thread and short time-outs."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chronotope.contracts.errors import ConfigError
from chronotope.serving.bounded_http import BoundedConnections
from chronotope.serving.connection_limits import ConnectionLimits, connections_within

PATIENCE_S = 20.0
LARGE = b"x" * 8_000_000
GET = b"GET /small HTTP/1.1\r\nHost: a\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a body's length and the number of headers; ``/large`` more than sockets hold."""
    request = Request(scope, receive)
    body = b"" if scope["path"] == "/unread" else await request.body()
    small = b"%d %d" % (len(body), len(scope["headers"]))
    await Response(LARGE if scope["path"] == "/large" else small)(scope, receive, send)


@contextmanager
def serving(**limits: Any) -> Iterator[Callable[..., socket.socket]]:
    """Opens connections to a server that stops behind the block."""
    http = cast("Any", BoundedConnections(ConnectionLimits(**limits)))
    settings: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_config": None}
    config = uvicorn.Config(application, http=http, timeout_graceful_shutdown=2, **settings)
    server = uvicorn.Server(config)
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()

        def connect(sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
            sock = opened.enter_context(socket.socket())
            sock.settimeout(PATIENCE_S)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.connect(address)
            sock.sendall(sent)
            return sock

        try:
            yield connect
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def received(sock: socket.socket) -> bytes:
    """All until the server ends the connection."""
    parts = []
    try:
        while part := sock.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def is_open(sock: socket.socket) -> bool:
    """Wait for as long as the socket does; whether the server has not ended the connection."""
    try:
        return bool(sock.recv(1 << 16))
    except TimeoutError:
        return True


def status(sock: socket.socket) -> int:
    return int(sock.recv(1 << 16).split()[1])


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-A: " + b"a" * 5000,  # one line that does not end
        GET + b"X-A: b\r\n" * 2000,  # many, without an end
        GET + b"X-A: b\r\n" * 30 + b"\r\n",  # more than 20
        GET + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 500) for n in range(9)) + b"\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_headers_too_many_or_too_large_are_refused(head: bytes) -> None:
    with serving(max_header_bytes=4096, max_headers=20) as connect:
        answer = received(connect(head))
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"x-content-type-options: nosniff\r\n" in answer
        assert status(connect(GET + b"X-A: b\r\n" * 19 + b"\r\n")) == 200


def test_trailers_count_as_headers_do_and_are_none_of_the_request() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    body = b"\r\n3\r\nabc\r\n0\r\n"
    with serving(max_header_bytes=4096) as connect:
        answer = received(connect(head + b"Connection: close\r\n" + body + b"X-Key: b\r\n\r\n"))
        assert answer.endswith(b"\r\n\r\n3 3")
        sock = connect(head + body)
        time.sleep(0.2)  # what comes in one piece with the body is not counted
        sock.sendall(b"X-A: " + b"a" * 5000)
        assert received(sock).startswith(b"HTTP/1.1 431 ")


def test_a_large_body_is_no_large_header() -> None:
    with serving(max_header_bytes=1024) as connect:
        body = b"b" * 200_000
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n"
        assert received(connect(head + body)).endswith(b"\r\n\r\n200000 3")


@pytest.mark.parametrize(
    ("sent", "drip", "seconds"),
    [
        (b"", b"", 0.5),
        (GET, b"a", 0.5),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n", b"a", 1.0),
        (b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n", b"a", 1.5),
        (GET + b"\r\n", b"\r\n", 1.5),
        (GET + b"\r\n" + GET, b"a", 1.5),
    ],
)
def test_a_client_that_sends_a_byte_now_and_then_is_cut(
    sent: bytes, drip: bytes, seconds: float
) -> None:
    limits = {"header_timeout_s": 0.5, "body_timeout_s": 1.0, "keep_alive_s": 1}
    with serving(**limits) as connect:
        started, sock = time.monotonic(), connect(sent)
        sock.settimeout(0.1)
        with suppress(ConnectionResetError, BrokenPipeError):
            while is_open(sock):
                assert time.monotonic() < started + PATIENCE_S
                sock.send(drip)
        assert seconds - 0.2 < time.monotonic() - started < seconds + 2.0


def test_an_answer_that_nobody_takes_is_dropped() -> None:
    with serving(write_timeout_s=1.0, keep_alive_s=1) as connect:
        sock = connect(GET.replace(b"small", b"large") + b"\r\n", receive_buffer=4096)
        time.sleep(3.5)
        assert len(received(sock)) < len(LARGE)


def test_a_server_that_stops_leaves_whoever_does_not_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(write_timeout_s=60.0, stop_timeout_s=0.3) as connect:
        sock = connect((GET.replace(b"small", b"large") + b"\r\n") * 3, receive_buffer=4096)
        time.sleep(0.5)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert caplog.text == ""  # nothing was cancelled, and nothing written to what is closed
    assert sock.fileno() == -1


def test_a_slow_reader_gets_all_of_its_answer() -> None:
    with serving(write_timeout_s=15.0, keep_alive_s=1) as connect:
        sock = connect(GET.replace(b"small", b"large") + b"\r\n", receive_buffer=1 << 16)
        time.sleep(1.5)
        assert len(received(sock)) > len(LARGE)


def test_whoever_waited_longest_makes_room() -> None:
    with serving(max_connections=5) as connect:
        first, *others = [connect(GET) for _ in range(5)]
        half = connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        assert received(first) == b""
        assert status(connect(GET + b"\r\n")) == 200
        half.sendall(b"defghi")
        assert status(half) == 200
        for number in range(40):
            assert status(connect(GET + b"\r\n")) == 200, number
        assert received(others[0]) == b""


def test_requests_that_are_sent_without_waiting_for_answers_are_bounded() -> None:
    with serving(max_pipelined=4) as connect:
        assert (
            received(connect((GET + b"\r\n") * 3 + GET + b"Connection: close\r\n\r\n")).count(
                b"HTTP/1.1 200 "
            )
            == 4
        )
        assert b"HTTP/1.1 429 " in received(connect((GET + b"\r\n") * 1000))


def test_connections_stay_below_the_bound_on_files() -> None:
    assert connections_within(1024, 1000) == (768, 128)
    assert connections_within(256, 1000) == (96, 32)
    assert connections_within(1_000_000, 1000) == (1000, 128)
    assert connections_within(1_000_000, 3) == (3, 128)
    with pytest.raises(ConfigError, match="too few files"):
        connections_within(136, 1000)
