"""Bounds on connections: how many, how large a request head, how long a client may take."""

import resource
from dataclasses import dataclass
from typing import Final

from chronotope.contracts.errors import ConfigError

RESERVED_FILES: Final = 128
"""Descriptors that connections leave to the service: SQLite, lake files, the model, sockets."""

_LONGEST_BACKLOG: Final = 128
_FEWEST_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one process.

    Attributes:
        max_connections: Open connections, idle ones included.
        max_header_bytes: Request line and headers together; trailers of a body as well.
        max_headers: Headers of a request.
        max_pipelined: Requests of a connection that wait for the answer to an earlier one.
        header_timeout_s: Seconds from the first byte of a request, or from the connection, to
            the end of its headers.
        body_timeout_s: Seconds from there to the end of its body.
        keep_alive_s: Seconds that a connection without a request stays open.
        write_timeout_s: Seconds in which a client takes what was written to it.
        stop_timeout_s: Seconds that connections have left once the service stops.
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
    """How many connections fit below a bound on open files, and how many may wait for accept.

    The loop accepts all that wait before it looks at any of them, so they count as well.

    Args:
        open_files: Bound on descriptors of the process.
        wanted: Connections at most.

    Returns:
        Connections, and length of the backlog.

    Raises:
        ConfigError: Hardly any connection fits.
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
    """Descriptors that this process may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
