"""Headers of every answer: browsers store nothing, guess no type, and show it in no frame."""

from typing import Final

from starlette.types import Message

_POLICY: Final = b"content-security-policy"

DEFAULT_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
"""Answers name users, so they are kept by no browser and no proxy."""

_NOTHING_RUNS: Final = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")


def add_default_headers(message: Message) -> None:
    """Add them to the start of an answer; a page's own content policy stays.

    Args:
        message: ``http.response.start``; it is changed.
    """
    headers = [*message.get("headers", ()), *DEFAULT_HEADERS]
    if not any(name == _POLICY for name, _ in headers):
        headers.append(_NOTHING_RUNS)
    message["headers"] = headers
