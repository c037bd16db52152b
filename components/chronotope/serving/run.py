"""Runs the service until it is told to stop."""

import uvicorn

from chronotope.serving.app import create_app
from chronotope.serving.settings import ServeSettings


def serve(settings: ServeSettings, *, host: str, port: int) -> None:
    """Answer on an address until SIGINT or SIGTERM; what is under way is finished.

    Args:
        settings: Of the service.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        ConfigError: The experiment's name was used for another design.
        StoreError: The interaction log cannot be used.
    """
    # The access log would write down the questions, and with them the users.
    uvicorn.run(create_app(settings), host=host, port=port, access_log=False, log_level="warning")
