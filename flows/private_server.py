"""Prefect server of flows that run from the command line: ``PREFECT_API_URL``, or a private one.

Prefect and the flow's packages take seconds to import, and so does the server to start. So the
server's process is started first, and this module imports Prefect in its functions.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.prefect_password import new_password
from chronotope.runtime.processes import HOST, ProcessGroup, listen, web_app
from chronotope.runtime.quick_imports import quick_imports
from flows import without_heartbeat

_NAME: Final = "Prefect server"
_GRACE_S: Final = 5.0
_DRAIN_S: Final = 10.0
"""Time limits in seconds: ``_GRACE_S`` for the server's shutdown, ``_DRAIN_S`` before it for
sending the last logs and events."""


@dataclass(frozen=True, slots=True)
class StartedServer:
    """Private server whose process was started.

    Attributes:
        process_group: Its process.
        port: Its port.
        password: Its password.
    """

    process_group: ProcessGroup
    port: int
    password: str


@contextmanager
def run_by_hand(root: Path, preload: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Run flows without heartbeats, on the server of ``PREFECT_API_URL`` or on a private one.

    Args:
        root: Project root; the log of a private server is written below it.
        preload: Imports what the flow needs; called while a private server starts.
    """
    with ExitStack() as exit_stack:
        if _may_name_a_server() and _named_server():
            check_server(root)
            _import_at_once(preload, exit_stack)
        else:
            started_server = exit_stack.enter_context(_start_server(root))
            _import_at_once(preload, exit_stack)
            if _named_server():  # in a file that only Prefect reads, such as prefect.toml
                exit_stack.close()
                check_server(root)
            else:
                exit_stack.enter_context(_use_server(started_server))
        with without_heartbeat():
            yield


def _import_at_once(preload: Callable[[], object], exit_stack: ExitStack) -> None:
    with quick_imports():
        preload()
        gc.freeze()  # a collection over all that was imported takes a quarter of a second
    exit_stack.callback(gc.unfreeze)


def _may_name_a_server() -> bool:
    """Whether Prefect's settings have to be read before a server is started."""
    if "prefect" in sys.modules or "PREFECT_API_URL" in os.environ:
        return True
    prefect_home = os.environ.get("PREFECT_HOME", "~/.prefect")
    profiles_path = os.environ.get("PREFECT_PROFILES_PATH", f"{prefect_home}/profiles.toml")
    return Path(profiles_path).expanduser().exists()


def _named_server() -> str:
    """Address of ``PREFECT_API_URL``, from whichever source of settings; "" without one."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or ""


def check_server(root: Path) -> None:
    """Check that the server of ``PREFECT_API_URL`` responds and accepts the password.

    Args:
        root: Project root, below which ``chronotope up`` stores its password.

    Raises:
        ConfigError: The server does not respond, or refuses the password.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    api_url = _named_server()
    with get_client(sync_client=True) as api_client:
        if http_error := api_client.api_healthcheck():
            raise ConfigError(
                "The Prefect server does not answer",
                received=f"PREFECT_API_URL={api_url}",
                way_out="Start it (chronotope up), or unset PREFECT_API_URL",
            ) from http_error
        try:
            api_client.read_flows(limit=1)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            raise ConfigError(
                "The Prefect server asks for a password",
                received=f"PREFECT_API_URL={api_url}; PREFECT_API_AUTH_STRING is unset or wrong",
                way_out="For a server of `chronotope up`: export PREFECT_API_AUTH_STRING="
                f'"$(cat {root / "data" / "prefect-password"})"',
            ) from None


@contextmanager
def private_server(root: Path) -> Iterator[None]:
    """Prefect server for one command, with a random port and password.

    Unlike Prefect's temporary server it requires a password, rejects requests of other websites,
    and ends with this process, even by ``kill -9``.

    Args:
        root: Project root; the log of the server is written below it.

    Raises:
        ChronotopeError: The server does not start.
    """
    with _start_server(root) as started_server, _use_server(started_server):
        yield


@contextmanager
def _start_server(root: Path) -> Iterator[StartedServer]:
    """Start the process of a private server; ``_use_server`` waits for it."""
    server_password = new_password()
    with (
        listen(0) as listening_socket,
        ProcessGroup(root / "data" / "logs", _server_environment(server_password)) as process_group,
    ):
        process_group.grace_s = _GRACE_S
        server_port = listening_socket.getsockname()[1]
        process_group.start(
            web_app(_NAME, "flows.prefect_app", server_port, "/api/health"), listening_socket
        )
        listening_socket.close()
        yield StartedServer(process_group, server_port, server_password)


@contextmanager
def _use_server(started_server: StartedServer) -> Iterator[None]:
    """Run flows on a private server, once it responds."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_SERVER_EPHEMERAL_ENABLED,
        temporary_settings,
    )

    started_server.process_group.wait_for(_NAME)
    server_settings = {
        PREFECT_API_URL: f"http://{HOST}:{started_server.port}/api",
        PREFECT_API_AUTH_STRING: started_server.password,
        PREFECT_SERVER_EPHEMERAL_ENABLED: False,
    }
    with temporary_settings(server_settings):
        try:
            yield
        finally:  # before the server is stopped
            EventsWorker.drain_all(timeout=_DRAIN_S)
            APILogWorker.drain_all(timeout=_DRAIN_S)


def _server_environment(server_password: str) -> dict[str, str]:
    """Environment of a server without UI and schedules; it uses the database in PREFECT_HOME."""
    prefect_settings: dict[str, str] = {}
    if "prefect" in sys.modules:  # settings of this process; the server reads all others itself
        from prefect.settings import get_current_settings

        prefect_settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return {
        **os.environ,
        **prefect_settings,
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT_SERVER_API_AUTH_STRING": server_password,
        "PREFECT_API_AUTH_STRING": server_password,
    }
