"""The Prefect server as this project runs it: behind a guard that answers no other website."""

from typing import cast

from prefect.server.api.server import create_app as create_prefect_app

from chronotope.runtime.same_origin import AsgiApp, SameOriginGuard


def create_app() -> SameOriginGuard:
    """Prefect's application, made from the settings in the environment, behind the guard."""
    return SameOriginGuard(cast("AsgiApp", create_prefect_app(final=True)))
