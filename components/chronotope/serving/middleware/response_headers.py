"""Security headers of every response: no caching, no MIME sniffing, no framing."""

from typing import Final

from starlette.types import Message

_CONTENT_POLICY: Final = b"content-security-policy"

DEFAULT_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
"""Responses contain user ids, so no browser and no proxy may store them."""

_EMPTY_POLICY: Final = (_CONTENT_POLICY, b"default-src 'none'; frame-ancestors 'none'")


def add_default_headers(message: Message) -> None:
    """Add the default headers to a response; a page's own content policy stays.

    Args:
        message: ``http.response.start``, changed in place.
    """
    headers = [*message.get("headers", ()), *DEFAULT_HEADERS]
    if not any(header_name == _CONTENT_POLICY for header_name, _ in headers):
        headers.append(_EMPTY_POLICY)
    message["headers"] = headers
