"""The service scores as the offline protocol does: nothing of the moment itself, nothing later."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy.special import softmax

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.export import export_onnx
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at
from chronotope.models.config import ModelConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.serving.town import LocalClient, Town

NEW = 1_590_000_000  # before the lake of the town begins, so that its events never count


def shifted(log: EventLog, n: int) -> EventLog:
    """Some users' events, some of them at one instant, before anything in the lake."""
    rows = np.flatnonzero(log.user_idx > 9)[:n]
    seconds = NEW + (log.occurred_s[rows] - log.occurred_s.min()) // 7200 * 3600
    return EventLog.sorted(
        user_idx=log.user_idx[rows],
        item_idx=log.item_idx[rows],
        occurred_s=seconds,
        place_idx=log.item_idx[rows],
        utc_offset_min=np.where(rows % 2, 60, -300),
    )


def instant(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def post(client: TestClient, log: EventLog, rows: Any) -> None:
    words = sample_catalog()
    for row in rows:
        event = {
            "kind": "event",
            "key": f"k{row}",
            "user_id": words.users.name(int(log.user_idx[row])),
            "item_id": words.items.name(int(log.item_idx[row])),
            "occurred_at": instant(int(log.occurred_s[row])),
            "utc_offset_min": int(log.utc_offset_min[row]),
        }
        assert client.post("/events", json=event).json()["n_new"] == 1


def served(client: TestClient, log: EventLog, row: int) -> np.ndarray:
    words = sample_catalog()
    asked = {
        "user_id": words.users.name(int(log.user_idx[row])),
        "request_time": instant(int(log.occurred_s[row])),
        "utc_offset_min": int(log.utc_offset_min[row]),
        "k": 1000,
    }
    items = client.post("/recommend", json=asked).json()["items"]
    found = np.zeros(words.items.size)
    found[words.items.index([item["id"] for item in items])] = [i["probability"] for i in items]
    return found[1:]


def replay(client: TestClient, model: OnnxRecommender, log: EventLog) -> None:
    """Event by event: ask as of its moment, then tell it, then ask as of the past again."""
    rows = np.lexsort((np.arange(len(log)), log.occurred_s))
    for row in rows:
        queries = queries_at(log, np.array([row]), history_len=None, time_given=True)
        offline = softmax(model.scores(queries)[0, 1:].astype(np.float64))
        before = served(client, log, row)
        post(client, log, [row])
        after = served(client, log, row)  # the event of the moment itself does not count
        np.testing.assert_allclose(before, offline, rtol=1e-4)
        np.testing.assert_allclose(after, before, rtol=1e-6)


def test_replayed_events_score_as_offline(town: Town, client: TestClient) -> None:
    log = shifted(sample_log(), 60)
    assert (log.basket_start() != np.arange(len(log))).any()
    replay(client, town.load(town.root, "city").model, log)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_trained_model_scores_as_offline(tmp_path: Path) -> None:
    town = Town.build(tmp_path)
    folder = tmp_path / "versions" / "2"
    folder.mkdir()
    config = ModelConfig(history_len=16, backbone_len=4, d_model=8)
    training = TrainingConfig(max_epochs=1, n_rounds=2)
    model = ChronotopeRecommender(config, training).fit(sample_log(), sample_catalog())
    export_onnx(model.net, model.priors, folder / MODEL)
    about = {"name": "chronotope", "dataset": "city", "data_version": "1", "history_len": 16}
    write_bundle(folder, sample_catalog(), trained_until_s=NEW, **about)
    town.version = "2"
    with LocalClient(town.app(poll_s=3600)) as client:
        replay(client, OnnxRecommender.load(folder), shifted(sample_log(), 60))
