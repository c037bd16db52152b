"""Child processes: start, readiness checks, supervision and shutdown."""

import base64
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ChronotopeError, ConfigError, StoreError
from chronotope.runtime.supervisor import supervised

HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 180.0
GRACE_S: Final = 15.0
"""Default time limits in seconds: ``PATIENCE_S`` until readiness, ``GRACE_S`` after SIGTERM."""

_POLL_S: Final = 0.2
_REAP_S: Final = 1.0
_REAP_POLL_S: Final = 0.02
_BACKLOG: Final = 128  # connections that wait to be accepted
_LOG_TAIL_CHARS: Final = 250


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """Specification of one child process.

    Attributes:
        name: Name in tables and messages.
        command: Program and arguments.
        is_ready: Readiness check of the process.
        port: Port it listens on; None if it does not listen.
        option: Option of ``chronotope up`` that chooses another port.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    port: int | None = None
    option: str = ""

    @property
    def address(self) -> str:
        """URL for a browser; "" without a port."""
        return "" if self.port is None else f"http://{HOST}:{self.port}"


@dataclass(slots=True)
class ProcessGroup:
    """Group of running child processes, all stopped at the end of the block.

    Attributes:
        logs: Folder with one log file per process.
        env: Environment variables of the processes.
        grace_s: Seconds between SIGTERM and SIGKILL.
    """

    logs: Path
    env: Mapping[str, str]
    grace_s: float = GRACE_S
    running: dict[str, tuple[ManagedProcess, "subprocess.Popen[bytes]"]] = field(
        default_factory=dict
    )

    def __enter__(self) -> "ProcessGroup":
        """Create the folder of the logs.

        Raises:
            StoreError: The folder cannot be created.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                "The log folder cannot be created",
                received=f"{self.logs}: {error.strerror}",
                way_out="Choose another folder with --root, or free disk space",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all processes, the last started first."""
        stop_process_groups(
            [process for _, process in reversed(self.running.values())], self.grace_s
        )

    def start(
        self, managed_process: ManagedProcess, listening_socket: socket.socket | None = None
    ) -> None:
        """Start a program in its own process group, so that Ctrl-C does not reach it.

        The program ends when this process ends, even by ``kill -9``.

        Args:
            managed_process: The program.
            listening_socket: Listening socket that the program inherits as ``--fd``.
        """
        inherited_fds = () if listening_socket is None else (listening_socket.fileno(),)
        fd_options = [
            option_word
            for inherited_fd in inherited_fds
            for option_word in ("--fd", str(inherited_fd))
        ]
        with self.log_of(managed_process.name).open("ab") as log_file:
            process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                supervised((*managed_process.command, *fd_options)),
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env=dict(self.env),
                pass_fds=inherited_fds,
                start_new_session=True,
            )
        self.running[managed_process.name] = (managed_process, process)

    def wait_for(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a process is ready.

        Raises:
            ChronotopeError: The process ended, or was not ready within ``patience_s``.
        """
        managed_process, _ = self.running[name]
        deadline_s = time.monotonic() + patience_s
        while not managed_process.is_ready():
            self.check()
            if time.monotonic() > deadline_s:
                raise self._failed(name, f"was not ready within {patience_s:.0f} s")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Check that all processes are still running.

        Raises:
            ChronotopeError: A process has ended.
        """
        for name, (_, process) in self.running.items():
            if process.poll() is not None:
                raise self._failed(name, f"ended with code {process.returncode}")

    def log_of(self, name: str) -> Path:
        """Log file of a process."""
        return self.logs / f"{name.lower().replace(' ', '-')}.log"

    def _failed(self, name: str, problem_text: str) -> ChronotopeError:
        log_file = self.log_of(name)
        log_text = " ".join(log_file.read_text(encoding="utf-8", errors="replace").split())
        return ChronotopeError(
            f"{name} {problem_text}",
            received=log_text[-_LOG_TAIL_CHARS:] or "its log is empty",
            way_out=f"The full log is in {log_file}",
        )


def stop_process_groups(processes: Iterable["subprocess.Popen[bytes]"], grace_s: float) -> None:
    """Stop whole process groups with SIGTERM, then SIGKILL after the grace period.

    Args:
        processes: Leaders of the groups.
        grace_s: Seconds of the grace period, shared by all groups.
    """
    signalled_processes = list(processes)
    for process in signalled_processes:
        _signal(process, signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    for process in signalled_processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline_s - time.monotonic()))
    for process in signalled_processes:
        _signal(process, signal.SIGKILL)  # remaining members of the group
        process.wait()
        _wait_for_group(process.pid)


def refuse_taken_ports(managed_processes: Iterable[ManagedProcess]) -> None:
    """Check that the port of every process is free.

    Raises:
        ConfigError: A port is taken.
    """
    for managed_process in managed_processes:
        if managed_process.port is not None and is_port_in_use(managed_process.port):
            raise ConfigError(
                f"Port {managed_process.port}, needed for {managed_process.name}, is taken",
                received=f"{HOST}:{managed_process.port}",
                way_out="Stop the process that listens there "
                f"(`lsof -i :{managed_process.port}` names it), "
                "or choose another: chronotope up "
                f"{managed_process.option} {managed_process.port + 1}",
            )


def listen(port: int) -> socket.socket:
    """Listening socket on 127.0.0.1, to be inherited by a child process.

    The port is reserved from now on, so no other process can take it before the child starts.

    Args:
        port: Port; 0 for any free port.

    Raises:
        OSError: The port is taken.
    """
    listening_socket = socket.socket()
    listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening_socket.bind((HOST, port))
        listening_socket.listen(_BACKLOG)
    except OSError:
        listening_socket.close()
        raise
    return listening_socket


def web_app(
    name: str, app_module: str, port: int, health_path: str, option: str = ""
) -> ManagedProcess:
    """Specification of a process that serves an ASGI application on an inherited socket.

    Args:
        name: Name of the process.
        app_module: Module with ``create_app()``.
        port: Port of the socket.
        health_path: URL path that responds once the process is ready.
        option: Option of ``chronotope up`` that chooses another port.
    """
    command = (sys.executable, "-m", "uvicorn", "--factory", f"{app_module}:create_app")
    quiet_options = ("--log-level", "warning", "--no-access-log", "--no-proxy-headers")
    return ManagedProcess(
        name,
        (*command, *quiet_options),
        lambda: http_get_body(port, health_path) is not None,
        port,
        option,
    )


def is_port_in_use(port: int, host: str = HOST) -> bool:
    """Whether a port is taken, so that no process can listen on it.

    Args:
        port: Port.
        host: Address or name of this machine.
    """
    try:
        address_family, socket_type, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(address_family, socket_type) as probe_socket:
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe_socket.bind(address)
    except OSError:
        return True
    return False


def http_get_body(port: int, url_path: str, password: str = "") -> bytes | None:
    """Body of a successful GET response; None on failure.

    Args:
        port: Port on this machine.
        url_path: Path of the URL.
        password: ``NAME:SECRET`` for servers with basic authentication.
    """
    basic_token = base64.b64encode(password.encode()).decode()
    http_headers = {"Authorization": f"Basic {basic_token}"} if password else {}
    http_connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        http_connection.request("GET", url_path, headers=http_headers)
        http_response = http_connection.getresponse()
        response_body = http_response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        http_connection.close()
    return response_body if http_response.status < http.client.BAD_REQUEST else None


def _wait_for_group(leader_pid: int) -> None:
    """Wait at most ``_REAP_S`` until the killed members of a group are gone."""
    deadline_s = time.monotonic() + _REAP_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline_s:
            os.killpg(leader_pid, 0)
            time.sleep(_REAP_POLL_S)


def _signal(process: "subprocess.Popen[bytes]", signal_number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal_number)
