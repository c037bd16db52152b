"""uvicorn's HTTP protocol with bounds on headers, connections and time.

uvicorn reads headers without end, waits for them without end, and never gives up a client that
does not read; its ``limit_concurrency`` answers 503 after the headers were read, so that idle
connections count and are never refused. Here a connection is cut when a request does not come in
time, or when an answer is not taken in time; where all connections are in use, the one that has
waited longest for its request gives way to a new one.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chronotope.serving.connection_limits import ConnectionLimits
from chronotope.serving.middleware.response_headers import DEFAULT_HEADERS

_CHECK_S: Final = 1.0
_CHECK_SHARE: Final = 0.5
"""Seconds between checks of a connection; a share of the shortest time-out if that is shorter."""


class BoundedConnections:
    """Factory of the protocol of each connection of a process; picklable until the first one.

    Attributes:
        limits: Bounds.
        waiting: Connections without a complete request, the longest wait first.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        """Start without connections.

        Args:
            limits: Bounds.
        """
        self.limits = limits
        self.waiting: dict[BoundedHttpProtocol, None] = {}

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "BoundedHttpProtocol":
        """Protocol of a new connection."""
        return BoundedHttpProtocol(self, config, server_state, app_state, _loop)

    def close_longest_waiting(self) -> bool:
        """Cut the connection that has waited longest; False if none waits."""
        longest_waiting = next(iter(self.waiting), None)
        if longest_waiting is not None:
            longest_waiting.cut()
        return longest_waiting is not None


class _RequestRefusedError(Exception):
    """Raised inside the parser to stop it."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """HTTP protocol of one connection."""

    def __init__(
        self,
        connections: BoundedConnections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Prepare for a connection.

        Args:
            connections: Of this process.
            config: Of uvicorn.
            server_state: Of uvicorn.
            app_state: Of the application's lifespan.
            loop: Event loop.
        """
        super().__init__(config, server_state, app_state, loop)
        self._limits, self._waiting = connections.limits, connections.waiting
        self._close_longest_waiting = connections.close_longest_waiting
        self._refusal = (HTTPStatus.BAD_REQUEST, "The request is no HTTP", "Send HTTP/1.1")
        self._n_unparsed = 0  # bytes since a head or a body ended, or bytes of a body came
        self._answering: RequestResponseCycle | None = None
        self._deadline = 0.0
        self._unsent_since: float | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        limits = self._limits
        shortest = min(limits.header_timeout_s, limits.body_timeout_s, limits.write_timeout_s)
        self._check_s = min(_CHECK_S, _CHECK_SHARE * shortest)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if need be in place of one that has waited longer."""
        is_full = len(self.connections) >= self._limits.max_connections
        super().connection_made(transport)
        if is_full and not self._close_longest_waiting():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "All connections are in use", "Wait 1 s")
            return
        self._wait_for_request(self._limits.header_timeout_s)
        self._check_timer = self.loop.call_later(self._check_s, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._waiting.pop(self, None)
        if self._check_timer is not None:
            self._check_timer.cancel()
        if self._answering is not None:  # uvicorn tells the latest request only
            self._answering.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse what makes no progress."""
        self._n_unparsed += len(data)
        super().data_received(data)
        if self._n_unparsed > self._limits.max_header_bytes and not self.transport.is_closing():
            self._refuse(*self._too_large())

    def on_headers_complete(self) -> None:
        """Refuse too many or too large headers; else the body is next."""
        limits = self._limits
        if len(self.headers) > limits.max_headers or (
            self._n_unparsed > limits.max_header_bytes
            and self._head_bytes() > limits.max_header_bytes
        ):
            self._refusal = self._too_large()
            raise _RequestRefusedError
        if len(self.pipeline) >= limits.max_pipelined:
            hint = "Read responses before sending more"
            self._refusal = (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests wait", hint)
            raise _RequestRefusedError
        self._n_unparsed = 0
        super().on_headers_complete()
        if not self.pipeline:
            self._answering = self.cycle
        self.headers = []  # trailers of the body are none of the request's headers
        self._wait_for_request(limits.body_timeout_s)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._n_unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there; from now on its answer is waited for."""
        self._n_unparsed = 0
        if not self.cycle.response_complete:
            self._waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            limits = self._limits
            self._wait_for_request(limits.keep_alive_s + limits.header_timeout_s)

    def shutdown(self) -> None:
        """End a connection: at once without a whole request, else when its answer is taken."""
        super().shutdown()
        if self in self._waiting and not self.transport.is_closing():
            self.cut()
        elif self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = self.loop.call_later(self._limits.stop_timeout_s, self.cut)

    def cut(self) -> None:
        """End the connection at once; what was not sent is lost."""
        self._waiting.pop(self, None)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - called by uvicorn
        """Answer what cannot be parsed, or was refused while it was parsed."""
        self._refuse(*self._refusal)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: any client could fill the log, and the request is answered as HTTP."""

    def _wait_for_request(self, timeout_s: float) -> None:
        self._waiting[self] = None
        self._deadline = self.loop.time() + timeout_s

    def _check(self) -> None:
        now_s = self.loop.time()
        if self.transport.get_write_buffer_size() == 0:
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since = now_s
        is_unread = self._unsent_since is not None and (
            now_s - self._unsent_since >= self._limits.write_timeout_s
        )
        if is_unread or (self in self._waiting and now_s >= self._deadline):
            self.cut()
            return
        self._check_timer = self.loop.call_later(self._check_s, self._check)

    def _head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        return len(self.url) + fields

    def _too_large(self) -> tuple[HTTPStatus, str, str]:
        limits = self._limits
        hint = f"Send at most {limits.max_headers} of {limits.max_header_bytes} bytes in all"
        return (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The headers are too many or too large",
            hint,
        )

    def _refuse(self, status: HTTPStatus, detail: str, hint: str) -> None:
        body = json.dumps({"detail": detail, "hint": hint}).encode()
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *DEFAULT_HEADERS,
        ]
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        line = b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
        self.transport.write(line + head + b"\r\n" + body)
        self.transport.close()
