"""An erasure on the running system: service, Redis, MLflow, lake in an object store, requests.

It is killed half-way and run again while somebody goes on asking for the user.
"""

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pyarrow.parquet as pq
import pytest

from chronotope.erasure.derived_files import files_that_name
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.stored_objects import stored_objects
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import fill_lake, register_twice
from tests.s3 import BUCKET, S3, running_s3
from tests.serving.redis_server import PASSWORD, RedisServer, running_redis
from tests.serving.test_process import AT, COMMAND, Server

KILLED_COMMAND = """
import importlib, os, signal
from chronotope.cli.main import run
module = importlib.import_module("chronotope.erasure.forget_users")
module.erase_lake_rows = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run()
"""

pytestmark = pytest.mark.slow

ERASED = "ann-of-the-hill-77"
OTHER = "bob-of-the-dale-78"
DEADLINE_S = 60


@dataclass
class System:
    """Everything that runs, and a thread that asks for both users."""

    root: Path
    server: Server
    redis: RedisServer
    lake: Lake
    histories: dict[str, list[int]] = field(default_factory=lambda: {ERASED: [], OTHER: []})
    is_done: threading.Event = field(default_factory=threading.Event)

    def ask(self, user_id: str) -> int:
        """Events of the user's history that the service knows."""
        answer = self.server.post("/recommend", {"user_id": user_id, "request_time": AT, "k": 3})
        assert answer["user_id"] == user_id
        return int(answer["n_history"])

    def post(self, user_id: str, key: str) -> dict[str, Any]:
        event = {"kind": "event", "key": key, "user_id": user_id, "item_id": "i05"}
        receipt: dict[str, Any] = self.server.post(
            "/events", {**event, "occurred_at": "2020-09-13T17:00:00Z"}
        )
        return receipt

    def logged_users(self) -> set[str | None]:
        with closing(InteractionLog(Workspace(self.root).interactions("city"))) as log:
            return {record.payload.get("user_id") for record in log.read(0, 10**6)}

    def go_on_asking(self) -> None:
        n_posted = 0
        while not self.is_done.is_set():
            for user_id, histories in self.histories.items():
                histories.append(self.ask(user_id))
                self.post(user_id, f"{user_id}-{n_posted}")
            n_posted += 1

    def forget(self, command: str = COMMAND) -> "subprocess.Popen[bytes]":
        told = ["forget", ERASED, "--dataset", "city", "--root", str(self.root), "--yes", "--json"]
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", command, *told], stdout=subprocess.PIPE
        )


def prepare(root: Path) -> Lake:
    """A champion over a lake in the store; the user in all tables and in files."""
    fill_lake(root)
    register_twice(root)
    workspace = Workspace(root)
    lake = Lake(workspace.lake("city"))
    rows = lake.read("events")
    for user_id in (ERASED, OTHER):
        column = [user_id if name == "u00" else name for name in rows["user_id"].to_pylist()]
        renamed = rows.set_column(rows.column_names.index("user_id"), "user_id", [column])
        ids = [f"{user_id}-{name}" for name in rows["event_id"].to_pylist()]
        renamed = renamed.set_column(rows.column_names.index("event_id"), "event_id", [ids])
        lake.merge_events(renamed.filter([name == user_id for name in column]))
    for folder in ("features/city/0a", "runs/city/1b", "logs", "reports", "inbox/city"):
        path = root / "data" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "rows.jsonl").write_text(f'{{"user_id": "{ERASED}"}}\n{{"user_id": "{OTHER}"}}\n')
    return lake


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "redis").mkdir()
    with ExitStack() as stack:
        s3: S3 = stack.enter_context(running_s3())
        redis = stack.enter_context(running_redis(tmp_path / "redis"))
        for name, value in {**s3.environment, LAKE_URL: f"s3://{BUCKET}/lakes"}.items():
            monkeypatch.setenv(name, value)
        lake = prepare(root)
        server = Server(root, env={"CHRONOTOPE_STORE": redis.url})
        stack.callback(lambda: server.kill(signal.SIGTERM))
        yield System(root, server, redis, lake)


def test_an_erasure_under_load_that_was_killed_leaves_nothing(system: System) -> None:
    assert system.post(ERASED, "first")["n_new"] == 1
    before = system.ask(ERASED)
    assert before == system.ask(OTHER) + 1
    assert redis_dump(system).count(b"chronotope:city:") >= 2
    visitor = threading.Thread(target=system.go_on_asking)
    visitor.start()
    try:
        with system.forget(KILLED_COMMAND) as killed:
            assert killed.wait(DEADLINE_S) == -signal.SIGKILL
        assert ERASED not in system.logged_users()
        assert ERASED in system.lake.read("events")["user_id"].to_pylist()  # half-way
        with system.forget() as finished:
            certificate = json.loads(finished.communicate(timeout=DEADLINE_S)[0])
        assert finished.returncode == 0
        wait_for(lambda: system.ask(ERASED) == 0)
    finally:
        system.is_done.set()
        visitor.join()
    assert system.ask(OTHER) > 0
    assert system.histories[ERASED][0] >= before
    assert min(system.histories[OTHER]) > 0  # nobody else lost anything, at any moment
    assert system.post(ERASED, "again") == {
        "n_received": 1,
        "n_new": 0,
        "n_unknown_items": 0,
        "n_not_stored": 1,
    }
    assert_nothing_is_left(system)
    assert_complete(system, certificate)


def assert_nothing_is_left(system: System) -> None:
    """Neither as bytes nor in any row, in any version, store, log, cache or dump."""
    content = [stored_object.content for stored_object in stored_objects(system.lake)]
    assert content
    assert not [part for part in content if ERASED.encode() in part]
    tables = [pq.read_table(io.BytesIO(part)) for part in content if part[:4] == b"PAR1"]
    assert not [table for table in tables if ERASED in str(table.to_pylist())]
    assert [table for table in tables if OTHER in str(table.to_pylist())]
    assert list(files_that_name([system.root], [ERASED])) == []
    assert system.logged_users() == {OTHER}
    assert ERASED.encode() not in redis_dump(system)
    assert (system.root / "data" / "inbox" / "city" / "rows.jsonl").read_text() == (
        f'{{"user_id": "{OTHER}"}}\n'
    )


def redis_dump(system: System) -> bytes:
    """Everything that Redis holds, keys included, as it would write it to a disk."""
    from redis import Redis

    with Redis.from_url(system.redis.url) as client:
        dump = b"".join(key + (client.get(key) or b"") for key in client.scan_iter())
        client.config_set("rdbcompression", "no")
        client.save()
        folder = client.config_get("dir")["dir"]
    assert PASSWORD.encode() not in dump
    return dump + (Path(folder) / "dump.rdb").read_bytes()


def assert_complete(system: System, certificate: dict[str, Any]) -> None:
    names = {store["store"] for store in certificate["stores"]}
    tables = {f"lake: {name}" for name in ("events", "users", "predictions", "quarantine")}
    assert tables | {"interaction log", "data/inbox/city", "data/runs/city"} <= names
    assert certificate["models"] == ["1", "2"]
    store = open_store(Workspace(system.root).mlruns)
    assert "chronotope.users_erased_since" in store.client.get_model_version("city", "1").tags
    assert ERASED not in json.dumps(certificate)
    assert certificate["n_files_searched"] > 10


def wait_for(is_true: Any) -> None:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            if is_true():
                return
        except (URLError, OSError):
            pass
        time.sleep(0.02)
    pytest.fail("it never came true")
