"""uvicorn's HTTP protocol with bounds on headers, connections and time.

uvicorn limits neither the size of the headers nor the time to receive them, and it never closes
the connection of a client that does not read. Its ``limit_concurrency`` sends 503 only after the
headers were read, so idle connections count towards the limit and are never closed. This protocol
closes a connection when a request or the reading of a response exceeds its timeout. When all
connections are in use, a new one replaces the one that has waited longest for a request.
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
"""Seconds between timeout checks; at most this share of the shortest timeout."""


class BoundedConnections:
    """Factory of the connection protocols of a process; picklable until the first connection.

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
        """Abort the connection that has waited longest for a request; False if none waits."""
        longest_waiting = next(iter(self.waiting), None)
        if longest_waiting is not None:
            longest_waiting.cut()
        return longest_waiting is not None


class _RequestRefusedError(Exception):
    """Stops the parser at a refused request."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """HTTP protocol of one connection, with size limits and timeouts."""

    def __init__(
        self,
        connections: BoundedConnections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Initialise the protocol; no connection yet.

        Args:
            connections: Connections of this process.
            config: Configuration of uvicorn.
            server_state: Server state of uvicorn.
            app_state: Lifespan state of the application.
            loop: Event loop.
        """
        super().__init__(config, server_state, app_state, loop)
        self._limits, self._waiting = connections.limits, connections.waiting
        self._close_longest_waiting = connections.close_longest_waiting
        self._refusal = (HTTPStatus.BAD_REQUEST, "The request is no HTTP", "Send HTTP/1.1")
        self._n_unparsed = 0  # bytes since the last complete head or body, or body chunk
        self._answering: RequestResponseCycle | None = None
        self._deadline = 0.0
        self._unsent_since: float | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        limits = self._limits
        shortest = min(limits.header_timeout_s, limits.body_timeout_s, limits.write_timeout_s)
        self._check_s = min(_CHECK_S, _CHECK_SHARE * shortest)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Open a connection; at the limit, it replaces the one that has waited longest."""
        is_full = len(self.connections) >= self._limits.max_connections
        super().connection_made(transport)
        if is_full and not self._close_longest_waiting():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "All connections are in use", "Wait 1 s")
            return
        self._wait_for_request(self._limits.header_timeout_s)
        self._check_timer = self.loop.call_later(self._check_s, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the state of a closed connection."""
        self._waiting.pop(self, None)
        if self._check_timer is not None:
            self._check_timer.cancel()
        if self._answering is not None:  # uvicorn notifies only the latest request
            self._answering.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; refuse the request if too many stay unparsed."""
        self._n_unparsed += len(data)
        super().data_received(data)
        if self._n_unparsed > self._limits.max_header_bytes and not self.transport.is_closing():
            self._refuse(*self._too_large())

    def on_headers_complete(self) -> None:
        """Check the header limits, then start the timeout of the body."""
        limits = self._limits
        if len(self.headers) > limits.max_headers or (
            self._n_unparsed > limits.max_header_bytes
            and self._head_bytes() > limits.max_header_bytes
        ):
            self._refusal = self._too_large()
            raise _RequestRefusedError
        if len(self.pipeline) >= limits.max_pipelined:
            hint_text = "Read responses before sending more"
            self._refusal = (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests wait", hint_text)
            raise _RequestRefusedError
        self._n_unparsed = 0
        super().on_headers_complete()
        if not self.pipeline:
            self._answering = self.cycle
        self.headers = []  # body trailers are not request headers
        self._wait_for_request(limits.body_timeout_s)

    def on_body(self, body: bytes) -> None:
        """Receive a chunk of the body."""
        self._n_unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the wait for the request, which is now complete."""
        self._n_unparsed = 0
        if not self.cycle.response_complete:
            self._waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the wait for the next request, unless one is already queued."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            limits = self._limits
            self._wait_for_request(limits.keep_alive_s + limits.header_timeout_s)

    def shutdown(self) -> None:
        """Close the connection: at once if it waits for a request, else after the response."""
        super().shutdown()
        if self in self._waiting and not self.transport.is_closing():
            self.cut()
        elif self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = self.loop.call_later(self._limits.stop_timeout_s, self.cut)

    def cut(self) -> None:
        """Abort the connection; unsent bytes are discarded."""
        self._waiting.pop(self, None)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - called by uvicorn
        """Error response of an invalid or refused request."""
        self._refuse(*self._refusal)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: any client could fill the log, and the request is handled as HTTP."""

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
        hint_text = f"Send at most {limits.max_headers} of {limits.max_header_bytes} bytes in all"
        return (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The headers are too many or too large",
            hint_text,
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
