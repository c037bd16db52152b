"""The command that migrates a lake: what it would do, what it did, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.main import app
from chronotope.cli.repairs.damage import BackupFolder
from chronotope.cli.repairs.lake_tables import table_damages
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from tests.lake.bucketed.test_deliveries import deliver, log, rows_of

YAML = """
name: kiosk
description: Events of a kiosk.
licence: CC0-1.0
events:
  format: csv
  path: log.csv
  columns: {user_id: who, item_id: what, occurred_at: at}
"""


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    (tmp_path / "kiosk.yaml").write_text(YAML)
    return tmp_path / "kiosk.yaml"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(Workspace(tmp_path / "root").lake("kiosk"))
    deliver(lake, log(0, 20), n_buckets=1)
    return lake


def call(root: Path, *words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--root", str(root)])


def test_a_dry_run_changes_nothing_and_the_run_says_what_to_set(
    yaml: Path, lake: Lake, tmp_path: Path
) -> None:
    root, before = tmp_path / "root", rows_of(lake)
    planned = call(root, "rebucket", yaml, "--buckets", 4, "--dry-run", "--json")
    report: dict[str, Any] = json.loads(planned.stdout)
    counts = {"n_before": 1, "n_buckets": 4, "n_rows": 20}
    assert report == {"dataset": "kiosk", "dry_run": True, **counts, "version": 0}
    assert (lake.version("events"), lake.n_buckets()) == (0, 1)
    done = call(root, "rebucket", yaml, "--buckets", 4)
    assert done.exit_code == 0, done.output
    assert "20 events are in 4 buckets of users (before: 1), version 1" in done.stdout
    assert "Set user_buckets: 4" in done.stdout
    assert (lake.n_buckets(), rows_of(lake)) == (4, before)


def test_ids_that_several_users_may_share_are_refused(
    yaml: Path, lake: Lake, tmp_path: Path
) -> None:
    yaml.write_text(f"{YAML}identity: [item_id, occurred_at]\n")
    refused = call(tmp_path / "root", "rebucket", yaml, "--buckets", 4)
    assert refused.exit_code != 0
    assert "list user_id under identity" in " ".join(refused.output.split())
    yaml.write_text(f"{YAML}identity: [item_id, occurred_at]\nuser_buckets: 4\n")
    refused = call(tmp_path / "root", "rebucket", yaml, "--buckets", 1)
    assert "list user_id under identity" in " ".join(refused.output.split())


def test_damages_of_a_table_with_buckets_are_repaired(lake: Lake, tmp_path: Path) -> None:
    shutil.rmtree(Path(lake.root))
    deliver(lake, log(0, 20))
    deliver(lake, log(20, 40))
    Path(lake.bucket_files(2)[0]).write_bytes(b"no parquet")
    backup = BackupFolder.of_now(tmp_path)
    (damage,) = table_damages(Path(lake.root))
    assert "1 data files are missing or damaged" in damage.problem
    damage.repair(backup)
    assert list(table_damages(Path(lake.root))) == []
    assert (lake.n_buckets(), 20 <= len(lake.read("events")) < 40) == (4, True)
    n_left = len(lake.read("events"))
    for commit in (Path(lake.root) / "events" / "_delta_log").glob("*.json"):
        commit.write_bytes(b"")
    (damage,) = table_damages(Path(lake.root))
    outcome = damage.repair(backup)
    assert "`chronotope rebucket` restores its buckets" in outcome
    assert (lake.n_buckets(), len(lake.read("events"))) == (1, n_left)
