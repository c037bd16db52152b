"""The whole of it on an object store: trained, served, told what users did, learned from."""

import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.runtime.store_urls import ARTIFACTS_URL, LAKE_URL
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from tests.flows.feedback_town import Town
from tests.s3 import BUCKET, SECRET, running_s3
from tests.serving.town import LocalClient

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_the_service_and_its_retraining_live_on_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_s3() as server:
        for name, value in {
            **server.environment,
            LAKE_URL: f"s3://{BUCKET}/lakes",
            ARTIFACTS_URL: f"s3://{BUCKET}/artifacts",
        }.items():
            monkeypatch.setenv(name, value)
        town = Town(tmp_path / "town").settle()
        crown(town, town.train())
        n_before, news = len(town.lake.read("events")), town.later()[:400]
        settings = ServeSettings(dataset="town", root=town.root, poll_s=0.2)
        with LocalClient(create_app(settings)) as client:
            user = news[0]["user_id"]
            first = asked(client, user)
            assert first["version"] == "1"
            assert first["items"]
            posted = [{"key": f"k{n}", "kind": "event", **row} for n, row in enumerate(news)]
            assert client.post("/events", json=posted).status_code == 200
            assert asked(client, user)["n_history"] > first["n_history"]
            found = town.collect(min_rows=100, force=True)
            assert found.intake.n_new == len(news)
            crown(town, found)
            end = time.monotonic() + 60
            while asked(client, user)["version"] == "1" and time.monotonic() < end:
                time.sleep(0.2)
            assert asked(client, user)["version"] == "2"
        assert len(town.lake.read("events")) == n_before + len(news)
        assert any("town/events/_delta_log" in key for key in server.keys("lakes"))
        assert any(key.endswith("model.onnx") for key in server.keys("artifacts"))
    assert not (town.root / "data" / "lake").exists()
    assert SECRET not in caplog.text


def crown(town: Town, found: dict[str, Any]) -> None:
    """Whatever the gate says of so small a model, it is the champion."""
    promoted = found.promotion
    if not promoted.promoted:
        promote_by_hand(town.root, "town", promoted.version, "the test needs one")


def asked(client: TestClient, user: str) -> dict[str, Any]:
    said = client.post("/recommend", json={"user_id": user, "request_time": "2026-01-01T00:00:00Z"})
    assert said.status_code == 200, said.text
    told: dict[str, Any] = said.json()
    return told
