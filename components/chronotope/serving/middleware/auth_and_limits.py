"""Stands before every endpoint: key, rate, size and time, counted and logged without names."""

import asyncio
import hmac
import ipaddress
import logging
import re
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronotope.serving.middleware.fast_path import replay_body
from chronotope.serving.middleware.repeated_keys import repeated_key
from chronotope.serving.middleware.response_headers import add_default_headers
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import Telemetry

_LOG = logging.getLogger(__name__)
_PROBED = frozenset({"/health", "/ready"})  # for whoever starts and stops the service
_OPEN = _PROBED | {"/"}  # the page holds no data
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_CLIENTS = 10_000  # whose buckets are remembered
_CLIENT_GONE = 499  # counted where the client ended the connection before its request had come
_IPV6_PREFIX = 64  # bits of an address that one client cannot choose freely


class TokenBuckets:
    """Token buckets: each client may send ``burst`` at once and ``rate`` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        """Start with full buckets."""
        self._rate, self._burst = rate, burst
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, now_s: float) -> float:
        """Take a token: 0, or the seconds until there is one."""
        level, then_s = self._level.pop(client, (float(self._burst), now_s))
        level = min(self._burst, level + (now_s - then_s) * self._rate)
        wait_s = 0.0 if level >= 1 else (1 - level) / self._rate
        self._level[client] = (level if wait_s else level - 1, now_s)
        if len(self._level) > _CLIENTS:
            self._level.popitem(last=False)
        return wait_s


class _Refused(Exception):  # noqa: N818 - it carries an answer
    def __init__(
        self, status: int, what: str, way_out: str, received: str | None = None, **headers: str
    ) -> None:
        super().__init__(what)
        self.status = status
        self.body = {"what": what, "received": received, "way_out": way_out}
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def _check_host(request: Request) -> None:
    """Without a key only this machine's own names are answered.

    A page from elsewhere whose name leads to 127.0.0.1 (DNS rebinding) is told nothing.
    """
    host = request.headers.get("host", "")
    if re.sub(r":\d+$", "", host).lower() not in _OWN_NAMES:
        raise _Refused(421, "This is not the name of this service", "Ask 127.0.0.1, or set a key")


def _check_names(body: bytes) -> None:
    name = repeated_key(body)
    if name is not None:
        raise _Refused(422, "A name stands twice in a JSON object", "Send it once", name[:100])


def _check_query(query: bytes) -> None:
    if b"&" not in query:
        return
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    if len(set(names)) < len(names):
        raise _Refused(422, "A parameter stands twice in the address", "Send it once")


def _network(address: str) -> str:
    """Whose rate is counted: an IPv4 address, or the network of an IPv6 one.

    >>> _network("2001:db8:1:2:3:4:5:6"), _network("::ffff:192.0.2.1"), _network("192.0.2.1")
    ('2001:db8:1:2::', '192.0.2.1', '192.0.2.1')
    """
    if ":" not in address:
        return address
    try:
        known = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(known), _IPV6_PREFIX), strict=False).network_address)


class AuthAndLimits:
    """ASGI middleware around the whole service."""

    def __init__(
        self, app: ASGIApp, settings: ServeSettings, telemetry: Telemetry, paths: Iterable[str]
    ) -> None:
        """Stand before an application.

        Args:
            app: The application.
            settings: Of the service.
            telemetry: Counts requests.
            paths: Those that are counted by name.
        """
        self._app, self._settings, self._telemetry = app, settings, telemetry
        self._paths = frozenset(paths)
        rate = settings.rate_per_s
        self._buckets = None if rate is None else TokenBuckets(rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "websocket":  # there is none, and nothing below would ask for the key
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                add_default_headers(message)
            await send(message)

        try:
            await self._answer(scope, receive, noting)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception as error:
            _LOG.error("%s at %s", type(error).__name__, _places(error))
            if not status:
                await JSONResponse({"what": "Something went wrong"}, 500)(scope, receive, noting)
        self._note(scope["path"], status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._through(scope, receive, send)
        except _Refused as refused:
            reply = JSONResponse(refused.body, refused.status, refused.headers)
            await reply(scope, receive, send)

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if scope["path"] not in _PROBED:
            self._check_rate(request)  # first, so that keys cannot be tried out
        self._check_key(request)
        _check_query(scope["query_string"])
        if scope["method"] in {"POST", "PUT", "PATCH"}:
            body = await self._body(request)
            _check_names(body)
            receive = replay_body(body, receive)
        elif scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    def _check_key(self, request: Request) -> None:
        wanted = self._settings.api_key
        if wanted is None:
            _check_host(request)
            return
        if request.scope["path"] in _OPEN:
            return
        given = request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), wanted.get_secret_value().encode()):
            raise _Refused(401, "The API key is missing or wrong", "Send it as X-API-Key")

    def _check_rate(self, request: Request) -> None:
        if self._buckets is None:
            return
        client = request.client.host if request.client else ""
        wait_s = self._buckets.wait_s(_network(client), time.monotonic())
        if wait_s:
            wait = str(int(wait_s) + 1)
            raise _Refused(429, "Too many requests", f"Wait {wait} s", retry_after=wait)

    async def _body(self, request: Request) -> bytes:
        limit = self._settings.max_body_bytes
        too_large = _Refused(413, "The request is too large", f"Send at most {limit} bytes")
        told = request.headers.get("content-length", "0")
        if told.isdecimal() and int(told) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.time_limit_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            raise _Refused(408, "The request came too slowly", "Send it again") from None
        return bytes(body)

    def _note(self, path: str, status: int, seconds: float) -> None:
        path = path if path in self._paths else "other"
        self._telemetry.requests.labels(path, str(status)).inc()
        self._telemetry.seconds.labels(path).observe(seconds)
        _LOG.info("%s %d %.1f ms", path, status, 1000 * seconds)


def _places(error: Exception) -> str:
    """Where it happened; the message of a foreign error may name a user."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
