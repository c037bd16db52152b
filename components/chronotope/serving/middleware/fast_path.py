"""Good questions go straight to their answer; whatever is odd goes the documented way.

FastAPI spends as much on a request as the model on its answer. So a JSON body that is valid for
a known address is read and answered here. Everything else, a wrong body included, is left to
the application, which says what is wrong and describes the address in its documentation.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chronotope.contracts.errors import ChronotopeError
from chronotope.serving.api.problems import problem_response

FastHandler = tuple[TypeAdapter[Any], Callable[[Any], Awaitable[Response]]]
"""What reads a body, and what answers it."""


class FastPath:
    """ASGI middleware before an application whose POST addresses it knows."""

    def __init__(self, app: ASGIApp, posts: Mapping[str, FastHandler]) -> None:
        """Stand before an application.

        Args:
            app: The application.
            posts: By path.
        """
        self._app, self._posts = app, posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application do it."""
        known = self._posts.get(scope["path"]) if scope["type"] == "http" else None
        if known is None or scope["method"] != "POST" or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        reads, answers = known
        body = await read_body(receive)
        try:
            question = reads.validate_json(body)
        except ValidationError:
            await self._app(scope, replay_body(body, receive), send)
            return
        try:
            reply = await answers(question)
        except ChronotopeError as error:
            reply = problem_response(error)
        await reply(scope, receive, send)


async def read_body(receive: Receive) -> bytes:
    """A body that has come."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def replay_body(body: bytes, receive: Receive) -> Receive:
    """The body at once; then whatever comes, such as the end of the connection."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _is_json(scope: Scope) -> bool:
    """Anything else a page from elsewhere could send without asking; the application refuses it."""
    return (b"content-type", b"application/json") in scope["headers"]
