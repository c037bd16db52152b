"""Endpoint that writes summaries: a server in a process of its own, good and bad replies."""

from typing import TYPE_CHECKING

import pytest

from chronotope.content.summaries import chat_endpoint
from chronotope.content.summaries.chat_endpoint import ChatEndpoint, EndpointUnusable
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from tests.content.summaries.conftest import ChatServer

TEXT = "Anna Berg roasts coffee in Bergen. The roast is dark. " * 8


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_endpoint, "_FIRST_PAUSE_S", 0.01)


def test_a_supported_summary_is_taken_and_only_supported_attributes(
    chat_server: "ChatServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KEY", "s3cret")
    endpoint = ChatEndpoint(chat_server.settings(api_key_env="TOY_KEY"), 200)
    reply = endpoint.summarise(TEXT)
    assert reply.summary == "Anna Berg roasts coffee."
    assert dict(reply.attributes) == {"roast": "dark"}
    assert reply.reason == "attribute origin: 'Peru' is not in the text"
    (request,) = chat_server.requests()
    assert (request["path"], request["key"]) == ("/v1/chat/completions", "Bearer s3cret")
    assert request["model"] == "toy"


def test_invented_names_and_numbers_are_refused(chat_server: "ChatServer") -> None:
    reply = ChatEndpoint(chat_server.settings(), 200).summarise(f"INVENT. {TEXT}")
    assert reply.summary == ""
    assert "not in the text: 900, Paris" in reply.reason
    assert chat_server.requests()[0]["key"] is None


def test_a_reply_is_cleaned_of_what_cannot_be_seen_or_stored(chat_server: "ChatServer") -> None:
    reply = ChatEndpoint(chat_server.settings(), 200).summarise(f"HALF {TEXT}")
    assert reply.summary == "Anna Berg roasts coffee."


def test_headers_without_an_end_are_not_waited_for(chat_server: "ChatServer") -> None:
    endpoint = ChatEndpoint(chat_server.settings(timeout_s=1, max_retries=0), 200)
    with pytest.raises(EndpointUnusable, match="no reply: TimeoutError"):
        endpoint.summarise(f"DRIP {TEXT}")


def test_a_key_that_no_header_holds_is_refused_and_is_in_no_message(
    chat_server: "ChatServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = ChatEndpoint(chat_server.settings(api_key_env="TOY_KEY"), 200)
    for key in ("s3cret\nX-Other: 1", "s3cret\u20ac", "s3 cret"):
        monkeypatch.setenv("TOY_KEY", key)
        with pytest.raises(ConfigError, match="cannot be sent in a header") as caught:
            endpoint.require_key()
        assert "cret" not in str(caught.value)
    monkeypatch.setenv("TOY_KEY", "s3cret\n")  # as a file holds it
    endpoint.require_key()
    assert endpoint.summarise(TEXT).summary
    assert chat_server.requests()[0]["key"] == "Bearer s3cret"


def test_a_summary_that_is_too_long_is_refused(chat_server: "ChatServer") -> None:
    reply = ChatEndpoint(chat_server.settings(), 10).summarise(TEXT)
    assert (reply.summary, "longer than 10" in reply.reason) == ("", True)


def test_a_busy_server_is_asked_again(chat_server: "ChatServer") -> None:
    assert ChatEndpoint(chat_server.settings(), 200).summarise(f"FLAKY {TEXT}").summary
    assert len(chat_server.requests()) == 3


@pytest.mark.parametrize(
    ("word", "problem", "n_requests"),
    [
        ("DENIED", "status 401", 1),
        ("BROKEN", "no JSON object", 1),
        ("ELSEWHERE", "status 302", 1),
    ],
)
def test_other_replies_are_not_asked_again(
    chat_server: "ChatServer", word: str, problem: str, n_requests: int
) -> None:
    with pytest.raises(EndpointUnusable, match=problem):
        ChatEndpoint(chat_server.settings(), 200).summarise(f"{word} {TEXT}")
    assert len(chat_server.requests()) == n_requests


def test_a_server_out_of_reach_and_the_key_is_in_no_message(
    chat_server: "ChatServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KEY", "s3cret")
    settings = chat_server.settings(
        base_url="http://127.0.0.1:9/v1", api_key_env="TOY_KEY", max_retries=1
    )
    with pytest.raises(EndpointUnusable, match="no reply") as caught:
        ChatEndpoint(settings, 200).summarise(TEXT)
    assert "s3cret" not in repr(caught.value)


def test_a_missing_key_is_named_with_the_way_out(
    chat_server: "ChatServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOY_KEY", raising=False)
    with pytest.raises(ConfigError, match="Set TOY_KEY"):
        ChatEndpoint(chat_server.settings(api_key_env="TOY_KEY"), 200).require_key()


def test_the_digest_is_that_of_model_and_prompt_not_of_the_address(
    chat_server: "ChatServer",
) -> None:
    first = ChatEndpoint(chat_server.settings(), 200)
    moved = ChatEndpoint(chat_server.settings(base_url="http://localhost:1/v1"), 200)
    other = ChatEndpoint(chat_server.settings(model="larger"), 200)
    assert first.digest == moved.digest
    assert len({first.digest, other.digest, ChatEndpoint(chat_server.settings(), 90).digest}) == 3
