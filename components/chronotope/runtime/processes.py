"""Programs that run beside this one: started, waited for, watched, and all stopped."""

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
"""Seconds a program has to become ready, and to end after it was asked to."""

_POLL_S: Final = 0.2
_REAP_S: Final = 1.0
_REAP_POLL_S: Final = 0.02
_BACKLOG: Final = 128  # connections that wait to be accepted
_TOLD_CHARS: Final = 250


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """One program.

    Attributes:
        name: What it is called in tables and messages.
        command: Program and words.
        is_ready: Whether it does its work.
        port: Port it listens on; None if on none.
        option: Option of ``chronotope up`` that chooses another port.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    port: int | None = None
    option: str = ""

    @property
    def address(self) -> str:
        """Where a browser finds it; "" without a port."""
        return "" if self.port is None else f"http://{HOST}:{self.port}"


@dataclass(slots=True)
class ProcessGroup:
    """Running parts; whatever happens inside the block, all have ended behind it.

    Attributes:
        logs: Folder of one log file a part.
        env: Environment of the parts.
        grace_s: Seconds that they have to end in.
    """

    logs: Path
    env: Mapping[str, str]
    grace_s: float = GRACE_S
    running: dict[str, tuple[ManagedProcess, "subprocess.Popen[bytes]"]] = field(
        default_factory=dict
    )

    def __enter__(self) -> "ProcessGroup":
        """Make the folder of the logs.

        Raises:
            StoreError: The disk refuses.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                "The folder of the logs cannot be made",
                received=f"{self.logs}: {error.strerror}",
                way_out="Choose another folder with --root, or make room",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all, the last started first."""
        stop_process_groups(
            [process for _, process in reversed(self.running.values())], self.grace_s
        )

    def start(self, part: ManagedProcess, listener: socket.socket | None = None) -> None:
        """Start a part in a process group of its own, which a Ctrl-C does not reach.

        It ends with this process, also when that is killed by ``kill -9``.

        Args:
            part: The program.
            listener: Its listening socket, which it inherits as ``--fd``.
        """
        descriptors = () if listener is None else (listener.fileno(),)
        inherited = [word for number in descriptors for word in ("--fd", str(number))]
        with self.log_of(part.name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                supervised((*part.command, *inherited)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.env),
                pass_fds=descriptors,
                start_new_session=True,
            )
        self.running[part.name] = (part, process)

    def wait_for(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a part is ready.

        Raises:
            ChronotopeError: It ended, or was not ready in time.
        """
        part, _ = self.running[name]
        until = time.monotonic() + patience_s
        while not part.is_ready():
            self.check()
            if time.monotonic() > until:
                raise self._failed(name, f"was not ready within {patience_s:.0f} s")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Look whether all still run.

        Raises:
            ChronotopeError: One has ended.
        """
        for name, (_, process) in self.running.items():
            if process.poll() is not None:
                raise self._failed(name, f"ended with code {process.returncode}")

    def log_of(self, name: str) -> Path:
        """File of what a part said."""
        return self.logs / f"{name.lower().replace(' ', '-')}.log"

    def _failed(self, name: str, what: str) -> ChronotopeError:
        log = self.log_of(name)
        said = " ".join(log.read_text(encoding="utf-8", errors="replace").split())
        return ChronotopeError(
            f"{name} {what}",
            received=said[-_TOLD_CHARS:] or "nothing was said",
            way_out=f"All of it is in {log}",
        )


def stop_process_groups(processes: Iterable["subprocess.Popen[bytes]"], grace_s: float) -> None:
    """Ask whole process groups to end, and after a while make them.

    Args:
        processes: Leaders of the groups.
        grace_s: Seconds that all together have.
    """
    asked = list(processes)
    for process in asked:
        _signal(process, signal.SIGTERM)
    until = time.monotonic() + grace_s
    for process in asked:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
    for process in asked:
        _signal(process, signal.SIGKILL)  # whoever of the group is left
        process.wait()
        _wait_for_group(process.pid)


def refuse_taken_ports(parts: Iterable[ManagedProcess]) -> None:
    """Look whether every part can listen where it should.

    Raises:
        ConfigError: A port is taken.
    """
    for part in parts:
        if part.port is not None and is_port_in_use(part.port):
            raise ConfigError(
                f"Port {part.port}, wanted for {part.name}, is taken",
                received=f"{HOST}:{part.port}",
                way_out=f"Stop what listens there (`lsof -i :{part.port}` names it), or choose "
                f"another: chronotope up {part.option} {part.port + 1}",
            )


def listen(port: int) -> socket.socket:
    """A listening socket on this machine, for a program to inherit.

    Nobody else can take the port before the program starts, and get what its callers send.

    Args:
        port: Port; 0 for any that is free.

    Raises:
        OSError: The port is taken.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def web_app(name: str, module: str, port: int, health: str, option: str = "") -> ManagedProcess:
    """A part that serves an ASGI application on a socket that it inherits.

    Args:
        name: Of the part.
        module: Module with ``create_app()``.
        port: Port of the socket.
        health: Path that answers once it is ready.
        option: Option of ``chronotope up`` that chooses another port.
    """
    command = (sys.executable, "-m", "uvicorn", "--factory", f"{module}:create_app")
    quiet = ("--log-level", "warning", "--no-access-log", "--no-proxy-headers")
    return ManagedProcess(
        name, (*command, *quiet), lambda: http_get_body(port, health) is not None, port, option
    )


def is_port_in_use(port: int, host: str = HOST) -> bool:
    """Whether a port cannot be listened on.

    Args:
        port: Port.
        host: Address or name of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError:
        return True
    return False


def http_get_body(port: int, path: str, password: str = "") -> bytes | None:
    """Body of a good answer to a GET; None if there is none.

    Args:
        port: Port on this machine.
        path: Path of the address.
        password: ``NAME:SECRET`` for servers that ask for one.
    """
    token = base64.b64encode(password.encode()).decode()
    headers = {"Authorization": f"Basic {token}"} if password else {}
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status < http.client.BAD_REQUEST else None


def _wait_for_group(leader_pid: int) -> None:
    """Wait a moment until the killed members of a group are gone."""
    until = time.monotonic() + _REAP_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < until:
            os.killpg(leader_pid, 0)
            time.sleep(_REAP_POLL_S)


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
