"""The page at ``/``: what it is made of, and that it works in a real browser."""

import re

from fastapi.testclient import TestClient

from tests.models.recommender_suite import N_ITEMS


def test_the_page_may_run_only_itself_and_reach_only_the_service(client: TestClient) -> None:
    first, again = client.get("/"), client.get("/")
    policy = first.headers["Content-Security-Policy"].split("; ")
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', first.text))
    assert {"default-src 'none'", f"script-src 'nonce-{nonce}'", "connect-src 'self'"} <= {*policy}
    assert nonce not in again.text
    assert "{{" not in first.text


def test_the_page_is_one_document_that_writes_data_as_text_alone(client: TestClient) -> None:
    text = client.get("/").text
    assert set(re.findall(r"\w+://[\w./]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|style|on\w+)=\"", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


def test_users_come_by_their_latest_event(client: TestClient) -> None:
    users = client.get("/users").json()["users"]
    assert users[0] == {"user_id": "u00", "n_events": 4}
    assert {user["user_id"] for user in users} == {"u00", "u01", "u02"}
    assert [u["user_id"] for u in client.get("/users?start=u01").json()["users"]] == ["u01"]
    assert client.get("/users?start=x").json()["users"] == []
    assert len(client.get("/users?n=2").json()["users"]) == 2


def test_the_ground_is_where_the_items_lie(client: TestClient) -> None:
    points = client.get("/ground").json()["points"]
    assert len(points) == N_ITEMS
    assert all(lat == -lon for lat, lon in points)
    assert len(client.get("/ground?n=4").json()["points"]) == 4


def test_the_page_is_counted_by_its_names(client: TestClient) -> None:
    for path in ("/", "/users", "/ground"):
        client.get(path)
        told = f'chronotope_requests_total{{path="{path}",status="200"}} 1.0'
        assert told in client.get("/metrics").text
