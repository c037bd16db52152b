"""The command itself, in a process of its own: from its start to a kill."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import pytest

from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import fill_lake, register_twice

pytestmark = pytest.mark.slow

COMMAND = "from chronotope.cli.main import run; run()"
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0})); "
AT = "2020-09-13T18:00:00+00:00"


class Server:
    """``chronotope serve`` on a port of its own."""

    def __init__(
        self,
        root: Path,
        *words: str,
        dataset: str = "city",
        open_files: int | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        stderr: IO[str] | int = subprocess.DEVNULL,
    ) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        told = ["serve", dataset, "--root", str(root), "--port", str(self.port), "--json"]
        command = COMMAND if open_files is None else LIMITED.format(open_files) + COMMAND
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", command, *told, "--poll", "0.2", *words],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=os.environ | (env or {}),
            cwd=cwd,
        )
        try:
            self._wait()
        except BaseException:
            self.kill(signal.SIGTERM)  # nothing stays behind
            raise

    def _wait(self) -> None:
        end = time.monotonic() + 240
        while time.monotonic() < end:
            assert self.process.poll() is None, "it ended"
            try:
                self.get("/ready")
            except OSError:
                time.sleep(0.1)
            else:
                return
        pytest.fail("it never became ready")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
            return json.load(reply)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - the same
            return json.load(reply)

    def kill(self, sign: int) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
        return self.process.wait(120)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    fill_lake(root)
    register_twice(root)
    return root


def event(key: str) -> dict[str, Any]:
    seconds = int(key.split(".")[1])
    moment = f"2020-09-14T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z"
    told = {"kind": "event", "key": key, "user_id": key.split(".")[0], "item_id": "i01"}
    return told | {"occurred_at": moment}


def burst(server: Server, client: int, acknowledged: list[str]) -> None:
    """Post until the server is gone; two records a request, each sent twice."""
    for n in range(0, 80_000, 2):
        keys = [f"c{client}.{n}", f"c{client}.{n + 1}"]
        try:
            server.post("/events", [event(key) for key in keys * 2])
        except (OSError, ValueError, HTTPException):
            return
        acknowledged += keys


def test_what_was_acknowledged_before_a_kill_is_there_once(root: Path) -> None:
    server, acknowledged = Server(root), list[str]()
    clients = [threading.Thread(target=burst, args=(server, n, acknowledged)) for n in range(4)]
    for client in clients:
        client.start()
    while len(acknowledged) < 200:
        time.sleep(0.01)
    assert server.kill(signal.SIGKILL) == -signal.SIGKILL
    for client in clients:
        client.join()
    with closing(sqlite3.connect(Workspace(root).interactions("city"))) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM interactions")]
    assert set(acknowledged) <= set(keys)
    assert len(keys) == len(set(keys)) <= len(acknowledged) + 8
    again = Server(root)
    said = again.post("/recommend", {"user_id": "c0", "request_time": "2020-09-20T00:00Z"})
    assert said["n_history"] == sum(key.startswith("c0.") for key in keys)
    assert again.kill(signal.SIGTERM) == -signal.SIGTERM


def test_a_promotion_is_served_and_an_answer_is_logged_before_the_end(root: Path) -> None:
    server, store = Server(root), open_store(Workspace(root).mlruns)
    assert server.post("/recommend", {"user_id": "u00", "request_time": AT})["version"] == "1"
    promote(store, "city", "2", expected_champion="1", key="second", reason="second")
    for _ in range(300):
        if server.get("/ready")["version"] == "2":
            break
        time.sleep(0.1)
    answer = server.post("/recommend", {"user_id": "u00", "request_time": AT})
    assert answer["version"] == "2"
    assert server.kill(signal.SIGTERM) == -signal.SIGTERM
    with closing(sqlite3.connect(Workspace(root).interactions("city"))) as connection:
        told = "SELECT count(*) FROM interactions WHERE key = ?"
        assert connection.execute(told, (answer["answer_id"],)).fetchone() == (1,)
