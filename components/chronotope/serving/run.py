"""Runs the service until it is told to stop."""

import os
import sys
import tempfile
from functools import partial

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from chronotope.contracts.workspace import Workspace
from chronotope.lake import InteractionLog
from chronotope.serving.app import create_app
from chronotope.serving.redis_store import RedisStore
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import SHARED_METRICS

_PATIENCE_S = 60  # a worker that is silent for longer is replaced; starting takes a while


def serve(settings: ServeSettings, *, host: str, port: int) -> None:
    """Answer on an address until SIGINT or SIGTERM; what is under way is finished.

    Args:
        settings: Of the service.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        ConfigError: The store has no such address, or the experiment's name was used for
            another design.
        StoreError: The interaction log cannot be used, or the store does not answer.
    """
    if settings.store is not None:
        store = RedisStore(settings.store.get_secret_value(), "")
        store.check()
        store.close()
    config = partial(
        uvicorn.Config,
        host=host,
        port=port,
        access_log=False,  # it would write down the questions, and with them the users
        log_level="warning",
        workers=settings.workers,
    )
    if settings.workers == 1:
        server = uvicorn.Server(config(_application(settings)))
        server.run()
        if not server.started:
            sys.exit(STARTUP_FAILURE)
        return
    InteractionLog(Workspace(settings.root).interactions(settings.dataset)).close()  # it opens
    make = partial(_application, settings)
    _serve_together(config(make, factory=True, timeout_worker_healthcheck=_PATIENCE_S))


def _application(settings: ServeSettings) -> FastAPI:
    """The service, on one thread of linear algebra: its products are too small to be shared."""
    threadpool_limits(1, user_api="blas")
    return create_app(settings)


def _serve_together(config: uvicorn.Config) -> None:
    """Workers that listen at one socket; one that dies is replaced."""
    with tempfile.TemporaryDirectory(prefix="chronotope-metrics-") as folder:
        os.environ[SHARED_METRICS] = folder  # read by what workers import
        with config.bind_socket() as sock:
            Multiprocess(config, [sock]).run()
