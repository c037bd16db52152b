"""ASGI middleware of local servers that rejects cross-origin requests and DNS rebinding.

Any website can send requests to 127.0.0.1 through a visitor's browser. The browser states the
origin of the sending page (``Origin``) and the host name of the request (``Host``, which reveals
DNS rebinding); a page cannot forge either.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

HOST_NAMES: Final = ("127.0.0.1", "localhost")
_POLICY: Final = (
    b"content-security-policy",
    b"frame-ancestors 'self'; connect-src 'self' blob: data:",
)
"""Content security policy: no framing by other websites, no requests to other origins."""

_POLICY_VIOLATION: Final = 1008  # close code of a websocket, RFC 6455


class SameOriginGuard:
    """ASGI middleware that rejects requests and websockets of other websites or rebound names.

    Requests without ``Origin`` come from programs and from links that a user follows. They are
    allowed, so a machine with several accounts needs a password in addition.
    """

    def __init__(self, app: AsgiApp) -> None:
        """Wrap an application.

        Args:
            app: The ASGI application.
        """
        self._app = app

    async def __call__(
        self, asgi_scope: Message, receive_message: Receive, send_message: Send
    ) -> None:
        """Forward an allowed request to the application; respond with 403 to others."""
        if asgi_scope["type"] not in {"http", "websocket"}:
            await self._app(asgi_scope, receive_message, send_message)
        elif (refusal_text := refusal_reason(asgi_scope)) is None:
            await self._app(asgi_scope, receive_message, _with_policy(send_message))
        elif asgi_scope["type"] == "websocket":
            await send_message(
                {"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal_text}
            )
        else:
            await _send_forbidden(send_message, refusal_text)


def refusal_reason(asgi_scope: Message) -> str | None:
    """Reason why a request is rejected; None if it is allowed.

    Args:
        asgi_scope: Scope of an ASGI request; its ``server`` is the address that accepted the
            connection.
    """
    request_headers = [
        (header_name.lower(), header_value.decode("latin-1").lower())
        for header_name, header_value in asgi_scope["headers"]
    ]
    host_values = [
        header_value for header_name, header_value in request_headers if header_name == b"host"
    ]
    server_port = asgi_scope["server"][1]
    allowed_hosts = {f"{host_name}:{server_port}" for host_name in HOST_NAMES}
    if len(host_values) != 1 or host_values[0] not in allowed_hosts:
        return f"This is not the name of this server. Open http://{HOST_NAMES[0]}:{server_port}"
    if any(
        header_value != f"http://{host_values[0]}"
        for header_name, header_value in request_headers
        if header_name == b"origin"
    ):
        return "Another website sent this request"
    fetch_headers = {
        header_name: header_value
        for header_name, header_value in request_headers
        if header_name.startswith(b"sec-fetch-")
    }
    is_foreign = fetch_headers.get(b"sec-fetch-site") in {"cross-site", "same-site"}
    if is_foreign and fetch_headers.get(b"sec-fetch-mode") != "navigate":
        return "Another website embeds this address"
    return None


def _with_policy(send_message: Send) -> Send:
    """Add the content security policy to the headers of a response."""

    async def send_with_header(asgi_message: Message) -> None:
        if asgi_message["type"] == "http.response.start":
            asgi_message = {**asgi_message, "headers": [*asgi_message.get("headers", ()), _POLICY]}
        await send_message(asgi_message)

    return send_with_header


async def _send_forbidden(send_message: Send, refusal_text: str) -> None:
    response_headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send_message({"type": "http.response.start", "status": 403, "headers": response_headers})
    await send_message({"type": "http.response.body", "body": refusal_text.encode()})
