"""Services and workers on separate roots are one system: Postgres, S3 and Redis are all they share.

Events are posted to two services, one of which is killed; of two workers that collect at once, the
one that holds the lock is killed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from chronotope.audit import AuditTrail
from chronotope.erasure import forget_users, read_certificates
from chronotope.feedback.intake import watermark_path
from chronotope.feedback.watermark import read_watermark
from chronotope.lake import InteractionLog
from chronotope.registry.champion import journal_champion_version
from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.runtime.store_urls import (
    ARTIFACTS_URL,
    LAKE_URL,
    MLFLOW_URL,
    OPTUNA_URL,
    STATE_URL,
)
from chronotope.runtime.workspace import Workspace
from flows.watch_interactions import n_waiting
from tests.flows.feedback_town import YAML, Town
from tests.postgres import Postgres
from tests.s3 import BUCKET, S3, SECRET, running_s3
from tests.serving.redis_server import running_redis
from tests.serving.test_process import COMMAND, Server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

AT = "2026-01-01T00:00:00Z"
BATCH = 20
PATIENCE_S = 120


@dataclass(frozen=True)
class Stores:
    """What every machine is told, and secrets that none may tell."""

    environment: dict[str, str]
    s3: S3
    secrets: tuple[str, ...]


@pytest.fixture
def stores(state_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    with running_s3() as server:
        environment = {
            **server.environment,
            LAKE_URL: f"s3://{BUCKET}/lakes",
            ARTIFACTS_URL: f"s3://{BUCKET}/artifacts",
            STATE_URL: state_server.url("separate_state"),
            MLFLOW_URL: state_server.url("separate_mlflow"),
            OPTUNA_URL: state_server.url("separate_optuna"),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Stores(environment, server, (SECRET, state_server.password))


def test_two_services_and_two_workers_share_no_folder(stores: Stores, tmp_path: Path) -> None:
    town = Town(tmp_path / "worker").settle()
    promote_anyway(town, town.train().promotion)
    n_before = len(town.lake.read("events"))
    news = [{"key": f"k{n}", "kind": "event", **row} for n, row in enumerate(town.later()[:400])]
    with running_redis(tmp_path) as redis, (tmp_path / "services").open("w+") as output:
        first, second = (serve(tmp_path / name, redis.url, output) for name in ("a", "b"))
        try:
            user_id = news[0]["user_id"]
            answers = [recommend(server, user_id) for server in (first, second)]
            assert answers[0]["items"] == answers[1]["items"]
            assert {answer["version"] for answer in answers} == {"1"}
            assert first.post("/events", news[:BATCH])["n_new"] == BATCH
            assert second.post("/events", news[:BATCH])["n_new"] == 0
            histories = {recommend(server, user_id)["n_history"] for server in (first, second)}
            assert len(histories) == 1
            assert min(histories) > answers[0]["n_history"]
            post_while_killed(news[BATCH:], first, second)
            assert n_logged(tmp_path / "watcher") == len(news)
            assert n_waiting("town", tmp_path / "watcher") == len(news)
            collected = collect_with_a_kill(town, tmp_path / "other")
            intakes = [result["intake"] for result in collected]
            # what the killed one had committed is a duplicate of the delivery that is repeated
            assert sum(of["n_new"] + of["n_duplicates"] for of in intakes) == len(news)
            assert sorted(of["n_read"] for of in intakes) == [0, len(news)]
            retrained = [result for result in collected if result["promotion"] is not None]
            actions = [result["decision"]["action"] for result in collected]
            assert (len(retrained), actions.count("nothing")) == (1, 1)
            assert n_waiting("town", tmp_path / "watcher") == 0
            promote_anyway(town, retrained[0]["promotion"])
            second = serve(tmp_path / "b", redis.url, output)
            for server in (first, second):
                wait_for_version(server, user_id, "2")
        finally:
            for server in (first, second):
                server.kill(signal.SIGTERM)
        output.seek(0)
        told = output.read()
    stored = town.lake.read("events")
    assert len(stored) == len(set(stored["event_id"].to_pylist())) == n_before + len(news)
    assert journal_champion_version(tmp_path / "watcher", "town") == "2"
    assert any("town/events/_delta_log" in key for key in stores.s3.keys("lakes"))
    assert any(key.endswith("model.onnx") for key in stores.s3.keys("artifacts"))
    assert not [secret for secret in stores.secrets if secret in told]
    forget_users(tmp_path / "worker", "town", [user_id])
    checks = set()
    for name in ("a", "b", "other", "worker", "watcher"):
        assert not shared_files(tmp_path / name), name
        checks.add(AuditTrail(Workspace(tmp_path / name).audit()).verify())
        assert len(read_certificates(tmp_path / name, "town")) == 1
    (check,) = checks  # one chain, whichever root made the entry
    assert (check.n_entries >= 3, check.problem) == (True, "")


def serve(root: Path, store: str, output: Any) -> Server:
    root.mkdir(exist_ok=True)
    return Server(root, "--store", store, dataset="town", stderr=output, cwd=root)


def recommend(server: Server, user_id: str) -> Any:
    return server.post("/recommend", {"user_id": user_id, "request_time": AT})


def post_while_killed(news: Sequence[dict[str, Any]], first: Server, second: Server) -> None:
    """Post to both in turn; what the second does not acknowledge goes to the first.

    The second is killed after a third of its batches.
    """
    batches = [news[start : start + BATCH] for start in range(0, len(news), BATCH)]
    n_new = 0
    killer = threading.Timer(0.0, second.kill, args=(signal.SIGKILL,))
    for number, batch in enumerate(batches):
        if number == len(batches) // 3:
            killer.start()
        receipt = None
        if number % 2:
            with suppress(OSError, URLError):
                receipt = second.post("/events", batch)
        receipt = receipt or first.post("/events", batch)
        n_new += receipt["n_new"]
    killer.join()
    assert second.process.returncode == -signal.SIGKILL
    # a batch that was stored and whose acknowledgement the kill cut off counts as old later
    assert len(news) - BATCH <= n_new <= len(news)


def n_logged(root: Path) -> int:
    root.mkdir(exist_ok=True)
    with closing(InteractionLog(Town(root).workspace.interactions("town"))) as log:
        keys = [record.key for record in log.read(0, 10_000, "event")]
    assert len(keys) == len(set(keys))
    return len(keys)


def collect_with_a_kill(town: Town, other_root: Path) -> list[dict[str, Any]]:
    """Results of `chronotope feedback` on two roots, after one that was killed in its intake."""
    other_root.mkdir()
    (other_root / "town.yaml").write_text(YAML.format(folder=other_root), encoding="utf-8")
    killed = start_feedback(town.root)
    end = time.monotonic() + PATIENCE_S
    while read_watermark(watermark_path(town.workspace, "town")).upto == 0:
        assert killed.poll() is None
        assert time.monotonic() < end, "the intake never began"
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    processes = [start_feedback(root) for root in (town.root, other_root)]
    results = []
    for process in processes:
        output, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
        results.append(json.loads(output))
    return results


def start_feedback(root: Path) -> "subprocess.Popen[str]":
    told = ["feedback", str(root / "town.yaml"), "--root", str(root), "--force", "--json"]
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", COMMAND, *told, "--min-rows", "100"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: text for name, text in os.environ.items() if name != "PREFECT_API_URL"},
        cwd=root,
    )


def promote_anyway(town: Town, promotion: Any) -> None:
    """Whatever the gate says of so small a model, it is the champion."""
    told = promotion if isinstance(promotion, dict) else promotion.model_dump()
    if not told["promoted"]:
        promote_by_hand(town.root, "town", told["version"], "the test needs one")


def wait_for_version(server: Server, user_id: str, version: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while recommend(server, user_id)["version"] != version:
        assert time.monotonic() < end, f"version {version} never served"
        time.sleep(0.1)


def shared_files(root: Path) -> list[str]:
    """Files that only a shared folder could bring to other machines."""
    names = ("*.db", "*.lock", "watermark.json", "trail.jsonl", "_delta_log")
    return [str(path) for name in names for path in root.rglob(name)]
