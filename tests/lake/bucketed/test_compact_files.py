"""Compaction: fewer files with the same rows, all versions kept, safe beside other writers."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.lake import Lake
from chronotope.lake.bucketed import bucket_commit, compact_files
from chronotope.lake.erase_rows import erase_rows
from chronotope.runtime.workspace import Workspace
from tests.cli.lakes.test_rebucket import YAML
from tests.lake.bucketed.test_deliveries import deliver, log, rows_of
from tests.lake.test_staged_batch import ids

N_BUCKETS = 4


@pytest.fixture(params=[1, N_BUCKETS], ids=["whole", "buckets"])
def lake(tmp_path: Path, request: pytest.FixtureRequest) -> Lake:
    """Six deliveries, the last with a new column."""
    lake = Lake(tmp_path)
    for first in range(0, 100, 20):
        deliver(lake, log(first, first + 20), n_buckets=request.param)
    deliver(lake, log(90, 120, weather="rain"), n_buckets=request.param)
    return lake


def n_files(lake: Lake) -> int:
    return len(lake.files("events"))


def test_a_compaction_keeps_rows_and_versions(lake: Lake) -> None:
    before, n_before, n_buckets = rows_of(lake), n_files(lake), lake.n_buckets()
    (plan,) = compact_files.plan_compaction(lake)
    assert (plan.n_before, plan.n_rows, n_files(lake)) == (n_before, 120, n_before)
    assert n_before > n_buckets
    (report,) = compact_files.compact_files(lake)
    assert (report.n_before, report.n_files, report.n_rows) == (n_before, n_buckets, 120)
    assert plan.n_files == report.n_files == n_files(lake)
    assert report.version == lake.version("events") == plan.version + 1
    assert (rows_of(lake), lake.n_buckets()) == (before, n_buckets)
    assert [len(lake.read("events", version)) for version in range(3)] == [20, 40, 60]
    assert lake.n_added_rows("events") == 0
    assert compact_files.compact_files(lake)[0].version == report.version  # nothing to do
    for bucket in range(n_buckets if n_buckets > 1 else 0):
        assert len(lake.bucket_files(bucket)) == 1
    assert deliver(lake, log(110, 130), n_buckets=n_buckets).inserted == 10
    assert len(set(ids(lake))) == len(ids(lake)) == 130


def test_large_files_are_left_alone(lake: Lake) -> None:
    (plan,) = compact_files.plan_compaction(lake, target_bytes=1)
    (report,) = compact_files.compact_files(lake, target_bytes=1)
    assert plan == report
    assert report.n_files == report.n_before


def test_a_reader_of_the_version_before_goes_on(lake: Lake) -> None:
    opened = lake.dataset("events")
    compact_files.compact_files(lake)
    assert opened.count_rows() == len(opened.to_table()) == 120


def test_a_compaction_before_the_commit_of_a_delivery_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    for first in range(0, 60, 20):
        deliver(lake, log(first, first + 20))
    commit = bucket_commit._commit_parts

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(bucket_commit, "_commit_parts", commit)
        compact_files.compact_files(lake)
        commit(*arguments)

    monkeypatch.setattr(bucket_commit, "_commit_parts", late)
    assert deliver(lake, log(50, 70)).inserted == 10
    assert len(set(ids(lake))) == len(ids(lake)) == 70


@pytest.mark.parametrize("change", ["delivery", "erasure"])
def test_a_change_during_a_compaction_stays(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    plan_table, expected = compact_files._plan_table, set(ids(lake))

    def planned(*arguments: Any) -> compact_files.CompactionReport:
        monkeypatch.setattr(compact_files, "_plan_table", plan_table)
        plan = plan_table(*arguments)  # of the version that the compaction starts from
        if change == "delivery":
            deliver(lake, log(120, 140), n_buckets=lake.n_buckets())
        else:
            erase_rows(lake, "events", "user_id", ["u3"])
        return plan

    monkeypatch.setattr(compact_files, "_plan_table", planned)
    compact_files.compact_files(lake)
    stored = ids(lake)
    assert len(stored) == len(set(stored))
    if change == "delivery":
        assert expected < set(stored)
        assert len(stored) == 140
    else:
        assert "u3" not in lake.read("events")["user_id"].to_pylist()
        assert len(stored) == 120 - len(range(3, 120, 9))


def test_deliveries_and_compactions_at_once_lose_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, log(0, 10))

    def deliver_all() -> int:
        return sum(deliver(lake, log(n, n + 10)).inserted for n in range(10, 60, 10))

    with ThreadPoolExecutor(2) as threads:
        inserted = threads.submit(deliver_all)
        while not inserted.done():
            compact_files.compact_files(lake)
    assert inserted.result() == 50
    assert len(set(ids(lake))) == len(ids(lake)) == 60


def test_the_files_of_a_compaction_are_no_change_of_data(lake: Lake) -> None:
    compact_files.compact_files(lake)
    log_file = Path(lake.address("events")) / f"_delta_log/{lake.version('events'):020}.json"
    actions = [json.loads(line) for line in log_file.read_text().splitlines()]
    changes = [action["add"]["dataChange"] for action in actions if "add" in action]
    assert changes
    assert not any(changes)
    assert DeltaTable(lake.address("events")).history(1)[0]["operation"] == "OPTIMIZE"


def test_the_command_shows_what_it_would_do_and_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "kiosk.yaml").write_text(YAML)
    lake = Lake(Workspace(tmp_path / "root").lake("kiosk"))
    for first in range(0, 60, 20):
        deliver(lake, log(first, first + 20))
    words = ["compact", str(tmp_path / "kiosk.yaml"), "--root", str(tmp_path / "root")]
    n_before, version = n_files(lake), lake.version("events")
    planned = json.loads(CliRunner().invoke(app, [*words, "--dry-run", "--json"]).stdout)
    assert (planned["dry_run"], planned["tables"][0]["n_before"]) == (True, n_before)
    assert lake.version("events") == version
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "files before" in done.output
    assert n_files(lake) == planned["tables"][0]["n_files"] < n_before
