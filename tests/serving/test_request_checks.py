"""Requests that are ambiguous, of the future, or of another kind; and what every answer carries."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from chronotope.contracts.clock import MAX_CLOCK_SKEW, is_in_future
from chronotope.serving.settings import ServeSettings
from tests.serving.test_answers import AT, event, metric
from tests.serving.town import LocalClient, Town

AS_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/users", "/map-points"],
)
def test_head_answers_as_get_does_without_the_body(client: TestClient, path: str) -> None:
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"") == (200, b"")
    assert int(head.headers["content-length"]) > 0
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_head_of_an_address_that_is_posted_to_is_refused(client: TestClient) -> None:
    assert client.head("/recommend").status_code == 405


def test_every_answer_tells_browsers_to_guess_store_and_frame_nothing(client: TestClient) -> None:
    answers = [
        client.get("/"),
        client.get("/docs"),
        client.get("/health"),
        client.get("/nowhere"),
        client.post("/recommend", json={"user_id": "u00", "request_time": AT}),
        client.post("/recommend", json={"k": 0}),
        client.get("/users", headers={"Host": "evil.example"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200, 422, 421]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        policies = answer.headers.get_list("content-security-policy")
        assert len(policies) == 1
        assert "default-src 'none'" in policies[0]
        assert "frame-ancestors 'none'" in policies[0]


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/recommend", b'{"user_id": "u00", "user_id": "u01"}', "user_id"),
        ("/predict", b'{"user_id": "u00", "context": {"rain": 1, "rain": 2}}', "rain"),
        ("/events", b'[{"kind": "event", "key": "a", "k\\u0065y": "b"}]', "key"),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_a_name_that_stands_twice_is_refused(
    client: TestClient, path: str, body: bytes, name: str, kind: str
) -> None:
    answer = client.post(path, content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["received"]) == (422, name)
    assert "twice" in answer.json()["detail"]


def test_one_name_in_two_objects_is_no_repetition(client: TestClient) -> None:
    answer = client.post("/events", json=[event("a", "i01"), event("b", "i02")])
    assert answer.status_code == 200


def test_a_parameter_that_stands_twice_is_refused(client: TestClient) -> None:
    twice = client.get("/explain?user_id=u00&user_id=u01")
    assert (twice.status_code, "twice" in twice.json()["detail"]) == (422, True)
    assert (
        client.get(f"/explain?user_id=u00&request_time={AT.replace('+', '%2B')}").status_code == 200
    )


def test_the_clock_of_a_sender_may_be_five_minutes_ahead(client: TestClient) -> None:
    now = datetime.now(UTC)
    codes = {
        minutes: client.post(
            "/events",
            json=event(f"e{minutes}", "i01", at=(now + timedelta(minutes=minutes)).isoformat()),
        ).status_code
        for minutes in (-1, 4, 6, 60, 60 * 23)
    }
    assert codes == {-1: 200, 4: 200, 6: 422, 60: 422, 60 * 23: 422}
    assert metric(client, "chronotope_interactions_total") == 2
    assert not is_in_future(now + MAX_CLOCK_SKEW, now)


def test_an_impression_of_the_future_is_refused(client: TestClient) -> None:
    shown: dict[str, Any] = {"kind": "impression", "key": "b", "answer_id": "x", "version": "1"}
    shown |= {"policy": "p", "items": ["i01"]}
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert client.post("/events", json=shown | {"shown_at": later}).status_code == 422
    assert client.post("/events", json=shown | {"shown_at": AT}).status_code == 200


def test_no_page_from_elsewhere_learns_even_that_the_service_runs(town: Town) -> None:
    """Names that lead to 127.0.0.1 (DNS rebinding)."""
    with LocalClient(town.app()) as client:
        for path in ("/", "/health", "/ready", "/metrics"):
            assert client.get(path, headers={"Host": "evil.example"}).status_code == 421, path
    with LocalClient(town.app(api_key="s3cret")) as client:
        assert client.get("/health", headers={"Host": "shop.example"}).status_code == 200


def test_a_web_socket_is_no_way_around_the_key(town: Town) -> None:
    with (
        LocalClient(town.app(api_key="s3cret")) as client,
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/metrics"),
    ):
        pass


def test_an_ipv6_network_is_one_client(town: Town) -> None:
    with LocalClient(town.app(rate_per_s=0.001, burst=2)) as client:

        def status(address: str) -> int:
            client._transport.client = (address, 1)
            return int(client.get("/users").status_code)

        assert [status(f"2001:db8:1:2::{n}") for n in range(3)] == [200, 200, 429]
        assert status("2001:db8:1:3::1") == 200


def test_proxies_are_named_by_address(town: Town) -> None:
    for address in ("proxy.example", "*", "10.0.0.1/8", ""):
        with pytest.raises(ValidationError, match="trusted_proxies"):
            ServeSettings(dataset="city", root=town.root, trusted_proxies=(address,))


@pytest.mark.parametrize(
    ("headers", "received"),
    [
        ({}, "no Content-Type header"),
        ({"content-type": "application/x-www-form-urlencoded"}, "application/x-www-form"),
        ({"content-type": "text/plain"}, "text/plain"),
    ],
)
@pytest.mark.parametrize("path", ["/recommend", "/predict", "/events"])
def test_a_body_of_another_media_type_is_named(
    client: TestClient, path: str, headers: dict[str, str], received: str
) -> None:
    answer = client.post(path, content=b'{"user_id": "u00"}', headers=headers)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["received"].startswith(received)
    assert "Content-Type: application/json" in problem["hint"]


def test_an_invalid_field_of_json_is_still_named(client: TestClient) -> None:
    for media_type in ("application/json; charset=utf-8", "application/problem+json"):
        answer = client.post(
            "/recommend", content=b'{"k": 0}', headers={"content-type": media_type}
        )
        assert "Content-Type" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        ("/recommend", b"{bad", "body", "This is no JSON: Expecting property name"),
        ("/recommend", b'{"user": "u00"}', "user", "There is no such field"),
        ("/events", b'{"user_id": "u00"}', "kind", "Field required"),
        ("/item-context", b'[{"item_id": "i01"}]', "0.valid_from", "Field required"),
        ("/item-context", b'{"item_id": "i01"}', "valid_from", "Field required"),
    ],
)
def test_a_problem_names_the_field_and_no_class_of_the_service(
    client: TestClient, path: str, body: bytes, field: str, message: str
) -> None:
    answer = client.post(path, content=body, headers=AS_JSON)
    assert answer.status_code == 422
    problem = answer.json()["fields"][0]
    assert problem["field"] == field
    assert problem["message"].startswith(message)


def test_the_reason_of_a_check_stands_without_a_prefix(client: TestClient) -> None:
    later = event("a", "i01", at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    problem = client.post("/events", json=later).json()["fields"][0]
    assert problem == {"field": "occurred_at", "message": "lies in the future"}
