"""What the service answers, and what makes it answer differently."""

from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from chronotope.inference.interval_levels import IntervalLevels, write_interval_levels
from chronotope.inference.recommend import recommend
from chronotope.inference.request import RecommendOptions
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api import recommend_endpoint
from tests.serving.town import LocalClient, Town

AT = "2020-09-13T18:00:00+00:00"


def ask(client: TestClient, path: str = "/recommend", **question: Any) -> dict[str, Any]:
    reply = client.post(path, json=question)
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said


def ids(said: dict[str, Any]) -> list[str]:
    return [item["id"] for item in said["items"]]


def event(key: str, item: str, user: str = "u00", at: str = "2020-09-13T17:00Z") -> dict[str, Any]:
    told = {"kind": "event", "key": key, "user_id": user, "item_id": item, "occurred_at": at}
    return told | {"utc_offset_min": 0}


def metric(client: TestClient, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = (s for family in families for s in family.samples if s.name == name)
    return sum(s.value for s in found if labels.items() <= s.labels.items())


def test_it_answers_as_the_command_does(town: Town, client: TestClient) -> None:
    from datetime import datetime

    at, wish = datetime.fromisoformat(AT), RecommendOptions(k=15, lat=40, lon=-40)
    wanted = recommend(town.root, "city", "u00", at, options=wish, load=town.load)
    said = ask(client, user_id="u00", request_time=AT, k=15, lat=40, lon=-40)
    assert ids(said) == [item.id for item in wanted.items]
    for found, item in zip(said["items"], wanted.items, strict=True):
        assert found["reason"] == item.reason
        assert (found["lat"], found["distance_km"]) == (item.lat, item.distance_km)
        assert found["probability"] == pytest.approx(item.probability, 1e-9)
    assert (said["n_history"], said["version"], said["policy"]) == (3, "1", "greedy")


def test_an_event_counts_at_once_and_once(client: TestClient) -> None:
    first = ask(client, user_id="u00", request_time=AT)
    assert client.post("/events", json=event("a", "i09")).json()["n_new"] == 1
    then = ask(client, user_id="u00", request_time=AT)
    assert (first["n_history"], then["n_history"]) == (3, 4)
    assert ids(then)[0] == "i09" != ids(first)[0]
    assert client.post("/events", json=[event("a", "i09"), event("b", "i09")]).json()["n_new"] == 1
    assert (
        ask(client, user_id="u00", request_time=AT)["n_history"] == 4
    )  # another key, the same event


def test_an_event_the_lake_has_already_counts_once(client: TestClient) -> None:
    told = event("a", "i02", at="2020-09-13T12:26:40Z") | {"event_type": "visit"}
    client.post("/events", json=told)
    assert ask(client, user_id="u00", request_time=AT)["n_history"] == 3


def test_what_was_posted_right_now_counts_now(client: TestClient) -> None:
    from datetime import UTC, datetime

    before = ask(client, user_id="new")
    client.post("/events", json=event("a", "i09", "new", datetime.now(UTC).isoformat()))
    after = ask(client, user_id="new")
    assert (before["n_history"], after["n_history"], ids(after)[0]) == (0, 1, "i09")


def test_events_survive_a_restart(town: Town) -> None:
    with LocalClient(town.app()) as client:
        client.post("/events", json=event("a", "i09"))
    with LocalClient(town.app()) as client:
        assert ask(client, user_id="u00", request_time=AT)["n_history"] == 4


def test_what_is_kept_is_in_utc_whatever_the_clock(client: TestClient) -> None:
    client.post("/events", json=event("a", "i09", at="2020-09-13T19:00+02:00") | {"value": 2.5})
    log = client.app.state.service.interaction_log  # type: ignore[attr-defined]
    (stored,) = log.read(0, 10, "event")
    assert stored.payload == {
        "user_id": "u00",
        "item_id": "i09",
        "occurred_at": "2020-09-13T17:00:00Z",
        "utc_offset_min": 0,
        "value": 2.5,
        "context": {},
    }


def test_another_process_tells_it(town: Town) -> None:
    with LocalClient(town.app(poll_s=0.05)) as client, LocalClient(town.app()) as other:
        other.post("/events", json=event("a", "i09"))
        for _ in range(200):
            if ask(client, user_id="u00", request_time=AT)["n_history"] == 4:
                return
        pytest.fail("the event was never seen")


def test_a_history_that_is_sent_answers_as_the_users_own(client: TestClient) -> None:
    own = ask(client, "/predict", user_id="u00", request_time=AT, k=15)
    kept = ("item_id", "occurred_at", "utc_offset_min")
    history = [{name: row[name] for name in kept} for row in own["history"]]
    sent = ask(client, "/predict", history=history[::-1], request_time=AT, k=15)
    assert (sent["items"], sent["time_forecast"], sent["history"]) == (
        own["items"],
        own["time_forecast"],
        own["history"],
    )


def test_unknown_items_are_skipped_and_counted(client: TestClient) -> None:
    wanted = ask(client, user_id="u00", request_time=AT, k=15)
    assert client.post("/events", json=event("a", "never seen")).json()["n_unknown_items"] == 1
    said = ask(client, user_id="u00", request_time=AT, k=15)
    assert said["items"] == wanted["items"]
    assert (said["n_history"], said["n_unknown_items"]) == (4, 1)
    assert metric(client, "chronotope_unknown_items_total") == 1


def test_a_stranger_is_answered_from_an_empty_history(client: TestClient) -> None:
    said = ask(client, user_id="nobody", request_time=AT, k=15)
    assert ids(said) == sorted(ids(said))  # the order of the graph's base scores
    assert "cold-start user" in said["notes"][0]
    assert metric(client, "chronotope_cold_start_requests_total") == 1


def test_filters(client: TestClient) -> None:
    assert {"i01", "i02"}.isdisjoint(
        ids(ask(client, user_id="u00", request_time=AT, exclude_seen=True))
    )
    near = ask(client, user_id="u00", request_time=AT, lat=40, lon=-40, within_km=3)
    assert sorted(ids(near)) == ["i00", "i01", "i02"]
    none = ask(client, user_id="u00", request_time=AT, lat=-80, lon=0, within_km=1)
    assert (none["items"], len(none["notes"])) == ([], 1)
    wrong = client.post("/recommend", json={"user_id": "u00", "category": "cakes"})
    assert (wrong.status_code, wrong.json()["received"]) == (422, "cakes")


def test_the_place_of_the_request_reaches_the_graph(client: TestClient) -> None:
    away = ask(client, user_id="nobody", request_time=AT)
    there = ask(client, user_id="nobody", request_time=AT, place_id="i14")
    assert (ids(away)[0], ids(there)[0]) == ("i00", "i14")


def test_the_interval_lies_between_the_levels_of_the_last_monitoring(town: Town) -> None:
    workspace, query = Workspace(town.root), {"user_id": "u00", "request_time": AT}
    with LocalClient(town.app()) as client:
        nominal = ask(client, "/predict", **query)["time_forecast"]
        levels = IntervalLevels(champion="1", low=0.02, high=0.98)
        write_interval_levels(workspace, "city", levels)
        wide = ask(client, "/predict", **query)["time_forecast"]
        write_interval_levels(workspace, "city", levels.model_copy(update={"champion": "2"}))
        other = ask(client, "/predict", **query)["time_forecast"]
    assert wide["low_h"] < nominal["low_h"] < nominal["high_h"] < wide["high_h"]
    assert wide["median_h"] == nominal["median_h"]
    assert other == nominal


def test_what_when_and_where(client: TestClient) -> None:
    said = ask(client, "/predict", user_id="u00", request_time=AT, k=3, n_places=2, n_history=2)
    when, curve = said["time_forecast"], said["time_forecast"]["curve"]
    assert when["low_h"] < when["median_h"] < when["high_h"]
    hours, density = (np.array([point[n] for point in curve]) for n in ("hours", "density"))
    mass = np.sum((density[1:] + density[:-1]) / 2 * np.diff(hours))
    assert mass == pytest.approx(0.98, abs=0.01)  # between the quantiles .01 and .99
    assert [row["item_id"] for row in said["history"]] == ["i01", "i02"]
    assert [place["id"] for place in said["place_forecasts"]] == ["i02", "i01"]
    assert said["place_forecasts"][0]["lat"] == pytest.approx(40.02)


def test_explanations_are_what_can_be_counted(client: TestClient) -> None:
    said = client.get(
        "/explain", params={"user_id": "u00", "request_time": AT, "item_id": "i03"}
    ).json()
    (reason,) = said["items"]
    assert (reason["reason"], reason["n_transitions"], reason["n_user_events"]) == (
        "follows i02",
        1,
        0,
    )
    top = client.get("/explain", params={"user_id": "u00", "request_time": AT, "k": 3}).json()[
        "items"
    ]
    assert [row["rank"] for row in top] == [1, 2, 3]
    unknown = client.get("/explain", params={"user_id": "u00", "item_id": "zz"})
    assert (unknown.status_code, unknown.json()["received"]) == (422, "zz")


def test_an_explanation_is_what_the_model_says_without_the_events(client: TestClient) -> None:
    asked = {"user_id": "u00", "request_time": AT, "item_id": "i02", "k": 1}
    (explained,) = client.get("/explain", params=asked).json()["items"]
    past = ask(client, "/predict", user_id="u00", request_time=AT, n_history=50)["history"]
    removed = explained["counterfactual"]["events"]
    assert explained["rank"] == 1 < explained["counterfactual"]["rank"]
    assert f"Without {'this' if len(removed) == 1 else 'these'}" in explained["why"]
    names = ("item_id", "occurred_at", "utc_offset_min")
    kept = [{name: event[name] for name in names} for event in past if event not in removed]
    assert len(kept) == len(past) - len(removed)
    asked_again = {"history": kept, "request_time": AT, "k": 6}
    listed = ask(client, "/predict", **asked_again)["items"]
    found = {item["id"]: (rank, item["probability"]) for rank, item in enumerate(listed, 1)}
    said = explained["counterfactual"]
    assert found["i02"] == (said["rank"], pytest.approx(said["probability"], rel=1e-4))


def test_somebody_without_a_history_is_told_so(client: TestClient) -> None:
    asked = {"user_id": "nobody", "request_time": AT, "k": 1}
    (explained,) = client.get("/explain", params=asked).json()["items"]
    assert (explained["events"], explained["counterfactual"]) == ([], None)
    assert explained["why"].startswith("There is no history of yours. This item is ")


def answers_found(client: TestClient) -> float:
    return metric(client, "chronotope_cache_lookups_total", cache="responses", result="hit")


def test_equal_questions_are_answered_from_the_cache_until_something_happens(
    client: TestClient,
) -> None:
    one, two = (ask(client, user_id="u00", request_time=AT) for _ in range(2))
    assert (answers_found(client), one["items"]) == (1, two["items"])
    assert one["answer_id"] != two["answer_id"]
    ask(client, user_id="u00", request_time=AT, exclude_seen=True)
    ask(client, user_id="u00", request_time="2020-09-13T18:00:01Z")
    client.post("/events", json=event("a", "i09"))
    assert ids(ask(client, user_id="u00", request_time=AT))[0] == "i09"
    assert answers_found(client) == 1
    found = metric(client, "chronotope_cache_lookups_total", cache="user_states", result="hit")
    assert found == 3  # of four asked before the event


def foretell(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Ids of answers from ``id-first`` on; they are the seeds of what is drawn."""
    ids = (SimpleNamespace(hex=f"id-{n}") for n in count(first))
    monkeypatch.setattr(recommend_endpoint, "uuid4", ids.__next__)


def test_a_random_list_says_how_likely_it_was(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    foretell(monkeypatch, 0)
    said = [ask(client, user_id="u00", request_time=AT, k=3, epsilon=0.5) for _ in range(60)]
    greedy = ids(ask(client, user_id="u00", request_time=AT, k=3))
    first = [(ids(one)[0], one["propensities"][0]) for one in said]
    assert {p for i, p in first if i == greedy[0]} == {0.5 + 0.5 / 15}
    assert {p for i, p in first if i != greedy[0]} == {0.5 / 15}
    assert np.mean([i == greedy[0] for i, _ in first]) == pytest.approx(0.533, abs=0.25)
    assert answers_found(client) == 0


@pytest.fixture
def impressions(town: Town) -> list[dict[str, Any]]:
    """What was logged of two answers, one for a user and one for a history."""
    with LocalClient(town.app()) as client:
        log = client.app.state.service.interaction_log  # type: ignore[attr-defined]
        said = [
            ask(client, user_id="u00", request_time=AT, k=2, epsilon=1.0),
            ask(client, history=[], request_time=AT),
        ]
        client.app.state.service.impression_writer.stop()  # type: ignore[attr-defined]
        stored = log.read(0, 10, "impression")
    assert [one.key for one in stored] == [one["answer_id"] for one in said]
    return [one.payload for one in stored]


def test_what_was_shown_is_logged(impressions: list[dict[str, Any]]) -> None:
    first, second = impressions
    assert (first["user_id"], first["version"], first["policy"]) == ("u00", "1", "epsilon 1 of 15")
    assert first["propensities"] == [pytest.approx(1 / 15)] * 2
    assert len(first["items"]) == len(first["probabilities"]) == 2
    assert (second["user_id"], second["policy"]) == (None, "greedy")


def test_tail_exposure_changes_the_order_and_no_probability(client: TestClient) -> None:
    plain, none, more = (
        ask(client, user_id="u00", request_time=AT, k=15, **strength)
        for strength in ({}, {"tail_exposure": 0}, {"tail_exposure": 10})
    )
    assert ids(none) == ids(plain)
    assert none["policy"] == "greedy"
    assert more["policy"] == "tail 10"
    assert sorted(ids(more)) == sorted(ids(plain))  # the whole catalogue
    assert ids(more) != ids(plain)
    shares = {item["id"]: item["probability"] for item in plain["items"]}
    assert {item["id"]: item["probability"] for item in more["items"]} == shares
    assert (
        client.post("/recommend", json={"user_id": "u00", "tail_exposure": 11}).status_code == 422
    )
