"""Production: a server with a password, a pool, ``prefect deploy --all``, a worker, a watcher."""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from chronotope.lake import Lake
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.runtime.processes import HOST, ManagedProcess, ProcessGroup
from chronotope.runtime.workspace import Workspace

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
SECRET = "admin:not-a-secret"  # noqa: S105 - of a server that lives for one test
PATIENCE_S = 400
FLOWS = {"ingest-events", "train-model", "collect-feedback", "promote-model", "roll-back-model"}


class Server:
    """A Prefect server that asks for a password."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.api = root, f"http://{HOST}:{port}/api"
        hidden = ("PREFECT_", "CHRONOTOPE_")
        self.env = {
            **{n: of for n, of in os.environ.items() if not n.startswith(hidden)},
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": SECRET,
            "PREFECT_SERVER_API_AUTH_STRING": SECRET,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "CHRONOTOPE_DATASET": "shop",
            "CHRONOTOPE_ROOT": str(root),
            "CHRONOTOPE_WORK_POOL": "machines",
        }

    def call(self, method: str, path: str, body: Any = None, *, known: bool = True) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.api + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        if known:
            token = base64.b64encode(SECRET.encode()).decode()
            request.add_header("authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def is_ready(self) -> bool:
        try:
            return bool(self.call("GET", "/health"))
        except (OSError, http.client.HTTPException):
            return False

    def prefect(self, *words: str) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command, cwd=PROJECT, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def wait(what: str, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.5)


def settle(root: Path) -> None:
    """A project folder: a dataset, its log, and the suites."""
    (root / "conf" / "datasets").mkdir(parents=True)
    (root / "expectations").symlink_to(PROJECT / "expectations")
    columns = {"user_id": "who", "item_id": "what", "occurred_at": "at"}
    events = {"format": "csv", "path": "log.csv", "columns": columns}
    about = {"name": "shop", "description": "Forty rows", "licence": "CC0-1.0"}
    spec = {**about, "data_dir": str(root), "events": events}
    (root / "conf" / "datasets" / "shop.yaml").write_text(yaml.safe_dump(spec))
    rows = [f"u{n % 5},i{n % 7},2024-01-{n % 28 + 1:02}T08:00:00Z" for n in range(40)]
    (root / "log.csv").write_text("\n".join(["who,what,at", *rows]) + "\n")


@pytest.fixture
def installation(tmp_path: Path, free_port: int) -> Iterator[tuple[Server, ProcessGroup]]:
    settle(tmp_path)
    server = Server(tmp_path, free_port)
    words = ("-m", "prefect", "server", "start", "--host", HOST, "--port", str(free_port))
    with ProcessGroup(tmp_path / "logs", server.env) as programs:
        programs.start(
            ManagedProcess("Server", (sys.executable, *words), server.is_ready, free_port)
        )
        programs.wait_for("Server", PATIENCE_S)
        yield server, programs


def test_deployed_for_a_pool_run_by_a_worker_and_watched(
    installation: tuple[Server, ProcessGroup], tmp_path: Path
) -> None:
    server, programs = installation
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.call("POST", "/deployments/filter", {}, known=False)
    assert refused.value.code == http.client.UNAUTHORIZED

    server.prefect("work-pool", "create", "--type", "process", "machines")
    server.prefect("deploy", "--all")
    found = server.call("POST", "/deployments/filter", {})
    flows = {each["id"]: each["name"] for each in server.call("POST", "/flows/filter", {})}
    assert {flows[each["flow_id"]] for each in found} >= FLOWS
    assert {(each["name"], each["work_pool_name"]) for each in found} == {("shop", "machines")}
    named = {automation["name"] for automation in server.call("POST", "/automations/filter", {})}
    triggers = ("interactions.logged", "drift.detected", "champion.promoted")
    assert named == {f"shop: {trigger}" for trigger in triggers}

    worker = ("-m", "prefect", "worker", "start", "--pool", "machines", "--type", "process")
    programs.start(ManagedProcess("Worker", (sys.executable, *worker), lambda: True))
    (ingest,) = (each for each in found if flows[each["flow_id"]] == "ingest-events")
    run = server.call("POST", f"/deployments/{ingest['id']}/create_flow_run", {})["id"]
    ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    state = lambda: server.call("GET", f"/flow_runs/{run}")["state"]["type"]  # noqa: E731
    wait("the run", lambda: state() in ended)
    assert state() == "COMPLETED", programs.log_of("Worker").read_text()
    assert len(Lake(Workspace(tmp_path).lake("shop")).read("events")) == 40

    with closing(InteractionLog(Workspace(tmp_path).interactions("shop"))) as log:
        log.append([Interaction(key=str(n), kind="event", payload={}) for n in range(500)])
    watcher = ("-m", "flows.watch_interactions", "--dataset", "shop", "--root", str(tmp_path))
    programs.start(
        ManagedProcess("Watcher", (sys.executable, *watcher, "--poll", "0.5"), lambda: True)
    )
    collects = next(e["id"] for e in found if flows[e["flow_id"]] == "collect-feedback")
    asked = {"deployments": {"id": {"any_": [collects]}}, "flow_runs": {"expected_start_time": {}}}
    started = lambda: [  # noqa: E731 - not those of the nightly schedule
        each
        for each in server.call("POST", "/flow_runs/filter", asked)
        if (each["created_by"] or {}).get("type") == "AUTOMATION"
    ]
    wait("the watcher's event to start a collection", lambda: bool(started()))
