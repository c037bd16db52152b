"""Prefect server behind the same-origin middleware, which rejects requests of other websites."""

import gc
from typing import cast

from chronotope.runtime.quick_imports import quick_imports
from chronotope.runtime.same_origin import AsgiApp, SameOriginGuard


def create_app() -> SameOriginGuard:
    """Prefect's ASGI application, configured by the environment, behind the middleware."""
    with quick_imports():
        from prefect.server.api.server import create_app as create_prefect_app

        prefect_app = create_prefect_app(final=True)
    gc.freeze()
    return SameOriginGuard(cast("AsgiApp", prefect_app))
