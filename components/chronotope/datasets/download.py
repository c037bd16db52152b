"""Download of a file over http, bounded in time and size and never partial."""

import ipaddress
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    HTTPSConnection,
)
from pathlib import Path
from threading import Timer
from typing import IO, Any, Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from chronotope.contracts.errors import SourceError
from chronotope.datasets.spec import SourceLimits
from chronotope.runtime.store_urls import redact_password, without_secrets
from chronotope.runtime.temp_dirs import temporary_folder

MAX_REDIRECTS: Final = 5

_FOLDER: Final = "chronotope-download-"
_CHUNK_BYTES: Final = 1 << 16
_SUFFIXES: Final = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,2}$")


@contextmanager
def downloaded(address: str, limits: SourceLimits) -> Iterator[Path]:
    """Temporary copy of the file at a URL, deleted when the block ends.

    Copies that killed processes left go first.

    Args:
        address: http or https URL; variables in it are not expanded.
        limits: Limits on time (s) and size (bytes).

    Raises:
        SourceError: The download is incomplete or exceeds the limits, or a redirect is not
            allowed.
    """
    with ExitStack() as exit_stack:
        try:
            temporary_dir = exit_stack.enter_context(
                temporary_folder(Path(tempfile.gettempdir()), _FOLDER)
            )
            suffix_match = _SUFFIXES.search(urlsplit(address).path)  # tell whether it is compressed
            local_copy = temporary_dir / f"log{suffix_match.group() if suffix_match else ''}"
            _fetch(address, local_copy, limits)
        except (OSError, HTTPException, ValueError) as error:
            raise SourceError(
                "Cannot fetch the file",
                received=f"{without_secrets(address)}: {redact_password(str(error), address)}",
                way_out="Correct path, or limits, in the dataset's YAML",
            ) from None  # the message of the cause may hold a password
        yield local_copy


def _fetch(address: str, local_copy: Path, limits: SourceLimits) -> None:
    partial_file = local_copy.with_name("part")
    with _Deadline(limits.total_timeout_s) as deadline:
        try:
            request = Request(address, headers={"User-Agent": "chronotope"})  # noqa: S310
            with _opener(deadline).open(request, timeout=limits.timeout_s) as response:
                _save(response, partial_file, limits.max_bytes)
        except (OSError, HTTPException) as error:
            if not deadline.passed:
                raise
            raise TimeoutError(_late(limits)) from error
        if deadline.passed:  # without Content-Length, a body that was cut off looks complete
            raise TimeoutError(_late(limits))
    partial_file.replace(local_copy)


def _late(limits: SourceLimits) -> str:
    return f"it took longer than {limits.total_timeout_s:g} s (limits: total_timeout_s)"


def _save(response: HTTPResponse, partial_file: Path, max_bytes: int) -> None:
    length_header = response.headers.get("Content-Length")
    expected_bytes = int(length_header) if length_header is not None else None
    n_bytes = expected_bytes or 0
    if n_bytes <= max_bytes:
        n_bytes = 0
        with partial_file.open("wb") as file:
            while n_bytes <= max_bytes and (chunk := response.read1(_CHUNK_BYTES)):
                n_bytes += len(chunk)
                file.write(chunk)
    if n_bytes > max_bytes:
        raise OSError(f"it is larger than {max_bytes:,} bytes (limits: max_bytes)")
    if expected_bytes is not None and n_bytes != expected_bytes:
        raise OSError(f"it was cut short: {n_bytes:,} of {expected_bytes:,} bytes came")


def _opener(deadline: "_Deadline") -> OpenerDirector:
    """URL opener for http and https only; redirects to file or ftp are refused."""
    opener_director = OpenerDirector()
    for handler in (
        ProxyHandler(),
        _Plain(deadline),
        _Encrypted(deadline),
        HTTPDefaultErrorHandler(),
        _Redirects(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener_director.add_handler(handler)
    return opener_director


class _Deadline:
    """Closes the connections of a download at its time limit.

    A time-out of a socket does not: it begins anew with every byte that trickles in.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._timer = Timer(seconds, self._shut)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []

    @property
    def passed(self) -> bool:
        """Whether the time limit has passed."""
        return time.monotonic() >= self._until

    def connect(self, *where: Any, **more: Any) -> socket.socket:
        """Open a connection that is closed at the time limit."""
        connection = socket.create_connection(*where, **more)
        # A duplicated handle: TLS detaches the one of the socket.
        self._sockets.append(connection.dup())
        if self.passed:
            self._shut()
        return connection

    def _shut(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        for connection in self._sockets:
            connection.close()


def _connections(
    connection_class: type[HTTPConnection], deadline: _Deadline, **own: Any
) -> Callable[..., HTTPConnection]:
    def connection(host: str, **more: Any) -> HTTPConnection:
        new_connection = connection_class(host, **own, **more)
        new_connection._create_connection = deadline.connect  # type: ignore[attr-defined]
        return new_connection

    return connection


class _Plain(HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_connections(HTTPConnection, self._deadline), req)


class _Encrypted(HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> HTTPResponse:
        tls_context = ssl.create_default_context()
        connection_factory = _connections(HTTPSConnection, self._deadline, context=tls_context)
        return self.do_open(connection_factory, req)


class _Redirects(HTTPRedirectHandler):
    """Redirect policy: http(s) only, no downgrade to http, no private address from a public one."""

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old_url, new_url = urlsplit(req.full_url), urlsplit(newurl)
        if new_url.scheme not in ("http", "https"):
            raise URLError(f"it redirects to another scheme than http: {new_url.scheme}")
        if old_url.scheme == "https" and new_url.scheme == "http":
            raise URLError("it redirects from https to http")
        if _is_private(new_url.hostname or "") and not _is_private(old_url.hostname or ""):
            raise URLError(f"it redirects to a private address: {new_url.hostname}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_private(host: str) -> bool:
    """Whether a host is this machine or one of its network; a name is looked up.

    Raises:
        OSError: The host is unknown.
    """
    host_records = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    ip_addresses = [str(host_address[0]).split("%")[0] for *_, host_address in host_records]
    return any(not ipaddress.ip_address(ip_address).is_global for ip_address in ip_addresses)
