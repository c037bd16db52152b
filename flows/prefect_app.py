"""Prefect server behind the same-origin middleware, which rejects requests of other websites."""

from typing import cast

from prefect.server.api.server import create_app as create_prefect_app

from chronotope.runtime.same_origin import AsgiApp, SameOriginGuard


def create_app() -> SameOriginGuard:
    """Prefect's ASGI application, configured by the environment, behind the middleware."""
    return SameOriginGuard(cast("AsgiApp", create_prefect_app(final=True)))
