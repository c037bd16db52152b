"""Which requests a server of this machine answers: none that another website sends."""

import asyncio
from typing import Any

import pytest

from chronotope.runtime.same_origin import Message, Receive, SameOriginGuard, Send

OWN = {"host": "127.0.0.1:4200"}


def answer(headers: dict[str, str], kind: str = "http") -> list[Message]:
    """What a guarded application sends back."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": kind, "headers": raw, "server": ("127.0.0.1", 4200)}
    asyncio.run(SameOriginGuard(app)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {"host": "localhost:4200", "origin": "http://localhost:4200"},
        {**OWN, "origin": "http://127.0.0.1:4200", "sec-fetch-site": "same-origin"},
        {**OWN, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {**OWN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},  # a link
    ],
)
def test_programs_links_and_its_own_pages_are_answered(headers: dict[str, str]) -> None:
    (start,) = answer(headers)
    assert start["status"] == 200
    assert b"frame-ancestors 'self'" in dict(start["headers"])[b"content-security-policy"]


FOREIGN = [
    {},
    {"host": "127.0.0.1"},
    {"host": "127.0.0.1:4201"},
    {"host": "evil.example:4200"},
    {"host": "127.0.0.1.evil.example:4200"},
    {"host": "127.0.0.1:4200@evil.example"},
    {**OWN, "origin": "http://evil.example"},
    {**OWN, "origin": "http://127.0.0.1:8080"},
    {**OWN, "origin": "http://localhost:4200"},
    {**OWN, "origin": "https://127.0.0.1:4200"},
    {**OWN, "origin": "null"},
    {**OWN, "origin": ""},
    {**OWN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    {**OWN, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_websites_and_names_are_refused(headers: dict[str, str]) -> None:
    start, _ = answer(headers)
    assert start["status"] == 403
    (close,) = answer(headers, "websocket")
    assert (close["type"], close["code"]) == ("websocket.close", 1008)
