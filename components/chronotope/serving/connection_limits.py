"""Connection limits: number of connections, header size, and timeouts."""

import resource
from dataclasses import dataclass
from typing import Final

from chronotope.contracts.errors import ConfigError

RESERVED_FILES: Final = 128
"""File descriptors reserved for the service: SQLite, lake files, the model, sockets."""

_LONGEST_BACKLOG: Final = 128
_FEWEST_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Connection limits of one process.

    Attributes:
        max_connections: Maximum number of open connections, idle ones included.
        max_header_bytes: Maximum size of request line and headers together, bytes; the limit
            also holds for body trailers.
        max_headers: Maximum number of headers of a request.
        max_pipelined: Maximum number of pipelined requests of a connection that wait for an
            earlier response.
        header_timeout_s: Seconds from the first byte of a request, or from the connection, to
            the end of its headers.
        body_timeout_s: Seconds from the end of the headers to the end of the body.
        keep_alive_s: Seconds that an idle connection stays open.
        write_timeout_s: Seconds in which a client must read the bytes sent to it.
        stop_timeout_s: Seconds until open connections are aborted at shutdown.
    """

    max_connections: int = 1000
    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_pipelined: int = 64
    header_timeout_s: float = 10.0
    body_timeout_s: float = 15.0
    keep_alive_s: int = 5
    write_timeout_s: float = 20.0
    stop_timeout_s: float = 9.0


def connections_within(open_files: int, wanted: int) -> tuple[int, int]:
    """Maximum number of connections and accept backlog within a limit on open files.

    The event loop accepts the whole backlog before it handles any connection of it, so the
    backlog counts towards the limit.

    Args:
        open_files: Limit on file descriptors of the process.
        wanted: Requested maximum number of connections.

    Returns:
        Maximum number of connections, and length of the accept backlog.

    Raises:
        ConfigError: The limit leaves too few connections.
    """
    n_available = open_files - RESERVED_FILES
    backlog = max(1, min(_LONGEST_BACKLOG, n_available // 4))
    connections = min(wanted, n_available - backlog)
    if connections < min(wanted, _FEWEST_CONNECTIONS):
        raise ConfigError(
            "The process may open too few files to hold connections",
            received=f"{open_files} files, {RESERVED_FILES} of them for the service itself",
            way_out="Raise the bound, such as `ulimit -n 1024`",
        )
    return connections, backlog


def open_file_limit() -> int:
    """Maximum number of file descriptors of this process (soft limit)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
