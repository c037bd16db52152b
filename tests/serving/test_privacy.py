"""A service over pseudonyms: callers use their ids, and nothing else knows them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chronotope.contracts.errors import ConfigError
from chronotope.lake import Lake
from chronotope.lake.privacy import add_to_user_list, read_stored_users, record_privacy
from chronotope.lake.table_schemas import ERASED_USERS
from chronotope.privacy import PrivacySettings, PseudonymKeys, PseudonymSettings, is_pseudonym
from chronotope.runtime.workspace import Workspace
from tests.serving.test_answers import AT, ask, event, ids
from tests.serving.town import LocalClient, Town

KEY = "k" * 32
VARIABLE = PseudonymSettings().variable
SETTINGS = PrivacySettings(pseudonyms=PseudonymSettings(), h3_resolution=5, time_resolution_min=60)


@pytest.fixture
def private_town(town: Town, monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setenv(VARIABLE, KEY)
    lake = Lake(Workspace(town.root).lake("city"))
    rows = lake.read("events")
    shutil.rmtree(Path(lake.address("events")))
    record_privacy(lake, SETTINGS, "city")
    pseudonyms = PseudonymKeys.of([KEY.encode()]).pseudonyms(rows["user_id"])
    lake.merge_events(rows.set_column(rows.column_names.index("user_id"), "user_id", pseudonyms))
    return town


@pytest.fixture
def private_client(private_town: Town) -> Iterator[TestClient]:
    with LocalClient(private_town.app(poll_s=3600)) as opened:
        yield opened


def logged(client: TestClient) -> list[dict[str, Any]]:
    """All records, once the queue of impressions is written."""
    service = client.app.state.service  # type: ignore[attr-defined]
    service.impression_writer.stop()
    return [record.payload for record in service.interaction_log.read(0, 100)]


def test_a_caller_uses_its_own_ids(private_client: TestClient) -> None:
    first = ask(private_client, user_id="u00", request_time=AT)
    assert (first["user_id"], first["n_history"]) == ("u00", 3)
    posted = event("a", "i09") | {"lat": 48.2082, "lon": 16.3738}
    assert private_client.post("/events", json=posted).json()["n_new"] == 1
    then = ask(private_client, user_id="u00", request_time=AT, lat=48.2082, lon=16.3738)
    assert (then["n_history"], ids(then)[0]) == (4, "i09")
    explained = private_client.get("/explain", params={"user_id": "u00", "request_time": AT})
    assert (explained.json()["user_id"], explained.json()["n_history"]) == ("u00", 4)
    records = logged(private_client)
    assert len(records) == 3
    assert all(is_pseudonym(record["user_id"]) for record in records)
    assert not {"48.2082", "16.3738", "u00"} & {*str(records).split()}
    assert "48.2082" not in str(records)
    stored_event = next(record for record in records if "occurred_at" in record)
    assert stored_event["occurred_at"].endswith(":00:00Z")


def test_who_opts_out_is_served_and_not_logged(private_client: TestClient) -> None:
    choice = {"user_id": "u00", "opted_out": True}
    reply = private_client.post("/consent", json=choice)
    assert reply.json() == {"opted_out": True, "is_changed": True}
    assert private_client.post("/consent", json=choice).json()["is_changed"] is False
    answer = ask(private_client, user_id="u00", request_time=AT)
    assert (answer["user_id"], answer["n_history"]) == ("u00", 0)
    assert answer["items"] == ask(private_client, user_id="nobody", request_time=AT)["items"]
    receipt = private_client.post("/events", json=[event("a", "i09"), event("b", "i08", "u01")])
    assert receipt.json()["n_new"] == receipt.json()["n_not_stored"] == 1
    users = read_stored_users(Lake(Workspace(_root(private_client)).lake("city")), "city")
    opted_out = users.stored_id("u00")
    assert opted_out not in {record["user_id"] for record in logged(private_client)}
    private_client.post("/consent", json=choice | {"opted_out": False})
    assert ask(private_client, user_id="u00", request_time=AT)["n_history"] == 3


def test_an_erased_user_is_dropped_at_the_next_poll(private_client: TestClient) -> None:
    private_client.post("/events", json=event("a", "i09"))
    assert ask(private_client, user_id="u00", request_time=AT)["n_history"] == 4
    service = private_client.app.state.service  # type: ignore[attr-defined]
    stored_id = service.served_users.users.stored_id("u00")
    add_to_user_list(Lake(Workspace(_root(private_client)).lake("city")), ERASED_USERS, [stored_id])
    service.watcher.try_poll()
    assert service.inference_service.live_state.n_events == 0
    assert ask(private_client, user_id="u00", request_time=AT)["n_history"] == 0


def test_other_keys_are_no_start(private_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "z" * 32)
    with pytest.raises(ConfigError, match="not those of its lake"):
        private_town.app()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match="is missing"):
        private_town.app()


def _root(client: TestClient) -> Path:
    root: Path = client.app.state.service.settings.root  # type: ignore[attr-defined]
    return root
