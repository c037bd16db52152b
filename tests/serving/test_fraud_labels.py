"""Events that a label calls fraud are nobody's history, in memory and in the lake."""

from typing import Any

from fastapi.testclient import TestClient

from tests.serving.test_answers import AT, ask, event
from tests.serving.test_shared import workers
from tests.serving.town import Town


def n_history(client: TestClient) -> int:
    n_events: int = ask(client, user_id="u00", request_time=AT)["n_history"]
    return n_events


def label(client: TestClient, **name: Any) -> None:
    assert client.post("/labels", json=name).status_code == 200


def poll(client: TestClient) -> None:
    client.app.state.service.watcher.try_poll()  # type: ignore[attr-defined]


def test_a_posted_event_stops_counting_at_once(client: TestClient) -> None:
    client.post("/events", json=[event("a", "i09"), event("b", "i08")])
    assert n_history(client) == 5
    label(client, key="a", label="fraud")
    assert n_history(client) == 4
    label(client, key="a", label="genuine")
    assert n_history(client) == 5


def test_other_workers_follow_within_a_poll(town: Town) -> None:
    with workers(town) as (one, other):
        other.post("/events", json=event("a", "i09"))
        assert n_history(one) == n_history(other) == 4
        label(one, key="a", label="fraud")
        assert (n_history(one), n_history(other)) == (3, 4)
        poll(other)
        assert n_history(other) == 3


def test_an_event_of_the_lake_stops_counting_at_the_next_poll(client: TestClient) -> None:
    assert n_history(client) == 3
    label(client, event_id="e0", label="fraud")
    poll(client)
    assert n_history(client) == 2
    label(client, event_id="e0", label="genuine")
    poll(client)
    assert n_history(client) == 3


def test_an_event_that_is_labelled_before_it_comes_never_counts(client: TestClient) -> None:
    label(client, key="a", label="fraud")
    client.post("/events", json=event("a", "i09"))
    assert n_history(client) == 3
