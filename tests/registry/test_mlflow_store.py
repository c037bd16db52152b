"""Runs, nesting and what they keep."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.contracts.protocols import Tracker
from chronotope.registry import mlflow_database
from chronotope.registry.mlflow_database import create_database
from chronotope.registry.mlflow_store import MlflowStore, open_store
from chronotope.runtime.store_urls import CACHE_DIR


def test_run_keeps_metrics_params_and_files(store: MlflowStore, bundle: Path) -> None:
    with store.run("tuning", "trial 0", tags={"data_version": "7"}) as tracker:
        as_protocol: Tracker = tracker
        as_protocol.metrics({"ndcg_10": 0.25, "mrr": 0.5}, step=3)
        as_protocol.params({"width": 64})
        as_protocol.artifact(bundle / "model.onnx", folder="files")
    run = store.client.get_run(tracker.run_id)
    assert run.data.metrics == {"ndcg_10": 0.25, "mrr": 0.5}
    assert run.data.params == {"width": "64"}
    assert run.data.tags["data_version"] == "7"
    assert run.info.status == "FINISHED"
    kept = next((store.root / "artifacts").rglob("files/model.onnx"))
    assert kept.read_bytes() == b"graph"


def test_runs_nest(store: MlflowStore) -> None:
    with (
        store.run("tuning", "study") as outer,
        store.run("tuning", "trial", parent=outer) as inner,
    ):
        inner.metrics({"ndcg_10": 0.1})
    tags = store.client.get_run(inner.run_id).data.tags
    assert tags["mlflow.parentRunId"] == outer.run_id
    assert inner.run_id != outer.run_id


def test_a_run_that_raises_is_failed(store: MlflowStore) -> None:
    with pytest.raises(ZeroDivisionError), store.run("tuning", "trial") as tracker:
        _ = 1 / 0
    assert store.client.get_run(tracker.run_id).info.status == "FAILED"


def test_a_broken_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path)


DYING = """
import os, signal, sys
from pathlib import Path
from chronotope.registry.mlflow_store import open_store
store = open_store(Path(sys.argv[1]))
with store.run("city", "study") as study, store.run("city", "trial", parent=study):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def statuses(store: MlflowStore) -> dict[str, str]:
    experiments = [each.experiment_id for each in store.client.search_experiments()]
    runs = store.client.search_runs(experiments)
    return {str(run.info.run_name): str(run.info.status) for run in runs}


def test_runs_of_a_killed_process_end_when_the_store_is_opened_again(store: MlflowStore) -> None:
    with store.run("city", "of the living"):
        command = [sys.executable, "-c", DYING, store.root]
        done = subprocess.run(command, check=False)  # noqa: S603 - our own interpreter
        assert done.returncode == -signal.SIGKILL
        left = statuses(store)
        assert left == {"study": "RUNNING", "trial": "RUNNING", "of the living": "RUNNING"}
        open_store(store.root)
        told = {"study": "KILLED", "trial": "KILLED", "of the living": "RUNNING"}
        assert statuses(store) == told
    assert statuses(store) == told | {"of the living": "FINISHED"}
    assert list((store.root / "running").iterdir()) == []


def test_what_is_no_token_does_not_stop_anybody(store: MlflowStore) -> None:
    folder = store.root / "running"
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("not ours")
    (folder / "999-of-no-experiment").touch()
    (folder / "1-a-folder").mkdir()
    open_store(store.root)
    assert sorted(path.name for path in folder.iterdir()) == ["1-a-folder", "notes.txt"]


DYING_AT_BIRTH = """
import os, signal, sys
from pathlib import Path
import mlflow.store.db.utils as tables
from chronotope.registry.mlflow_store import open_store
upgrade = tables._upgrade_db
def half(engine):
    if sys.argv[2] == "migrated":
        upgrade(engine)
    os.kill(os.getpid(), signal.SIGKILL)
tables._upgrade_db = half
open_store(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("point", ["tables", "migrated"])
def test_a_database_is_made_whole_or_not_at_all(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CACHE_DIR)  # another root has migrated one already
    command = [sys.executable, "-c", DYING_AT_BIRTH, str(tmp_path), point]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL  # noqa: S603
    assert not (tmp_path / "mlflow.db").exists()
    with open_store(tmp_path).run("city", "study") as tracker:
        tracker.metrics({"ndcg_10": 0.25})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "mlflow.db", "running"]


def test_roots_that_share_a_cache_migrate_one_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path / "cache"))
    first = open_store(tmp_path / "a")
    monkeypatch.setattr(mlflow_database, "_initialize_tables", None)  # not to be called again
    second = open_store(tmp_path / "b")
    with first.run("city", "study"), second.run("town", "trial") as tracker:
        tracker.metrics({"ndcg_10": 0.25})
    assert statuses(first) == {"study": "FINISHED"}
    assert statuses(second) == {"trial": "FINISHED"}


def test_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_bytes(b"")
    for address in (url, "sqlite://", "sqlite:///:memory:", "postgresql://host/mlflow"):
        create_database(address)
    assert (tmp_path / "mlflow.db").read_bytes() == b""
    assert len(list(tmp_path.iterdir())) == 1
