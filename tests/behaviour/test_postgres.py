"""What ``chronotope up`` starts keeps its runs in Postgres, and tells nobody the password."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronotope.cli.up import MLFLOW, PREFECT, SERVICE, process_environment, service_processes
from chronotope.contracts.errors import StoreError
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.processes import ProcessGroup, listen
from chronotope.runtime.store_urls import MLFLOW_URL, OPTUNA_URL, optuna_url
from chronotope.runtime.workspace import Workspace
from chronotope.tuning.study_database import open_study_database
from tests.postgres import Postgres, postgres
from tests.runtime.test_processes import free_port

pytestmark = pytest.mark.slow
PREFECT_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
FLOW = """
from prefect import flow
@flow(name="counted")
def count(n: int) -> int:
    return n + 1
assert count(1) == 2
"""


PASSWORD = "chronotope:of-a-test"  # noqa: S105 - of a server of this test


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


def test_both_servers_keep_their_runs_in_it(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MLFLOW_URL, server.url("mlflow"))
    monkeypatch.setenv(PREFECT_URL, server.url("prefect", "postgresql+asyncpg"))
    with open_store(Workspace(tmp_path).mlruns).run("town", "one") as tracker:
        tracker.metrics({"ndcg_10": 0.5})
    ports = {PREFECT: free_port(), MLFLOW: free_port(), SERVICE: free_port()}
    parts, env = (
        service_processes("town", "town", tmp_path, ports),
        process_environment(tmp_path, ports, PASSWORD),
    )
    with ProcessGroup(tmp_path / "logs", env) as programs:
        for name in (PREFECT, MLFLOW):
            with listen(ports[name]) as listener:
                programs.start(parts[name], listener)
        for name in (PREFECT, MLFLOW):
            programs.wait_for(name)
        ran = [sys.executable, "-c", FLOW]
        subprocess.run(ran, env=env, check=True, capture_output=True)  # noqa: S603 - our own
    runs = "SELECT state_type FROM flow_run JOIN flow ON flow.id = flow_id WHERE flow.name = "
    assert server.rows("prefect", f"{runs} 'counted'") == [("COMPLETED",)]
    assert server.rows("mlflow", "SELECT key, value FROM metrics") == [("ndcg_10", 0.5)]
    assert not list(tmp_path.rglob("*.db"))
    said = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    told = "".join(word for part in parts.values() for word in part.command)
    assert server.password not in said + told


def test_a_database_that_refuses_is_named_without_its_password(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = server.url("mlflow").replace(server.password, "not-the-password")
    for variable in (MLFLOW_URL, OPTUNA_URL):
        monkeypatch.setenv(variable, wrong)
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # it would try for 100 s
    with pytest.raises(StoreError, match=r"127\.0\.0\.1") as of_mlflow:
        open_store(tmp_path / "mlruns")
    with (
        pytest.raises(StoreError, match=r"127\.0\.0\.1") as of_optuna,
        open_study_database(optuna_url(tmp_path)),
    ):
        pass
    for caught in (of_mlflow, of_optuna):
        assert "password authentication failed" in str(caught.value)
        assert "not-the-password" not in str(caught.value)
        assert ":***@" in str(caught.value)
