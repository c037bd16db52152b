"""``compose.yaml`` starts: every service as a process, deployed, ingested by the worker, served."""

import base64
import json
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.compose_processes import Deployment, deployment
from tests.postgres import postgres
from tests.s3 import running_s3

pytestmark = pytest.mark.slow

FLOWS = {"ingest-events", "train-model", "collect-feedback", "promote-model", "roll-back-model"}
N_POSTED = 500
"""Events for which the watcher starts a collection."""


def call(address: str, body: Any = None, *, account: str = "", key: str = "") -> tuple[int, Any]:
    """Status and JSON of a response; status 0 while nobody listens."""
    request = urllib.request.Request(  # noqa: S310 - our own servers
        address, None if body is None else json.dumps(body).encode()
    )
    request.add_header("Content-Type", "application/json")
    if account:
        request.add_header("Authorization", f"Basic {base64.b64encode(account.encode()).decode()}")
    if key:
        request.add_header("X-API-Key", key)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            content = answer.read()
            return answer.status, json.loads(content) if content.startswith((b"{", b"[")) else None
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None


def test_the_compose_file_starts_and_its_main_path_runs(tmp_path: Path) -> None:
    with (
        postgres() as server,
        running_s3() as s3,
        deployment(tmp_path, server, s3, "shop") as deployed,
    ):
        write_dataset(deployed.root)
        for name in ("server", "mlflow", "worker", "service", "watcher"):
            deployed.start(name)
        env, ports = deployed.env, deployed.ports
        api, mlflow, service = (
            f"http://127.0.0.1:{ports['4200']}/api",
            f"http://127.0.0.1:{ports['5000']}",
            f"http://127.0.0.1:{ports['8000']}",
        )
        password = env["PREFECT_API_AUTH_STRING"]
        deployed.wait(
            "Prefect", lambda: call(f"{api}/health", account=password)[0] == HTTPStatus.OK
        )
        pool = f"{api}/work_pools/{env['CHRONOTOPE_WORK_POOL']}"
        deployed.wait("the pool", lambda: call(pool, account=password)[0] == HTTPStatus.OK)
        deployed.run("deploy")
        assert call(f"{api}/deployments/filter", {})[0] == HTTPStatus.UNAUTHORIZED
        assert_deployed(api, password)
        ingest(deployed, api, password)
        deployed.wait("MLflow", lambda: call(f"{mlflow}/health")[0] == HTTPStatus.OK)
        search = f"{mlflow}/api/2.0/mlflow/experiments/search"
        account = f"admin:{env['MLFLOW_AUTH_ADMIN_PASSWORD']}"
        assert call(search, {"max_results": 1})[0] == HTTPStatus.UNAUTHORIZED
        assert call(search, {"max_results": 1}, account=account)[0] == HTTPStatus.OK
        deployed.wait("the service", lambda: call(f"{service}/health")[0] == HTTPStatus.OK)
        posted = [
            {"kind": "event", "key": f"k{n}", "user_id": f"u{n % 5}", "item_id": f"i{n % 7}",
             "occurred_at": f"2024-02-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:00Z"}
            for n in range(N_POSTED)
        ]  # fmt: skip
        assert call(f"{service}/events", posted)[0] == HTTPStatus.UNAUTHORIZED
        status, receipt = call(f"{service}/events", posted, key=env["CHRONOTOPE_API_KEY"])
        assert (status, receipt["n_new"]) == (HTTPStatus.OK, N_POSTED)
        logged = 'SELECT count(*) FROM "chronotope.shop.interactions".interactions'
        assert server.rows("state", logged) == [(N_POSTED,)]
        deployed.wait("the watcher to start a collection", lambda: has_collection(api, password))
        assert any("shop/events/_delta_log" in key for key in bucket_keys(s3.port))
        assert not (deployed.root / "data" / "lake").exists()
        told = "".join(deployed.output(name) for name in deployed.processes)
    assert not [secret for secret in (server.password, password, account) if secret in told]


def write_dataset(root: Path) -> None:
    """A dataset of forty rows below the root, as an operator adds one."""
    (root / "conf" / "datasets").mkdir(parents=True)
    columns = {"user_id": "who", "item_id": "what", "occurred_at": "at"}
    spec = {
        "name": "shop",
        "description": "Forty rows",
        "licence": "CC0-1.0",
        "data_dir": str(root),
        "events": {"format": "csv", "path": "log.csv", "columns": columns},
    }
    (root / "conf" / "datasets" / "shop.yaml").write_text(yaml.safe_dump(spec))
    rows = [f"u{n % 5},i{n % 7},2024-01-{n % 28 + 1:02}T08:00:00Z" for n in range(40)]
    (root / "log.csv").write_text("\n".join(["who,what,at", *rows]) + "\n")


def assert_deployed(api: str, password: str) -> None:
    """The flows are deployed for the pool, with the automations that start them."""
    flows = {flow["id"]: flow["name"] for flow in filtered(api, "flows", password)}
    deployments = filtered(api, "deployments", password)
    assert {flows[found["flow_id"]] for found in deployments} >= FLOWS
    pairs = {(found["name"], found["work_pool_name"]) for found in deployments}
    assert pairs == {("shop", "chronotope")}
    names = {automation["name"] for automation in filtered(api, "automations", password)}
    triggers = ("interactions.logged", "drift.detected", "champion.promoted")
    assert names == {f"shop: {trigger}" for trigger in triggers}


def ingest(deployed: Deployment, api: str, password: str) -> None:
    """Run the deployment ``ingest-events`` on the worker."""
    flows = {flow["id"]: flow["name"] for flow in filtered(api, "flows", password)}
    (deployment_id,) = (
        found["id"]
        for found in filtered(api, "deployments", password)
        if flows[found["flow_id"]] == "ingest-events"
    )
    create = f"{api}/deployments/{deployment_id}/create_flow_run"
    run = call(create, {}, account=password)[1]["id"]
    ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

    def state() -> str:
        return str(call(f"{api}/flow_runs/{run}", account=password)[1]["state"]["type"])

    deployed.wait("the ingestion", lambda: state() in ended)
    assert state() == "COMPLETED", deployed.output("worker")


def has_collection(api: str, password: str) -> bool:
    runs = filtered(api, "flow_runs", password)
    return any((run["created_by"] or {}).get("type") == "AUTOMATION" for run in runs)


def filtered(api: str, kind: str, password: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(f"{api}/{kind}/filter", {}, account=password)[1]
    return found


def bucket_keys(port: int) -> list[str]:
    request = f"http://127.0.0.1:{port}/chronotope?list-type=2&prefix=lake"
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode()).split("<Key>")
