"""Who may ask, how much and how often; and what is told when something is wrong."""

import logging
import re
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chronotope.contracts.queries import Queries
from chronotope.serving.middleware.auth_and_limits import TokenBuckets
from tests.serving.test_answers import AT, ask, event, metric
from tests.serving.town import LocalClient, Town

QUESTION = {"user_id": "u00", "request_time": AT}


def test_without_the_key_nothing_is_told(town: Town) -> None:
    with LocalClient(town.app(api_key="s3cret")) as client:
        for headers in ({}, {"X-API-Key": "s3cre"}, {"X-API-Key": "é"}):
            raw = [(k.encode(), v.encode()) for k, v in headers.items()]
            for path in ("/metrics", "/openapi.json", "/explain?user_id=u00"):
                assert client.get(path, headers=raw).status_code == 401
        good = {"X-API-Key": "s3cret"}
        assert client.post("/recommend", json=QUESTION, headers=good).status_code == 200
        assert client.get("/health").status_code == client.get("/").status_code == 200


def test_keys_cannot_be_tried_out(town: Town) -> None:
    with LocalClient(town.app(api_key="s3cret", rate_per_s=0.5, burst=2)) as client:
        tried = [client.get("/metrics", headers={"X-API-Key": str(n)}) for n in range(4)]
    assert [reply.status_code for reply in tried] == [401, 401, 429, 429]


def test_without_a_key_only_names_of_this_machine_are_answered(town: Town) -> None:
    with LocalClient(town.app()) as client:
        for host, status in (
            ("evil.example", 421),
            ("127.0.0.1.evil.example:8000", 421),
            ("", 421),
            ("localhost:8000", 200),
            ("[::1]:8000", 200),
        ):
            assert client.get("/users", headers={"Host": host}).status_code == status, host
    with LocalClient(town.app(api_key="s3cret")) as client:
        headers = {"Host": "shop.example", "X-API-Key": "s3cret"}
        assert client.get("/users", headers=headers).status_code == 200


def test_a_large_request_is_refused_whether_it_says_so_or_not(town: Town) -> None:
    with LocalClient(town.app(max_body_bytes=100)) as client:
        assert client.post("/recommend", content=b" " * 101).status_code == 413
        assert client.post("/recommend", content=iter([b" " * 60] * 2)).status_code == 413
        assert client.post("/recommend", json=QUESTION).status_code == 200


def test_a_client_that_asks_too_often_has_to_wait(town: Town) -> None:
    with LocalClient(town.app(rate_per_s=0.5, burst=2)) as client:
        codes = [client.post("/recommend", json=QUESTION).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        assert client.post("/recommend", json=QUESTION).headers["retry-after"] == "2"
        assert client.get("/ready").status_code == 200


def test_a_bucket_fills_again() -> None:
    buckets = TokenBuckets(rate=2.0, burst=2)
    waits = [buckets.wait_s("a", now) for now in (0.0, 0.0, 0.0, 0.25, 0.5, 0.5, 100.0)]
    assert waits == [0, 0, 0.5, 0.25, 0, 0.5, 0]
    assert buckets.wait_s("b", 0.5) == 0


def test_a_slow_answer_is_given_up(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalClient(town.app(time_limit_s=0.1)) as client:
        model = client.app.state.service.watcher.loaded_champion.champion.model  # type: ignore[attr-defined]
        answer = type(model).answer

        def slow(self: Any, queries: Queries) -> Any:
            time.sleep(0.4)
            return answer(self, queries)

        monkeypatch.setattr(type(model), "answer", slow)
        reply = client.post("/recommend", json=QUESTION)
    assert (reply.status_code, "took too long" in reply.json()["detail"]) == (503, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"k": 0}, "k"),
        ({"request_time": "2020-01-01T00:00"}, "request_time"),
        ({"request_time": "0001-01-01T00:00Z"}, "request_time"),
        ({"history": [{"item_id": "", "occurred_at": AT}]}, "history.0.item_id"),
        ({"usr": "u00"}, "usr"),
        ({"context": {"rain": "wet"}}, "context.rain"),
    ],
)
def test_the_field_that_is_wrong_is_named(
    client: TestClient, body: dict[str, Any], field: str
) -> None:
    reply = client.post("/recommend", json=body)
    assert (reply.status_code, reply.json()["fields"][0]["field"]) == (422, field)


def test_contradictions_and_nonsense_are_refused(client: TestClient) -> None:
    for body in (
        {"user_id": "a", "history": []},
        {"lat": 1.0},
        {"within_km": 3},
    ):
        assert client.post("/recommend", json=body).status_code == 422, body
    as_json = {"content-type": "application/json"}
    for text in (b"{", b"[" * 5000, b"\xff", b'{"lat": NaN, "lon": 1}', rb'{"user_id": "\ud800"}'):
        reply = client.post("/recommend", content=text, headers=as_json)
        assert 400 <= reply.status_code < 500, text


def test_events_from_the_future_or_of_no_kind_are_refused(client: TestClient) -> None:
    future = event("a", "i01", at="2199-01-01T00:00Z")
    shown = {"kind": "impression", "key": "b", "answer_id": "x", "shown_at": AT, "version": "1"}
    uneven = shown | {"policy": "p", "items": ["i01"], "propensities": [0.5, 0.5]}
    for bad in (future, [event("b", "i01"), future], uneven, {"kind": "dream"}, [{}], 7):
        assert client.post("/events", json=bad).status_code == 422, bad
    assert metric(client, "chronotope_interactions_total") == 0


def test_impressions_of_others_are_kept(client: TestClient) -> None:
    shown = {"kind": "impression", "key": "b", "answer_id": "x", "shown_at": AT, "version": "1"}
    kept = client.post("/events", json=shown | {"policy": "p", "items": ["i01"]}).json()
    assert (kept["n_new"], kept["n_unknown_items"]) == (1, 0)


def test_no_user_is_named_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    client.get("/explain", params={"user_id": "u00-secret"})

    def fail(*_: object) -> None:
        raise RuntimeError("about u00-secret")

    service = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service.recommend_endpoint, "_cached_response", fail)
    assert client.post("/recommend", json={"user_id": "u00-secret"}).status_code == 500
    logged = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("chronotope"))
    assert "/explain 200" in logged
    assert "RuntimeError" in logged
    assert "secret" not in logged


def test_the_docs_page_loads_only_assets_of_the_service(client: TestClient) -> None:
    page = client.get("/docs")
    assert "SwaggerUIBundle" in page.text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page.text)
    asset_paths = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
    assert len(asset_paths) == 3
    assert all(client.get(path).status_code == 200 for path in asset_paths)
    assert client.get("/docs/redoc.standalone.js").status_code == 404
    assert "script-src 'self' 'sha256-" in page.headers["content-security-policy"]
    assert set(client.get("/openapi.json").json()["paths"]) >= {"/recommend", "/predict", "/events"}


def test_a_cached_user_id_of_another_sort_is_no_problem(client: TestClient) -> None:
    assert ask(client, user_id="名\x00前", request_time=AT)["n_history"] == 0


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"user_id": "u00"}, "kind", "Field required"),
        ([{"kind": "click"}], "0.kind", "'click' is none of 'event', 'impression'"),
    ],
)
def test_a_kind_that_is_missing_or_unknown_is_named(
    client: TestClient, body: Any, field: str, message: str
) -> None:
    reply = client.post("/events", json=body)
    assert reply.json()["fields"] == [{"field": field, "message": message}]
