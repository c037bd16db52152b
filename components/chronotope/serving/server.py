"""Runs the service until it is told to stop."""

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
from fastapi import FastAPI
from threadpoolctl import threadpool_limits
from uvicorn.config import STARTUP_FAILURE
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
from chronotope.serving.settings import ServeSettings
from chronotope.serving.sockets import listen
from chronotope.serving.state.redis_cache import RedisCache
from chronotope.serving.telemetry import SHARED_METRICS

_PATIENCE_S = 60  # a worker that is silent for longer is replaced; starting takes a while
_BEFORE_STOP = 0.8  # of the time to stop: connections end before their tasks are cancelled
_AFTER_REFUSAL_S = 5.0  # in which a client reads that its body came too slowly


def bind(settings: ServeSettings, *, host: str, port: int) -> list[socket.socket]:
    """Take the address of the service; clients that come before it answers wait.

    Args:
        settings: Of the service.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        ConfigError: The address cannot be had, or the process may open too few files.
    """
    _, backlog = connections_within(open_file_limit(), settings.max_connections)
    return listen(host, port, backlog)


def serve(settings: ServeSettings, sockets: Sequence[socket.socket]) -> None:
    """Answer until SIGINT or SIGTERM; what is under way is finished if it ends in time.

    Args:
        settings: Of the service.
        sockets: What ``bind`` returned.

    Raises:
        ConfigError: The store has no such address, or the experiment's name was used for
            another design.
        StoreError: The interaction log cannot be used, or the store does not answer.
    """
    with ExitStack() as opened:
        for sock in sockets:
            opened.enter_context(sock)
        if settings.store is not None:
            store = RedisCache(settings.store.get_secret_value(), "")
            store.check()
            store.close()
        if settings.workers == 1:
            _serve_alone(_config(settings, _application(settings)), sockets)
            return
        InteractionLog(Workspace(settings.root).interactions(settings.dataset)).close()  # it opens
        make = partial(_application, settings)
        _serve_together(_config(settings, make, factory=True), sockets)


def _config(settings: ServeSettings, application: Any, *, factory: bool = False) -> uvicorn.Config:
    limits, backlog = _limits(settings)
    return uvicorn.Config(
        application,
        factory=factory,
        http=cast("type[asyncio.Protocol]", BoundedConnections(limits)),  # called like the class
        ws="none",  # there are no sockets, and they would be read without bounds
        access_log=False,  # it would write down the questions, and with them the users
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=backlog,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.stop_timeout_s,
        workers=settings.workers,
        timeout_worker_healthcheck=_PATIENCE_S,
    )


def _limits(settings: ServeSettings) -> tuple[ConnectionLimits, int]:
    """Bounds of each worker, and the length of the backlog that they share."""
    connections, backlog = connections_within(open_file_limit(), settings.max_connections)
    limits = ConnectionLimits(
        max_connections=connections,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.time_limit_s + _AFTER_REFUSAL_S,
        keep_alive_s=settings.keep_alive_s,
        write_timeout_s=settings.write_timeout_s,
        stop_timeout_s=_BEFORE_STOP * settings.stop_timeout_s,
    )
    return limits, backlog


def _application(settings: ServeSettings) -> FastAPI:
    """The service, on one thread of linear algebra: its products are too small to be shared."""
    threadpool_limits(1, user_api="blas")
    return create_app(settings)


def _serve_alone(config: uvicorn.Config, sockets: Sequence[socket.socket]) -> None:
    server = uvicorn.Server(config)
    server.run(list(sockets))
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _serve_together(config: uvicorn.Config, sockets: Sequence[socket.socket]) -> None:
    """Workers that listen at one socket; one that dies is replaced."""
    with tempfile.TemporaryDirectory(prefix="chronotope-metrics-") as folder:
        os.environ[SHARED_METRICS] = folder  # read by what workers import
        Multiprocess(config, list(sockets)).run()
