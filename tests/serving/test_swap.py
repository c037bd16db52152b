"""A new champion takes over between two answers; a bad one never does."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastapi.testclient import TestClient

from chronotope.artifact.bundle import CATALOG, MANIFEST, MODEL
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.bundle_check import BundleCheck
from tests.damage import flipped
from tests.inference.hand_made import fill_lake
from tests.serving.test_answers import AT, ask, event, ids, metric
from tests.serving.town import LocalClient, Town

NINE = {"user_id": "nobody", "request_time": AT, "k": 1}


def look(client: TestClient) -> bool:
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    return bool(service.watcher.poll())


def test_a_promoted_version_answers_the_next_question(town: Town, client: TestClient) -> None:
    before = ask(client, user_id="nobody", request_time=AT, k=15)
    town.add("2", boost=-1.0)
    town.version = "2"
    assert look(client)
    after = ask(client, user_id="nobody", request_time=AT, k=15)
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
        assert ask(client, user_id="u00", request_time=AT)["version"] == "1"
    assert metric(client, "chronotope_swaps_total", result="failed") == 3
    assert not look(client)  # not tried again at every look
    assert metric(client, "chronotope_swaps_total", result="failed") == 3


def test_without_a_champion_it_is_not_ready_until_there_is_one(town: Town) -> None:
    town.version = None
    with LocalClient(town.app(poll_s=3600)) as client:
        assert client.get("/health").json()["version"] is None
        assert client.get("/ready").status_code == 503
        refused = client.post("/recommend", json=NINE)
        assert (refused.status_code, "Train a model" in refused.json()["hint"]) == (503, True)
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
        assert ask(client, user_id="u00", request_time=AT)["n_history"] == 3


def test_new_events_in_the_lake_are_taken_over(town: Town, client: TestClient) -> None:
    instant = pa.array([1_599_998_000 * 1_000_000], pa.timestamp("us", tz="UTC"))
    row = {"event_id": ["n"], "user_id": ["u00"], "item_id": ["i09"], "place_id": ["i09"]}
    row |= {"event_type": ["visit"], "occurred_at": instant}
    assert ask(client, user_id="u00", request_time=AT)["n_history"] == 3
    Lake(Workspace(town.root).lake("city")).merge_events(pa.table(row))
    assert look(client)
    assert ask(client, user_id="u00", request_time=AT)["n_history"] == 4


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


def problem(client: TestClient) -> str | None:
    """What both states tell, the same; it answers all the while."""
    health, ready = client.get("/health"), client.get("/ready")
    assert (health.status_code, ready.status_code) == (200, 200)
    told: str | None = ready.json()["problem"]
    assert health.json()["problem"] == told
    return told


def test_a_champion_that_is_damaged_under_the_service_answers_from_memory(
    town: Town, client: TestClient
) -> None:
    before = ask(client, user_id="u00", request_time=AT, k=15)
    assert not look(client)
    assert problem(client) is None
    folder = town.root / "versions" / "1"
    for name in (MODEL, CATALOG, MANIFEST):
        with flipped(folder / name, (folder / name).stat().st_size // 2):
            assert not look(client)
            told = problem(client) or ""
            assert told.startswith("Version 1 is served from memory: ")
            assert str(town.root) not in told
            assert ids(ask(client, user_id="u00", request_time=AT, k=15)) == ids(before)
        assert not look(client)
        assert problem(client) is None


def test_a_version_that_is_damaged_is_not_taken_over_and_told_of(
    town: Town, client: TestClient
) -> None:
    town.add("2", boost=-1.0)
    town.version, manifest = "2", town.root / "versions" / "2" / MANIFEST
    with flipped(manifest, 30):
        assert not look(client)
        told = problem(client) or ""
        assert told.startswith("Version 2 cannot be loaded: The model bundle")
        assert ask(client, user_id="u00", request_time=AT)["version"] == "1"
    town.version = "1"
    assert not look(client)
    assert problem(client) is None


def test_without_a_champion_the_reason_is_told(town: Town) -> None:
    (town.root / "versions" / "1" / MODEL).write_bytes(b"no graph")
    with LocalClient(town.app(poll_s=3600)) as client:
        refused = client.get("/ready")
        assert refused.status_code == 503
        assert "differ from its manifest" in refused.json()["received"]


def test_all_bytes_are_read_again_after_a_while(town: Town) -> None:
    """A byte that turned without a trace in size and time is found at the next full reading."""
    champion, now = town.load(town.root, "city"), [0.0]
    check = BundleCheck(verify_interval_s=600.0, clock=lambda: now[0])
    assert check.file_problem(champion) is None
    path = town.root / "versions" / "1" / MODEL
    status = path.stat()
    with flipped(path, 50):
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert check.file_problem(champion) is None
        now[0] = 601.0
        assert "differ from its manifest" in str(check.file_problem(champion))


def test_another_lake_under_the_same_path_is_taken_over(town: Town, client: TestClient) -> None:
    """With the same version numbers; what was posted to the log counts over it as well."""
    live: Any = client.app.state.service.inference_service.live_state  # type: ignore[attr-defined]
    client.post("/events", json=event("a", "i05"))
    lake = Lake(Workspace(town.root).lake("city"))
    lake.merge_events(row_of("a", "u00", "i05", "2020-09-13T17:00Z"))
    assert look(client)
    live.drop_ingested(opened(client))
    assert (live.n_events, ask(client, user_id="u00", request_time=AT)["n_history"]) == (0, 4)
    before = opened(client).data_version
    shutil.rmtree(Workspace(town.root).lake("city"))
    fill_lake(town.root)
    lake.merge_events(row_of("b", "u02", "i06", "2020-09-13T17:00Z"))
    assert look(client)
    assert opened(client).data_version.events.number == before.events.number
    live.drop_ingested(opened(client))
    assert (live.n_events, ask(client, user_id="u00", request_time=AT)["n_history"]) == (1, 4)
    assert ask(client, user_id="u02", request_time=AT)["n_history"] == 2


def opened(client: TestClient) -> Any:
    return client.app.state.service.watcher.loaded_champion  # type: ignore[attr-defined]


def row_of(event_id: str, user: str, item: str, at: str) -> pa.Table:
    instant = pa.array([datetime.fromisoformat(at)], pa.timestamp("us", tz="UTC"))
    columns = {"event_id": [event_id], "user_id": [user], "item_id": [item], "place_id": [item]}
    return pa.table({**columns, "event_type": ["event"], "occurred_at": instant})
