"""Listening sockets of the service, bound before its address is printed."""

import errno
import socket
from contextlib import ExitStack
from typing import Final

from chronotope.contracts.errors import ConfigError

_REASONS: Final = {
    errno.EADDRINUSE: (
        "The port is in use",
        "Stop the program that uses it, or choose another --port",
    ),
    errno.EACCES: ("The port needs more rights", "Choose a --port above 1023"),
}


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets, one for each address of a host.

    Args:
        host: Host name or IP address.
        port: TCP port.
        backlog: Maximum number of connections that wait to be accepted.

    Raises:
        ConfigError: The host has no address on this machine, or the port cannot be bound.
    """
    with ExitStack() as opened:
        sockets = []
        try:
            for family, address in _addresses(host, port):
                sock = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _bind(sock, address, backlog)
                sockets.append(sock)
        except OSError as error:
            what, way_out = _REASONS.get(
                error.errno or 0, ("The service cannot listen there", "Choose another --host")
            )
            raise ConfigError(
                what, received=f"{host} port {port}: {error}", way_out=way_out
            ) from None
        opened.pop_all()
        return sockets


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in known))  # type: ignore[misc]


def _bind(sock: socket.socket, address: tuple[str, int], backlog: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # despite connections in TIME_WAIT
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)
    sock.listen(backlog)  # without it, another process could still bind the same port
