"""Prefect server of flows that run from the command line: ``PREFECT_API_URL``, or a private one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    get_current_settings,
    temporary_settings,
)

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.prefect_password import new_password
from chronotope.runtime.processes import HOST, ProcessGroup, listen, web_app
from flows import without_heartbeat

_NAME: Final = "Prefect server"
_GRACE_S: Final = 5.0
_DRAIN_S: Final = 10.0
"""Time limits in seconds: ``_GRACE_S`` for the server's shutdown, ``_DRAIN_S`` before it for
sending the last logs and events."""


@contextmanager
def run_by_hand(root: Path) -> Iterator[None]:
    """Run flows without heartbeats, on the server of ``PREFECT_API_URL`` or on a private one.

    Args:
        root: Project root; the log of a private server is written below it.
    """
    with without_heartbeat():
        if PREFECT_API_URL.value():
            check_server(root)
            yield
            return
        with private_server(root):
            yield


def check_server(root: Path) -> None:
    """Check that the server of ``PREFECT_API_URL`` responds and accepts the password.

    Args:
        root: Project root, below which ``chronotope up`` stores its password.

    Raises:
        ConfigError: The server does not respond, or refuses the password.
    """
    api_url = PREFECT_API_URL.value()
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
        process_group.wait_for(_NAME)
        server_settings = {
            PREFECT_API_URL: f"http://{HOST}:{server_port}/api",
            PREFECT_API_AUTH_STRING: server_password,
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
    return {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT_SERVER_API_AUTH_STRING": server_password,
        "PREFECT_API_AUTH_STRING": server_password,
    }
