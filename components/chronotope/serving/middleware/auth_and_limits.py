"""ASGI middleware of authentication, rate limit, size limit, access log and metrics."""

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import re
import time
import traceback
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronotope.serving.json_logs import REQUEST_FIELDS
from chronotope.serving.middleware.fast_path import replay_body
from chronotope.serving.middleware.repeated_keys import repeated_key
from chronotope.serving.middleware.response_headers import add_default_headers
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import Telemetry
from chronotope.serving.tracing import request_span, set_response_status

_LOG = logging.getLogger(__name__)
_PROBE_PATHS = frozenset({"/health", "/ready"})  # polled by process managers
_PUBLIC_PATHS = _PROBE_PATHS | {"/"}  # the demo page holds no data
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_MAX_CLIENTS = 10_000  # token buckets in memory
_CLIENT_CLOSED_STATUS = 499  # metric label of a connection closed before the request was complete
_IPV6_PREFIX_BITS = 64  # one client can choose the other bits freely
_MAX_RECEIVED_CHARS = 100
_MAX_DISCARDED_BYTES = 16 << 20  # of a body that is refused
_DISCARD_S = 5.0


class TokenBuckets:
    """Token buckets by client: up to ``burst`` requests at once and ``rate`` per second.

    Memory is bounded: past ``_MAX_CLIENTS`` the least recent client's bucket is dropped. The
    package ``limits`` has no token bucket and no such bound (docs/adr/0024).
    """

    def __init__(self, rate: float, burst: int) -> None:
        """Start with full buckets.

        Args:
            rate: Tokens per second.
            burst: Capacity of a bucket.
        """
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, now_s: float) -> float:
        """Take a token: 0, or the seconds until the next one.

        Args:
            client: Address of the client.
            now_s: Monotonic time, seconds.
        """
        n_tokens, updated_s = self._buckets.pop(client, (float(self._burst), now_s))
        n_tokens = min(self._burst, n_tokens + (now_s - updated_s) * self._rate)
        wait_s = 0.0 if n_tokens >= 1 else (1 - n_tokens) / self._rate
        self._buckets[client] = (n_tokens if wait_s else n_tokens - 1, now_s)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait_s


class _RequestRefusedError(Exception):
    """Carries the response of a refused request."""

    def __init__(
        self,
        status_code: int,
        detail: str,
        hint: str,
        received: str | None = None,
        **header_values: str,
    ) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.body = {"detail": detail, "received": received, "hint": hint}
        self.headers = {name.replace("_", "-"): value for name, value in header_values.items()}


def _check_host(request: Request) -> None:
    """Without an API key only the local host names are served: protects from DNS rebinding."""
    host = request.headers.get("host", "")
    if re.sub(r":\d+$", "", host).lower() not in _LOCAL_HOSTS:
        raise _RequestRefusedError(
            421, "This host name is not served", "Use 127.0.0.1, or set an API key"
        )


def _check_json_keys(body: bytes) -> None:
    key = repeated_key(body)
    if key is not None:
        received = key[:_MAX_RECEIVED_CHARS]
        raise _RequestRefusedError(422, "A JSON key occurs twice", "Send it once", received)


def _check_query(query_string: bytes) -> None:
    if b"&" not in query_string:
        return
    parameters = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    parameter_names = [name for name, _ in parameters]
    if len(set(parameter_names)) < len(parameter_names):
        raise _RequestRefusedError(422, "A query parameter occurs twice", "Send it once")


def _rate_limit_key(address: str) -> str:
    """Client of the rate limit: an IPv4 address, or the network of an IPv6 address.

    >>> _rate_limit_key("2001:db8:1:2:3:4:5:6"), _rate_limit_key("192.0.2.1")
    ('2001:db8:1:2::', '192.0.2.1')
    >>> _rate_limit_key("::ffff:192.0.2.1")
    '192.0.2.1'
    """
    if ":" not in address:
        return address
    try:
        ipv6_address = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if ipv6_address.ipv4_mapped is not None:
        return str(ipv6_address.ipv4_mapped)
    network = ipaddress.IPv6Network((int(ipv6_address), _IPV6_PREFIX_BITS), strict=False)
    return str(network.network_address)


