"""A new champion takes over between two answers; a bad one never does."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastapi.testclient import TestClient

from chronotope.artifact.bundle import MODEL
from chronotope.contracts.workspace import Workspace
from chronotope.lake import Lake
from tests.serving.test_answers import AT, ask, ids, metric
from tests.serving.town import LocalClient, Town

NINE = {"user_id": "nobody", "at": AT, "k": 1}


def look(client: TestClient) -> bool:
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    return bool(service.watcher.look())


def test_a_promoted_version_answers_the_next_question(town: Town, client: TestClient) -> None:
    before = ask(client, user_id="nobody", at=AT, k=15)
    town.add("2", boost=-1.0)
    town.version = "2"
    assert look(client)
    after = ask(client, user_id="nobody", at=AT, k=15)
    assert (before["version"], after["version"]) == ("1", "2")
    assert (ids(before)[0], ids(after)[-1]) == ("i00", "i00")
    assert not look(client)


def test_a_corrupt_or_senseless_version_never_answers(town: Town, client: TestClient) -> None:
    for version, graph in (("2", {}), ("3", {"n_items": 9}), ("4", {"boost": float("nan")})):
        town.add(version, **graph)
        town.version = version
        if version == "2":
            (town.root / "versions" / "2" / MODEL).write_bytes(b"no graph")
        assert not look(client)
        assert ask(client, user_id="u00", at=AT)["version"] == "1"
    assert metric(client, "chronotope_swaps_total", result="failed") == 3
    assert not look(client)  # not tried again at every look
    assert metric(client, "chronotope_swaps_total", result="failed") == 3


def test_without_a_champion_it_is_not_ready_until_there_is_one(town: Town) -> None:
    town.version = None
    with LocalClient(town.app(poll_s=3600)) as client:
        assert client.get("/health").json()["version"] is None
        assert client.get("/ready").status_code == 503
        refused = client.post("/recommend", json=NINE)
        assert (refused.status_code, "Train a model" in refused.json()["way_out"]) == (503, True)
        town.version = "1"
        assert look(client)
        assert client.get("/ready").status_code == 200


def test_it_starts_without_a_lake_and_answers_once_there_is_one(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with LocalClient(town.app(poll_s=0.05, retry_s=0.05)) as client:
        assert client.get("/ready").status_code == 503
        Town.build(tmp_path)
        for _ in range(2000):
            if client.get("/ready").status_code == 200:
                break
        assert ask(client, user_id="u00", at=AT)["n_history"] == 3


def test_new_events_in_the_lake_are_taken_over(town: Town, client: TestClient) -> None:
    instant = pa.array([1_599_998_000 * 1_000_000], pa.timestamp("us", tz="UTC"))
    row = {"event_id": ["n"], "user_id": ["u00"], "item_id": ["i09"], "place_id": ["i09"]}
    row |= {"event_type": ["visit"], "occurred_at": instant}
    assert ask(client, user_id="u00", at=AT)["n_history"] == 3
    Lake(Workspace(town.root).lake("city")).merge_events(pa.table(row))
    assert look(client)
    assert ask(client, user_id="u00", at=AT)["n_history"] == 4


def test_no_request_fails_during_ten_swaps_one_of_them_corrupt(town: Town) -> None:
    for n in range(2, 12):
        town.add(str(n), boost=n / 10)
    (town.root / "versions" / "7" / MODEL).write_bytes(b"no graph")
    stop = threading.Event()
    with LocalClient(town.app(poll_s=3600, threads=4)) as client, ThreadPoolExecutor(4) as pool:

        def load(user: int) -> list[str]:
            seen = []
            while not stop.is_set():
                seen.append(ask(client, user_id=f"u{user:02d}", k=3)["version"])
            return seen

        asking = [pool.submit(load, user) for user in range(4)]
        for n in range(2, 12):
            town.version = str(n)
            assert look(client) == (n != 7)
        stop.set()
        seen = [version for one in asking for version in one.result()]
    assert "7" not in seen
    assert len(set(seen)) > 3
