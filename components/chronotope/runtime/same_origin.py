"""An ASGI guard for servers of this machine's own browser: no other website is answered.

Any website can send requests to 127.0.0.1 through the browser of whoever looks at it. The browser
names the page that sends (``Origin``) and the name that was looked up (``Host``, which betrays DNS
rebinding), and a page can forge neither.
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
"""No other website may show a page inside of its own, and no page may send data elsewhere."""

_POLICY_VIOLATION: Final = 1008  # close code of a websocket, RFC 6455


class SameOriginGuard:
    """Refuses requests and websockets that another website, or a rebound name, sends.

    Requests without ``Origin`` come from programs, and from links that a user follows: they pass,
    so a password is needed besides wherever other accounts use the machine.
    """

    def __init__(self, app: AsgiApp) -> None:
        """Stand before an application.

        Args:
            app: The application.
        """
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with 403."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif (refusal := refusal_reason(scope)) is None:
            await self._app(scope, receive, _with_policy(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal})
        else:
            await _send_forbidden(send, refusal)


def refusal_reason(scope: Message) -> str | None:
    """Why a request is not answered; None if it is.

    Args:
        scope: Of an ASGI request; its ``server`` is the address that accepted the connection.
    """
    headers = [(name.lower(), value.decode("latin-1").lower()) for name, value in scope["headers"]]
    hosts = [value for name, value in headers if name == b"host"]
    port = scope["server"][1]
    allowed_hosts = {f"{name}:{port}" for name in HOST_NAMES}
    if len(hosts) != 1 or hosts[0] not in allowed_hosts:
        return f"This is not the name of this server. Open http://{HOST_NAMES[0]}:{port}"
    if any(value != f"http://{hosts[0]}" for name, value in headers if name == b"origin"):
        return "Another website sent this request"
    fetch = {name: value for name, value in headers if name.startswith(b"sec-fetch-")}
    is_foreign = fetch.get(b"sec-fetch-site") in {"cross-site", "same-site"}
    if is_foreign and fetch.get(b"sec-fetch-mode") != "navigate":
        return "Another website embeds this address"
    return None


def _with_policy(send: Send) -> Send:
    """Add the content security policy to what is sent."""

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _POLICY]}
        await send(message)

    return send_with_header


async def _send_forbidden(send: Send, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
