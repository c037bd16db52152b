"""Fast path of valid POST requests around FastAPI's own request handling.

FastAPI spends as much time on a request as the model on its response. So a JSON body that is
valid for a known path is parsed and handled here. Every other request, an invalid body included,
goes to the application, which reports the error and documents the endpoint.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronotope.contracts.errors import ChronotopeError
from chronotope.serving.api.problems import problem_response

FastHandler = tuple[TypeAdapter[Any], Callable[[Any], Awaitable[Response]]]
"""Parser of a request body, and the endpoint that takes the parsed request."""


class FastPath:
    """ASGI middleware that handles valid POST requests of known paths."""

    def __init__(self, app: ASGIApp, fast_handlers: Mapping[str, FastHandler]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            fast_handlers: Parser and endpoint by path.
        """
        self._app, self._fast_handlers = app, fast_handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request here, or pass it to the application."""
        handler = self._fast_handlers.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None or scope["method"] != "POST" or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        body_adapter, endpoint = handler
        body = await read_body(receive)
        try:
            parsed_request = body_adapter.validate_json(body)
        except ValidationError:
            await self._app(scope, replay_body(body, receive), send)
            return
        try:
            response = await endpoint(parsed_request)
        except ChronotopeError as error:
            response = problem_response(error)
        await response(scope, receive, send)


async def read_body(receive: Receive) -> bytes:
    """Complete body of a request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Receive channel that yields a body already read, then later messages (disconnect)."""
    body_messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_replayed() -> Message:
        return body_messages.pop() if body_messages else await receive()

    return receive_replayed


def _is_json(scope: Scope) -> bool:
    """Other types can be sent cross-origin without a preflight; the application refuses them."""
    return (b"content-type", b"application/json") in scope["headers"]