class AuthAndLimits:
    """ASGI middleware around the whole service."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        telemetry: Telemetry,
        route_paths: Collection[str],
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            settings: Settings of the service.
            telemetry: Request metrics.
            route_paths: Paths with a metric label of their own.
        """
        self._app, self._settings, self._telemetry = app, settings, telemetry
        self._route_paths = frozenset(route_paths)
        self._prefixes = {path.partition("{")[0]: path for path in route_paths if "{" in path}
        rate = settings.rate_per_s
        self._token_buckets = None if rate is None else TokenBuckets(rate, settings.burst)

    def _path_label(self, path: str) -> str:
        """Route of a path, whose parameters would make a label of each item; else ``other``."""
        if path in self._route_paths:
            return path
        routes = (route for prefix, route in self._prefixes.items() if path.startswith(prefix))
        return next(routes, "other")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":  # no endpoint uses it, and the key check below is HTTP's
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._path_label(scope["path"])
        if not self._settings.traces:
            await self._answer(scope, receive, send, route)
            return
        with request_span(scope, route) as span:
            set_response_status(span, await self._answer(scope, receive, send, route))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, route: str) -> int:
        """Answer a request and log it; returns the status, 0 if no response was begun."""
        start_s, status_code = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status_code
            if message["type"] == "http.response.start":
                status_code = message["status"]
                add_default_headers(message)
            await send(message)

        try:
            await self._respond(scope, receive, send_with_headers)
        except ClientDisconnect:
            status_code = _CLIENT_CLOSED_STATUS
        except Exception as error:
            _LOG.error("%s at %s", type(error).__name__, _error_location(error))
            if not status_code:
                response = JSONResponse({"detail": "Internal error"}, 500)
                await response(scope, receive, send_with_headers)
        self._log_request(scope["method"], route, status_code, time.perf_counter() - start_s)
        return status_code

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._check_and_forward(scope, receive, send)
        except _RequestRefusedError as refusal:
            response = JSONResponse(refusal.body, refusal.status_code, refusal.headers)
            await response(scope, receive, send)

    async def _check_and_forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if scope["path"] not in _PROBE_PATHS:
            self._check_rate(request)  # before the key check, so that guesses are limited
        self._check_api_key(request)
        _check_query(scope["query_string"])
        if scope["method"] in {"POST", "PUT", "PATCH"}:
            body = await self._read_limited_body(request)
            _check_json_keys(body)
            receive = replay_body(body, receive)
        elif scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    def _check_api_key(self, request: Request) -> None:
        api_key = self._settings.api_key
        if api_key is None:
            _check_host(request)
            return
        if request.scope["path"] in _PUBLIC_PATHS:
            return
        sent_key = request.headers.get("x-api-key", "")
        if not hmac.compare_digest(sent_key.encode(), api_key.get_secret_value().encode()):
            raise _RequestRefusedError(
                401, "The API key is missing or wrong", "Send it as X-API-Key"
            )

    def _check_rate(self, request: Request) -> None:
        if self._token_buckets is None:
            return
        address = request.client.host if request.client else ""
        wait_s = self._token_buckets.wait_s(_rate_limit_key(address), time.monotonic())
        if wait_s:
            retry_after = str(int(wait_s) + 1)
            hint_text = f"Retry after {retry_after} s"
            raise _RequestRefusedError(429, "Too many requests", hint_text, retry_after=retry_after)

    async def _read_limited_body(self, request: Request) -> bytes:
        max_bytes = self._settings.max_body_bytes
        too_large = _RequestRefusedError(
            413, "The request is too large", f"Send at most {max_bytes} bytes"
        )
        content_length = request.headers.get("content-length", "0")
        chunks = request.stream()
        if content_length.isdecimal() and int(content_length) > max_bytes:
            await _discard(request, chunks)
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.time_limit_s):
                async for chunk in chunks:
                    body += chunk
                    if len(body) > max_bytes:
                        await _discard(request, chunks)
                        raise too_large
        except TimeoutError:
            raise _RequestRefusedError(
                408, "The request body arrived too slowly", "Send it again"
            ) from None
        return bytes(body)

    def _log_request(self, method: str, route: str, status_code: int, duration_s: float) -> None:
        self._telemetry.requests.labels(route, str(status_code)).inc()
        self._telemetry.request_seconds.labels(route).observe(duration_s)
        if not _LOG.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": method,
            "route": route,
            "status": status_code,
            "duration_ms": round(1000 * duration_s, 2),
        }
        _LOG.info(
            "%s %d %.1f ms", route, status_code, 1000 * duration_s, extra={REQUEST_FIELDS: fields}
        )


async def _discard(request: Request, chunks: AsyncIterator[bytes]) -> None:
    """Read the rest of a body that is refused, within bounds.

    A client that is still sending when the connection ends sees a broken pipe, not the answer. One
    that waits for ``100 Continue`` sends nothing.
    """
    if "expect" in request.headers:
        return
    n_bytes = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            async for chunk in chunks:
                n_bytes += len(chunk)
                if n_bytes > _MAX_DISCARDED_BYTES:
                    return


def _error_location(error: Exception) -> str:
    """Stack of an error, without its message, which may name a user."""
    stack_frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(stack_frames))
