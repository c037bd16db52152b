"""A service without a model answers from the last batch scoring, and says so."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chronotope.artifact.bundle import MODEL
from chronotope.registry.champion import load_champion
from chronotope.scoring.score_users import score_users
from tests.inference.hand_made import LAST_S, fill_lake, register_twice
from tests.scoring.crowd import build_town, config
from tests.serving.test_process import Server
from tests.serving.town import LocalClient, Town

AT = datetime.fromtimestamp(LAST_S + 3600, UTC)
SOURCE = f"stored predictions of {AT:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return build_town(tmp_path)


def ask(client: TestClient, path: str = "/recommend", **fields: object) -> Any:
    response = client.post(path, json={"request_time": AT.isoformat(), **fields})
    assert response.status_code == 200, response.text
    return response.json()


def damage(town: Town) -> None:
    path = town.root / "versions" / "1" / MODEL
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def answers(town: Town) -> dict[str, Any]:
    """Answers of the model, by path; afterwards the predictions are stored and the model broken."""
    with LocalClient(town.app(poll_s=3600)) as client:
        of_model = {"/recommend": ask(client, user_id="v01")}
        of_model["/predict"] = ask(client, "/predict", user_id="u00")  # with a time forecast
    score_users("city", config(town.root, k=10, scored_at=AT), load=town.load)
    damage(town)
    return of_model


@pytest.fixture
def client(answers: dict[str, Any], town: Town) -> Iterator[TestClient]:
    with LocalClient(town.app(poll_s=3600, retry_s=0.01)) as opened:
        yield opened


def test_the_stored_list_is_that_of_the_model(client: TestClient, answers: dict[str, Any]) -> None:
    stored, of_model = ask(client, user_id="v01"), answers["/recommend"]
    assert (stored["source"], of_model["source"]) == (SOURCE, "model")
    assert (stored["policy"], stored["explored"]) == ("stored", False)
    for name in ("version", "dataset", "user_id", "n_history", "n_unknown_items", "request_time"):
        assert stored[name] == of_model[name]
    for item, expected in zip(stored["items"], of_model["items"], strict=True):
        assert item == expected | {"probability": pytest.approx(expected["probability"], rel=1e-5)}
    assert any("No model can be loaded" in note for note in stored["notes"])


def test_time_and_items_of_the_prediction(client: TestClient, answers: dict[str, Any]) -> None:
    of_model = answers["/predict"]
    stored = ask(client, "/predict", user_id="u00")
    assert stored["source"] == SOURCE
    ids = [item["id"] for item in of_model["items"]]
    assert [item["id"] for item in stored["items"]] == ids
    for name in ("median_h", "low_h", "high_h"):
        expected = of_model["time_forecast"][name]
        assert stored["time_forecast"][name] == pytest.approx(expected, rel=1e-5)
    later = (AT + timedelta(hours=1)).isoformat()
    shifted = ask(client, "/predict", user_id="u00", request_time=later)["time_forecast"]
    assert shifted["high_h"] == pytest.approx(of_model["time_forecast"]["high_h"] - 1, rel=1e-5)
    long_after = (AT + timedelta(days=3650)).isoformat()
    passed = ask(client, "/predict", user_id="u00", request_time=long_after)
    assert passed["time_forecast"] is None


def test_health_and_readiness_say_so(client: TestClient) -> None:
    for path, status in (("/health", "running"), ("/ready", "degraded")):
        state = client.get(path).json()
        assert (state["status"], state["source"], state["version"]) == (status, SOURCE, None)
        assert "cannot be loaded" in state["problem"]


def test_filters_apply_to_the_stored_list(client: TestClient) -> None:
    whole = ask(client, user_id="v01")["items"]
    of_kind = ask(client, user_id="v01", category="b", k=3)
    assert [i["id"] for i in of_kind["items"]] == [i["id"] for i in whole if i["category"] == "b"][
        :3
    ]
    new = ask(client, user_id="v01", exclude_seen=True)
    assert [i["id"] for i in new["items"]] == [
        i["id"] for i in whole if not i["reason"].startswith("you had it")
    ]
    assert any("stored list only" in note for note in new["notes"])
    near = ask(client, user_id="v01", lat=40.0, lon=-40.0, within_km=8.0)["items"]
    assert all(item["distance_km"] <= 8 for item in near)


def test_who_has_no_stored_list_is_told(client: TestClient) -> None:
    for fields in ({"user_id": "nobody"}, {"history": []}):
        response = client.post("/recommend", json=fields)
        assert response.status_code == 503
        assert "no stored predictions for this user" in response.json()["detail"]
    assert client.get("/explain", params={"user_id": "v01"}).status_code == 503


def test_shown_lists_are_logged(client: TestClient) -> None:
    shown = ask(client, user_id="v01", k=3)
    service = client.app.state.service  # type: ignore[attr-defined]
    service.impression_writer.stop()
    *_, logged = service.interaction_log.read(0, 10, "impression")
    assert logged.payload["answer_id"] == shown["answer_id"]
    assert (logged.payload["policy"], logged.payload["version"]) == ("stored", "1")


def test_the_model_answers_again_once_it_is_repaired(client: TestClient, town: Town) -> None:
    shutil.rmtree(town.root / "versions" / "1")
    town.add("1")
    client.app.state.service.watcher.poll()  # type: ignore[attr-defined]
    assert ask(client, user_id="v01")["source"] == "model"
    assert client.get("/ready").json()["status"] == "ready"


def test_a_newer_scoring_is_served_after_the_next_poll(
    client: TestClient, town: Town, tmp_path: Path
) -> None:
    users = tmp_path / "users.txt"
    users.write_text("v01\n")
    later = AT + timedelta(days=1)
    broken, town.version = town.version, "2"
    town.add("2", boost=1.0)
    score_users("city", config(town.root, scored_at=later, users_file=users), load=town.load)
    town.version = broken
    client.app.state.service.watcher.try_poll()  # type: ignore[attr-defined]
    stored = ask(client, user_id="v01", request_time=later.isoformat())
    assert (stored["version"], len(stored["items"])) == ("2", 5)
    assert ask(client, user_id="v02")["source"] == SOURCE


def test_without_predictions_there_is_no_answer(town: Town) -> None:
    damage(town)
    with LocalClient(town.app(poll_s=3600)) as client:
        assert client.post("/recommend", json={"user_id": "v01"}).status_code == 503
        assert client.get("/ready").status_code == 503
        assert client.get("/health").json()["source"] is None


def test_a_damaged_table_is_no_answer_and_no_crash(answers: dict[str, Any], town: Town) -> None:
    for path in (town.root / "data" / "lake" / "city" / "predictions").rglob("*.json"):
        path.write_text("damaged")
    with LocalClient(town.app(poll_s=3600)) as client:
        assert client.post("/recommend", json={"user_id": "v01"}).status_code == 503
        assert client.get("/health").json()["source"] is None


@pytest.mark.slow
@pytest.mark.parametrize("is_missing", [False, True])
def test_a_real_service_answers_without_its_bundle(tmp_path: Path, *, is_missing: bool) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    score_users("city", config(tmp_path, k=3, scored_at=AT))
    folder = load_champion(tmp_path, "city").folder
    assert folder is not None
    if is_missing:
        shutil.rmtree(folder)
    else:
        (folder / MODEL).write_bytes(b"damaged")
    server = Server(tmp_path)
    try:
        state = server.get("/health")
        assert (state["source"], state["version"]) == (SOURCE, None)
        shown = server.post("/recommend", {"user_id": "u00", "k": 2})
        assert shown["source"] == SOURCE
        assert [item["id"] for item in shown["items"]] == ["i00", "i01"]
        assert server.post("/predict", {"user_id": "u01"})["source"] == SOURCE
    finally:
        server.kill(15)
