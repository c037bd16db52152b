"""Items posted to a service: recommended within seconds, kept by restarts and hot swaps."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from chronotope.content.embed_items import embed_modality
from chronotope.content.encoder import Modality
from tests.serving.content_town import AT, CONTENT, NEW_FILM, ContentTown, write_content_bundle
from tests.serving.town import LocalClient, Town

FITTING, OTHER = "u00", "u01"  # of kinds 0 and 1
WAIT_S = 60.0


@pytest.fixture(scope="module")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> ContentTown:
    return ContentTown.build(tmp_path_factory.mktemp("content"))


@pytest.fixture
def town(trained_root: ContentTown, tmp_path: Path) -> ContentTown:
    return trained_root.copy(tmp_path)


@pytest.fixture
def client(town: ContentTown) -> Iterator[TestClient]:
    with LocalClient(town.app()) as opened:
        yield opened


def post(client: TestClient, body: Any = NEW_FILM, status: int = 200) -> dict[str, Any]:
    reply = client.post("/items", json=body)
    assert reply.status_code == status, reply.text
    return dict(reply.json())


def wait_for(client: TestClient, item_id: str = "new", state: str = "served") -> dict[str, Any]:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        reply = client.get(f"/new-items/{item_id}")
        if reply.status_code == 200 and reply.json()["state"] == state:
            return dict(reply.json())
        time.sleep(0.05)
    pytest.fail(f"{item_id} never was {state}: {reply.text}")


def ranked(client: TestClient, user_id: str, **options: Any) -> list[str]:
    body = {"user_id": user_id, "request_time": AT, "k": 40, "explore": False, **options}
    reply = client.post("/recommend", json=body)
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


def test_a_posted_item_is_ranked_for_those_who_like_its_content(client: TestClient) -> None:
    assert "new" not in ranked(client, FITTING)
    receipt = post(client)
    assert receipt == {"n_received": 1, "n_new": 1, "items": ["/new-items/new"]}
    status = wait_for(client)
    assert (status["content"], status["missing"], status["is_exposed"]) == (["text"], [], True)
    fitting, other = ranked(client, FITTING), ranked(client, OTHER)
    assert len(fitting) == len(other) == 37
    assert fitting.index("new") < 12 <= other.index("new")


def test_it_is_described_and_has_neighbours(client: TestClient) -> None:
    post(client)
    wait_for(client)
    about = client.get("/items/new?k=3").json()
    assert (about["title"], about["text"]) == ("orbit", NEW_FILM["text"])
    assert len(about["similar"]) == 3
    kinds = {int(item["id"][1:]) % 3 for item in about["similar"]}
    assert kinds == {0}


def test_its_events_are_a_history(client: TestClient) -> None:
    post(client)
    wait_for(client)
    event = {"kind": "event", "key": "k1", "user_id": "fresh", "item_id": "new"}
    reply = client.post("/events", json=[{**event, "occurred_at": "2020-10-20T11:00:00Z"}])
    assert reply.json()["n_unknown_items"] == 0
    top = ranked(client, "fresh")[:8]
    assert sum(item == "new" or int(item[1:]) % 3 == 0 for item in top) >= 6


def test_a_post_is_stored_once_and_can_be_changed(client: TestClient) -> None:
    assert post(client)["n_new"] == 1
    assert post(client)["n_new"] == 0
    wait_for(client)
    assert post(client, {"item_id": "new", "text": "soup pasta kitchen oven"})["n_new"] == 1
    end = time.monotonic() + WAIT_S
    while client.get("/items/new").json()["text"] != "soup pasta kitchen oven":
        assert time.monotonic() < end, "the change is never served"
        time.sleep(0.05)
    assert client.get("/items/new").json()["title"] == "orbit"  # a field that was left out stays
    assert ranked(client, "u02").index("new") < ranked(client, FITTING).index("new")


def test_a_restart_keeps_it(town: ContentTown) -> None:
    with LocalClient(town.app()) as client:
        post(client)
    with LocalClient(town.app()) as client:  # loaded before the first request
        assert wait_for(client)["state"] == "served"
        assert "new" in ranked(client, FITTING)


def test_another_worker_gets_it(town: ContentTown) -> None:
    with LocalClient(town.app()) as first, LocalClient(town.app()) as second:
        post(first)
        wait_for(second)
        wait_for(first)
        assert ranked(first, FITTING) == ranked(second, FITTING)


def test_a_hot_swap_keeps_it(town: ContentTown, client: TestClient) -> None:
    post(client)
    wait_for(client)
    write_content_bundle(town.root / "versions" / "2", town.lake, seed=1)
    town.version = "2"
    end = time.monotonic() + WAIT_S
    while client.get("/ready").json()["version"] != "2":
        assert time.monotonic() < end, "the new champion is never loaded"
        time.sleep(0.05)
    assert client.get("/new-items/new").json()["state"] == "served"
    assert "new" in ranked(client, FITTING)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"item_id": ""}, "at least 1 character"),
        ({"item_id": "NULL"}, "is missing"),
        ({"colour": "red"}, "unknown columns"),
        ({"lat": 91.0, "lon": 0.0}, "less than or equal to 90"),
        ({"lat": 1.0}, "both lat and lon"),
        ({"text": "x" * 65_537}, "65,536 bytes"),
        ({"title": "a\x00b"}, "control character"),
        ({"text": ["a"]}, "valid string"),
        ({"image_path": "../secret.png"}, "leads out of data_dir"),
        ({"image_path": "/etc/passwd"}, "leads out of data_dir"),
        ({"image_path": "https://a.example/x.png"}, "is no path"),
    ],
)
def test_bad_items_are_refused_whole(client: TestClient, change: dict[str, Any], word: str) -> None:
    reply = client.post("/items", json=[NEW_FILM, {**NEW_FILM, "item_id": "bad", **change}])
    assert reply.status_code == 422
    assert word in reply.text
    assert client.get("/new-items/new").status_code == 404  # nothing of the request is stored


def test_numbers_that_are_none_are_refused(client: TestClient) -> None:
    content = '{"item_id": "new", "lat": NaN, "lon": 0}'
    headers = {"Content-Type": "application/json"}
    assert client.post("/items", content=content, headers=headers).status_code == 422


def test_a_body_that_is_too_large_is_refused_readably(client: TestClient) -> None:
    reply = client.post(
        "/items", json=[{"item_id": str(n), "text": "x" * 1000} for n in range(1100)]
    )
    assert reply.status_code == 413


def test_a_known_item_is_a_conflict(client: TestClient) -> None:
    detail = post(client, {"item_id": "i00", "title": "other"}, status=409)["detail"]
    assert "chronotope ingest" in detail


def test_later_rows_of_the_items_table_are_served(town: ContentTown, client: TestClient) -> None:
    row = {name: [value] for name, value in NEW_FILM.items()} | {"item_id": ["later"]}
    town.lake.upsert_items(pa.table(row))
    wait_for(client, "later")
    assert ranked(client, FITTING).index("later") < 13


def test_vectors_of_another_encoder_are_never_used(town: ContentTown) -> None:
    """The lake's encoder is fitted again; the model still gets vectors of its own."""
    text = CONTENT.text
    assert text is not None
    with LocalClient(town.app()) as client:
        post(client)
        before = wait_for(client)
        scores_before = ranked(client, FITTING)
    town.lake.upsert_items(pa.table({"item_id": ["odd"], "text": ["zebra quagga okapi"]}))
    embed_modality(
        Modality.TEXT, text, town.lake, data_dir=town.root, cache_dir=town.root, refit=True
    )
    with LocalClient(town.app()) as client:
        after = wait_for(client)
        scores_after = [item for item in ranked(client, FITTING) if item != "odd"]
    assert before["content"] == after["content"] == ["text"]
    assert scores_after == scores_before


def test_a_model_that_cannot_grow_says_why(tmp_path: Path) -> None:
    with LocalClient(Town.build(tmp_path).app(poll_s=0.2)) as client:
        post(client, {"item_id": "new", "title": "kept for the next training"})
        end = time.monotonic() + WAIT_S
        while (status := client.get("/new-items/new").json())["problem"] is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert status["state"] == "waiting"
        assert "exported before" in status["problem"]
        assert client.get("/ready").status_code == 200


def test_a_share_of_the_lists_ends_with_it(town: ContentTown) -> None:
    with LocalClient(town.app(explore_new=0.5)) as client:
        post(client)
        wait_for(client)
        body = {"user_id": OTHER, "request_time": AT, "k": 5}
        lists = [client.post("/recommend", json=body).json() for _ in range(60)]
    shown = [reply for reply in lists if reply["items"][-1]["id"] == "new"]
    assert 15 <= len(shown) <= 45
    for reply in lists:
        assert reply["policy"] == "greedy, new 0.5 of 1"
        np.testing.assert_allclose(reply["propensities"], [1.0] * 4 + [0.5])
        assert reply["explored"] == (reply["items"][-1]["id"] == "new")
