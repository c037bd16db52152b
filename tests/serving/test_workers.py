"""Several processes over one log and one real Redis: two services, and one with two workers."""

import os
import signal
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import fill_lake, register_twice
from tests.serving.redis_server import RedisServer, running_redis
from tests.serving.test_process import AT, Server, event

pytestmark = pytest.mark.slow

PATIENCE_S = 120
LATE = "2020-09-20T00:00Z"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    fill_lake(root)
    register_twice(root)
    return root


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def pair(root: Path, redis: RedisServer) -> Iterator[Server]:
    """One service with two workers."""
    server = Server(root, "--workers", "2", "--store", redis.url)
    try:
        until(lambda: len(workers(server)) == 2)
        yield server
    finally:
        pids = workers(server)
        server.kill(signal.SIGTERM)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def until(told: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not told():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def workers(server: Server) -> list[int]:
    pid = server.process.pid
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(of) for of in pids if b"spawn_main" in Path(f"/proc/{of}/cmdline").read_bytes()]


def metric(server: Server, name: str, **labels: str) -> float:
    address = f"http://127.0.0.1:{server.port}/metrics"
    with urllib.request.urlopen(address, timeout=30) as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    found = (s for family in families for s in family.samples if s.name == name)
    return sum(s.value for s in found if labels.items() <= s.labels.items())


def recommend(server: Server, user: str, at: str = AT) -> Any:
    return server.post("/recommend", {"user_id": user, "request_time": at})


def test_what_one_process_is_told_and_answers_the_other_knows(
    root: Path, redis: RedisServer
) -> None:
    one, other = (Server(root, "--store", redis.url, "--poll", "3600") for _ in range(2))
    try:
        assert recommend(one, "u01", LATE)["n_history"] == 2
        told = one.post("/events", [event("u01.1")])
        assert (told["n_new"], other.post("/events", [event("u01.1")])["n_new"]) == (1, 0)
        assert recommend(other, "u01", LATE)["n_history"] == 3
        assert recommend(one, "u01", LATE)["n_history"] == 3
        shared = {"cache": "shared_responses", "result": "hit"}
        assert metric(one, "chronotope_cache_lookups_total", **shared) == 1
        assert metric(other, "chronotope_cache_lookups_total", **shared) == 0
    finally:
        for server in (one, other):
            server.kill(signal.SIGTERM)


def test_workers_count_together(pair: Server) -> None:
    asked = {"path": "/recommend", "status": "200"}
    before = metric(pair, "chronotope_requests_total", **asked)
    for _ in range(20):
        recommend(pair, "u02")
    for _ in range(5):  # whichever worker is asked
        assert metric(pair, "chronotope_requests_total", **asked) == before + 20
    assert metric(pair, "chronotope_champion", version="1") == 1


def send(server: Server, keys: list[str], acknowledged: list[str]) -> None:
    """Post one event after the other, each until it is acknowledged."""
    for key in keys:
        while key not in acknowledged[-1:]:
            try:
                server.post("/events", event(key))
                acknowledged.append(key)
            except (
                OSError,
                ValueError,
                HTTPException,
            ):  # the worker is gone; the other one answers
                time.sleep(0.01)


def test_a_worker_killed_in_a_burst_loses_and_repeats_nothing(root: Path, pair: Server) -> None:
    every = [[f"c{client}.{n}" for n in range(150)] for client in range(4)]
    acknowledged: list[list[str]] = [[] for _ in every]
    threads = [
        threading.Thread(target=send, args=(pair, keys, done))
        for keys, done in zip(every, acknowledged, strict=True)
    ]
    for thread in threads:
        thread.start()
    until(lambda: sum(map(len, acknowledged)) > 100)
    killed = workers(pair)[0]
    os.kill(killed, signal.SIGKILL)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert acknowledged == every
    with closing(sqlite3.connect(Workspace(root).interactions("city"))) as connection:
        told = "SELECT key FROM interactions WHERE key LIKE 'c%.%'"
        assert sorted(key for (key,) in connection.execute(told)) == sorted(
            key for keys in every for key in keys
        )
    until(lambda: len(workers(pair)) == 2 and killed not in workers(pair))
    for _ in range(20):
        assert recommend(pair, "c0", LATE)["n_history"] == 150


def test_no_request_fails_while_both_workers_swap(root: Path, pair: Server) -> None:
    stop, failed = threading.Event(), list[Exception]()
    versions: list[str] = []

    def load(user: str) -> None:
        while not stop.is_set():
            try:
                versions.append(recommend(pair, user)["version"])
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=load, args=(f"u0{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(versions) > 50)
    promote(
        open_store(Workspace(root).mlruns), "city", "2", expected_champion="1", key="b", reason="b"
    )
    until(lambda: versions[-50:] == ["2"] * 50)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not failed
    assert set(versions) == {"1", "2"}
    assert metric(pair, "chronotope_champion", version="2") == 1
    assert metric(pair, "chronotope_champion", version="1") == 0
