"""A champion that finds its items by an index answers as one that scores them all."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from chronotope.contracts.errors import ConfigError
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.replay import RequestReplay
from chronotope.serving.settings import ServeSettings
from chronotope.testing.recommender_suite import sample_catalog
from tests.serving.test_answers import AT, ask, event, ids
from tests.serving.town import LocalClient, Town

QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"k": 4},
    {"exclude_seen": True},
    {"lat": 40.0, "lon": -40.0, "within_km": 6},
    {"category": "b"},
    {"category": "b", "exclude_seen": True, "lat": 40.0, "lon": -40.0, "within_km": 20},
    {"diversity": 0.6, "k": 5},
    {"place_id": "i07"},
)


@pytest.fixture
def clients(town: Town) -> Iterator[tuple[TestClient, TestClient]]:
    """A dense and an indexed service over one lake, whose items are of three kinds."""
    items = sample_catalog().items.ids
    kinds = pa.array(["abc"[n % 3] for n in range(len(items))])
    catalog = sample_catalog()
    located = {"lat": catalog.item_lat[1:], "lon": catalog.item_lon[1:]}
    lake = Lake(Workspace(town.root).lake("city"))
    lake.upsert_items(pa.table({"item_id": items, "category": kinds, **located}))
    town.add_indexed("2")
    indexed = Town(town.root, "2")
    with LocalClient(town.app(poll_s=3600)) as one, LocalClient(indexed.app(poll_s=3600)) as other:
        yield one, other


@pytest.mark.parametrize("user", ["u00", "u02", "nobody"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_it_finds_the_same_items(
    clients: tuple[TestClient, TestClient], user: str, question: dict[str, Any]
) -> None:
    dense, indexed = (ask(client, user_id=user, request_time=AT, **question) for client in clients)
    assert ids(indexed) == ids(dense) != []
    assert [item["probability"] for item in indexed["items"]] == [None] * len(ids(indexed))
    for name in ("reason", "category", "distance_km"):
        assert [i[name] for i in indexed["items"]] == [i[name] for i in dense["items"]]


def test_an_event_counts_at_once(clients: tuple[TestClient, TestClient]) -> None:
    _, indexed = clients
    assert ids(ask(indexed, user_id="new", request_time=AT))[0] != "i09"
    indexed.post("/events", json=event("a", "i09", "new"))
    assert ids(ask(indexed, user_id="new", request_time=AT))[0] == "i09"


def test_exploring_draws_from_its_own_pool(clients: tuple[TestClient, TestClient]) -> None:
    _, indexed = clients
    said = ask(indexed, user_id="u00", request_time=AT, k=3, epsilon=1.0)
    assert said["explored"]
    assert len(set(ids(said))) == 3
    assert all(0 < p < 1 for p in said["propensities"])


def test_predict_and_explain_read_all_codes(clients: tuple[TestClient, TestClient]) -> None:
    dense, indexed = (ask(client, "/predict", user_id="u00", request_time=AT) for client in clients)
    assert indexed["time_forecast"] == dense["time_forecast"]
    assert ids(indexed) == ids(dense)
    for one, other in zip(indexed["items"], dense["items"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], rel=0.01)
    told = {"user_id": "u00", "item_id": "i05", "request_time": AT}
    ranks = [c.get("/explain", params=told).json()["items"][0]["rank"] for c in clients]
    assert ranks[0] == ranks[1]


def test_what_was_shown_is_logged_without_probabilities(town: Town) -> None:
    town.add_indexed("2")
    town.version = "2"
    with LocalClient(town.app(poll_s=3600)) as client:
        shown = ids(ask(client, user_id="u00", request_time=AT, k=3))
        service = client.app.state.service  # type: ignore[attr-defined]
        service.impression_writer.stop()
        (stored,) = service.interaction_log.read(0, 10, "impression")
    assert stored.payload["items"] == shown
    assert stored.payload["probabilities"] == []


def test_it_cannot_be_judged_by_old_lists(town: Town) -> None:
    town.add_indexed("2")
    settings = ServeSettings(dataset="city", root=town.root)
    with pytest.raises(ConfigError, match="off-policy"):
        RequestReplay(settings, "2", load=town.load_version)
