"""What an event leaves out is filled as ingestion fills it: it is one event, with one past."""

from pathlib import Path
from typing import Any

import pytest

from chronotope.cli.serve import dataset_defaults
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.live_events import parse_live_events
from tests.serving.test_answers import AT, ask, event
from tests.serving.town import LocalClient, Town

ABOUT = {"name": "cafe", "description": "Guests.", "licence": "ours"}
COLUMNS = {"user_id": "u", "item_id": "i", "occurred_at": "t"}
BARE = {"user_id": "u", "item_id": "tea", "occurred_at": "2025-07-03T07:15:00Z"}
HERE = BARE | {"lat": 48.2, "lon": 16.37}
ZONE, CELLS = {"local_zone": "Europe/Vienna"}, {"cell_resolution": 8}


@pytest.mark.parametrize(
    ("filled", "payload", "wanted"),
    [
        ({}, BARE, ("event", None, None)),
        ({"event_type": "check_in"}, BARE, ("check_in", None, None)),
        (ZONE, BARE, ("event", None, 120)),
        (ZONE, BARE | {"utc_offset_min": 0}, ("event", None, 0)),
        (CELLS, BARE, ("event", None, None)),
        (CELLS, HERE, ("event", "881e15b46dfffff", None)),
        (CELLS, HERE | {"place_id": "bar"}, ("event", "bar", None)),
    ],
)
def test_the_lake_makes_the_same_of_it(
    filled: dict[str, Any], payload: dict[str, Any], wanted: tuple[str, str | None, int | None]
) -> None:
    table = {"format": "csv", "path": "log.csv", "columns": COLUMNS}
    spec = DatasetSpec.model_validate({**ABOUT, "events": table, **filled})
    lake = payloads_to_batch([payload], spec).rows.to_pylist()[0]
    (live,) = parse_live_events([payload], ServeSettings(dataset="cafe", **filled))
    assert (lake["event_type"], lake["place_id"], lake["utc_offset_min"]) == wanted
    assert live[2:] == (*wanted[:2], wanted[2] or 0)


@pytest.mark.parametrize(("default", "n"), [("visit", 3), ("event", 4)])
def test_without_a_type_it_is_the_event_that_the_lake_has(town: Town, default: str, n: int) -> None:
    told = event("a", "i02", at="2020-09-13T12:26:40Z")
    with LocalClient(town.app(poll_s=3600, event_type=default)) as client:
        client.post("/events", json=told)
        assert ask(client, user_id="u00", request_time=AT)["n_history"] == n


def test_the_command_reads_them_in_the_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/datasets").mkdir(parents=True)
    events = "events: {format: csv, path: l, columns: {user_id: u, item_id: i, occurred_at: t}}"
    told = "name: cafe\ndescription: Guests.\nlicence: ours\nlocal_zone: Europe/Vienna\n"
    (tmp_path / "conf/datasets/cafe.yaml").write_text(f"{told}event_type: sip\n{events}\n")
    nothing = {"cell_resolution": None, "pictures": None, "content": None}
    expected = {**ZONE, **nothing, "event_type": "sip"}
    assert dataset_defaults("cafe") == expected
    assert dataset_defaults("city") == {}


def test_impressions_are_passed_once_and_a_cached_past_stands_alone(town: Town) -> None:
    with LocalClient(town.app(poll_s=3600)) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        client.post("/events", json=event("a", "i09"))
        shown = {
            "answer_id": "x",
            "shown_at": AT,
            "items": ["i09"],
            "version": "1",
            "policy": "p",
        }
        client.post("/events", json={"kind": "impression", "key": "x", **shown})
        live, log = service.inference_service.live_state, service.interaction_log
        assert live.log_position == log.last() == 2
        past = live.user_state("u01", service.watcher.loaded_champion).history
        assert len(past) == 2
        assert all(getattr(past, name).base is None for name in ("item_idx", "utc_offset_min"))
