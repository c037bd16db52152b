"""Download of a file over HTTP, limited in time and size; incomplete files are rejected."""

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
from chronotope.datasets.table_spec import SourceLimits
from chronotope.runtime.store_urls import redact_password, without_secrets
from chronotope.runtime.temp_dirs import temporary_folder

MAX_REDIRECTS: Final = 5

_FOLDER_PREFIX: Final = "chronotope-download-"
_CHUNK_BYTES: Final = 1 << 16
_SUFFIXES: Final = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,2}$")


@contextmanager
def downloaded_file(address: str, limits: SourceLimits) -> Iterator[Path]:
    """Temporary copy of the file at a URL, deleted when the block ends.

    Copies left by killed processes are deleted first.

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
                temporary_folder(Path(tempfile.gettempdir()), _FOLDER_PREFIX)
            )
            # The suffix selects the decompression.
            suffix_match = _SUFFIXES.search(urlsplit(address).path)
            local_copy = temporary_dir / f"log{suffix_match.group() if suffix_match else ''}"
            _fetch(address, local_copy, limits)
        except (OSError, HTTPException, ValueError) as error:
            raise SourceError(
                "Cannot fetch the file",
                received=f"{without_secrets(address)}: {redact_password(str(error), address)}",
                way_out="Correct path or limits in the dataset's YAML",
            ) from None  # the message of the cause may contain a password
        yield local_copy


def _fetch(address: str, local_copy: Path, limits: SourceLimits) -> None:
    partial_file = local_copy.with_name("part")
    with _Deadline(limits.total_timeout_s) as deadline:
        try:
            request = Request(address, headers={"User-Agent": "chronotope"})  # noqa: S310
            with _url_opener(deadline).open(request, timeout=limits.timeout_s) as response:
                _save(response, partial_file, limits.max_bytes)
        except (OSError, HTTPException) as error:
            if not deadline.passed:
                raise
            raise TimeoutError(_timeout_text(limits)) from error
        if deadline.passed:  # without Content-Length, a truncated body looks complete
            raise TimeoutError(_timeout_text(limits))
    partial_file.replace(local_copy)


def _timeout_text(limits: SourceLimits) -> str:
    return f"it took longer than {limits.total_timeout_s:g} s (limits.total_timeout_s)"


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
        raise OSError(f"it is larger than {max_bytes:,} bytes (limits.max_bytes)")
    if expected_bytes is not None and n_bytes != expected_bytes:
        raise OSError(f"it was cut short: {n_bytes:,} of {expected_bytes:,} bytes were received")


def _url_opener(deadline: "_Deadline") -> OpenerDirector:
    """URL opener for http and https only; redirects to file or ftp are refused."""
    opener_director = OpenerDirector()
    for handler in (
        ProxyHandler(),
        _HttpHandler(deadline),
        _HttpsHandler(deadline),
        HTTPDefaultErrorHandler(),
        _RedirectHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener_director.add_handler(handler)
    return opener_director


class _Deadline:
    """Time limit of a download, after which its connections are closed.

    A socket time-out is not enough: it starts again with every byte received.
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

    def connect(self, *address_args: Any, **options: Any) -> socket.socket:
        """Open a connection that is closed at the time limit."""
        database_connection = socket.create_connection(*address_args, **options)
        # A duplicated handle, since TLS detaches the original one.
        self._sockets.append(database_connection.dup())
        if self.passed:
            self._shut()
        return database_connection

    def _shut(self) -> None:
        for database_connection in self._sockets:
            with suppress(OSError):
                database_connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        for database_connection in self._sockets:
            database_connection.close()


def _connection_factory(
    connection_class: type[HTTPConnection], deadline: _Deadline, **class_options: Any
) -> Callable[..., HTTPConnection]:
    """Factory of connections that are closed at a deadline."""

    def connection(host: str, **call_options: Any) -> HTTPConnection:
        new_connection = connection_class(host, **class_options, **call_options)
        new_connection._create_connection = deadline.connect  # type: ignore[attr-defined]
        return new_connection

    return connection


class _HttpHandler(HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_connection_factory(HTTPConnection, self._deadline), req)


class _HttpsHandler(HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Request) -> HTTPResponse:
        tls_context = ssl.create_default_context()
        factory = _connection_factory(HTTPSConnection, self._deadline, context=tls_context)
        return self.do_open(factory, req)


class _RedirectHandler(HTTPRedirectHandler):
    """Redirect policy: http(s) only, no downgrade to http, no private address from a public one."""

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old_url, new_url = urlsplit(req.full_url), urlsplit(newurl)
        if new_url.scheme not in ("http", "https"):
            raise URLError(f"it redirects to a scheme other than http(s): {new_url.scheme}")
        if old_url.scheme == "https" and new_url.scheme == "http":
            raise URLError("it redirects from https to http")
        if _is_private(new_url.hostname or "") and not _is_private(old_url.hostname or ""):
            raise URLError(f"it redirects to a private address: {new_url.hostname}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_private(host: str) -> bool:
    """Whether a host, once resolved, has a loopback or private network address.

    Raises:
        OSError: The host name cannot be resolved.
    """
    host_records = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    ip_addresses = [str(host_address[0]).split("%")[0] for *_, host_address in host_records]
    return any(not ipaddress.ip_address(ip_address).is_global for ip_address in ip_addresses)
