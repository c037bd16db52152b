"""uvicorn server of the service, with one or several workers."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from chronotope.lake import InteractionLog
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.app import create_app
from chronotope.serving.bounded_http import BoundedConnections
from chronotope.serving.connection_limits import (
    ConnectionLimits,
    connections_within,
    open_file_limit,
)
from chronotope.serving.json_logs import log_as_json
from chronotope.serving.settings import ServeSettings
from chronotope.serving.sockets import listen
from chronotope.serving.state.redis_cache import RedisCache, url_without_credentials
from chronotope.serving.telemetry import SHARED_METRICS
from chronotope.serving.tracing import export_traces, flushing_traces

_HEALTHCHECK_TIMEOUT_S = 60  # an unresponsive worker is replaced; startup is slow
_STOP_TIMEOUT_SHARE = 0.8  # of the stop timeout: connections close before their tasks are cancelled
_REFUSAL_READ_S = 5.0  # for a client to read status 408


def bind(settings: ServeSettings, *, host: str, port: int) -> list[socket.socket]:
    """Listening sockets of the service; early clients wait until it is ready.

    Args:
        settings: Of the service.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        ConfigError: The address cannot be had, the URL of the store is invalid, or the process
            may open too few files.
    """
    if settings.store is not None:  # before an address is printed
        url_without_credentials(settings.store.get_secret_value())
    _, backlog = connections_within(open_file_limit(), settings.max_connections)
    return listen(host, port, backlog)


def serve(settings: ServeSettings, sockets: Sequence[socket.socket]) -> None:
    """Serve until SIGINT or SIGTERM; open requests are finished within the stop timeout.

    Args:
        settings: Of the service.
        sockets: What ``bind`` returned.

    Raises:
        ConfigError: The store has no such address, or the experiment's name was used for
            another design.
        StoreError: The interaction log cannot be used, or the store does not answer.
    """
    with ExitStack() as exit_stack:
        for sock in sockets:
            exit_stack.enter_context(sock)
        if settings.store is not None:
            redis_cache = RedisCache(settings.store.get_secret_value(), "")
            redis_cache.check()
            redis_cache.close()
        if settings.workers == 1:
            _run_one_worker(_uvicorn_config(settings, _create_worker_app(settings)), sockets)
            return
        InteractionLog(Workspace(settings.root).interactions(settings.dataset)).close()  # it opens
        app_factory = partial(_create_worker_app, settings)
        _run_workers(_uvicorn_config(settings, app_factory, factory=True), sockets)


def _uvicorn_config(
    settings: ServeSettings, application: Any, *, factory: bool = False
) -> uvicorn.Config:
    limits, backlog = _connection_limits(settings)
    return uvicorn.Config(
        application,
        factory=factory,
        http=cast("type[asyncio.Protocol]", BoundedConnections(limits)),  # called like the class
        ws="none",  # no endpoint uses WebSockets, and their frames have no size limit
        access_log=False,  # it would log query strings with user ids
        log_config=None if settings.json_logs else LOGGING_CONFIG,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=backlog,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.stop_timeout_s,
        workers=settings.workers,
        timeout_worker_healthcheck=_HEALTHCHECK_TIMEOUT_S,
    )


def _connection_limits(settings: ServeSettings) -> tuple[ConnectionLimits, int]:
    """Limits of each worker, and the length of the shared backlog."""
    connections, backlog = connections_within(open_file_limit(), settings.max_connections)
    limits = ConnectionLimits(
        max_connections=connections,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.time_limit_s + _REFUSAL_READ_S,
        keep_alive_s=settings.keep_alive_s,
        write_timeout_s=settings.write_timeout_s,
        stop_timeout_s=_STOP_TIMEOUT_SHARE * settings.stop_timeout_s,
    )
    return limits, backlog


def _create_worker_app(settings: ServeSettings) -> ASGIApp:
    """Application with one BLAS thread: its matrix products are too small for several."""
    threadpool_limits(1, user_api="blas")
    if settings.json_logs:
        log_as_json()
    app = create_app(settings)
    return flushing_traces(app, export_traces(settings.dataset)) if settings.traces else app


def _run_one_worker(config: uvicorn.Config, sockets: Sequence[socket.socket]) -> None:
    server = uvicorn.Server(config)
    server.run(list(sockets))
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _run_workers(config: uvicorn.Config, sockets: Sequence[socket.socket]) -> None:
    """Run workers that share the sockets; one that dies is replaced."""
    with tempfile.TemporaryDirectory(prefix="chronotope-metrics-") as metrics_dir:
        os.environ[SHARED_METRICS] = metrics_dir  # read when workers import prometheus_client
        Multiprocess(config, list(sockets)).run()
