"""A migration to another number of buckets: the same events, nothing lost, all versions kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.contracts.user_buckets import user_buckets
from chronotope.lake import Lake
from chronotope.lake.bucketed import bucket_commit, rebucket
from chronotope.lake.bucketed.rebucket import RebucketReport, plan_rebucket, rebucket_events
from chronotope.lake.erase_rows import delete_before, erase_rows, replace_rows
from tests.lake.bucketed.test_deliveries import deliver, log, rows_of
from tests.lake.test_staged_batch import AT, ids

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two versions without buckets; the second one was written by a MERGE and has a new column."""
    lake = Lake(tmp_path)
    deliver(lake, log(0, 20), n_buckets=1)
    deliver(lake, log(15, 30, weather="rain"), n_buckets=1)
    return lake


def test_every_number_of_buckets_holds_the_same_events(lake: Lake) -> None:
    before, plan = rows_of(lake), plan_rebucket(lake, 4)
    assert plan == RebucketReport(n_before=1, n_buckets=4, n_rows=30, version=1)
    for version, (n_before, n_buckets) in enumerate([(1, 4), (4, 16), (16, 3), (3, 1)], 2):
        report = rebucket_events(lake, n_buckets)
        assert report == RebucketReport(n_before, n_buckets, 30, version)
        assert (lake.n_buckets(), rows_of(lake)) == (n_buckets, before)
        for bucket in range(n_buckets):
            users = lake.bucket_rows(bucket).to_table()["user_id"]
            assert set(user_buckets(users, n_buckets)) <= {bucket}
    assert rebucket_events(lake, 1).version == version  # nothing to do
    assert [lake.n_buckets(number) for number in range(6)] == [1, 1, 4, 16, 3, 1]
    assert [len(lake.read("events", number)) for number in (0, 1, 2)] == [20, 30, 30]


def test_deliveries_go_on_after_it(lake: Lake) -> None:
    rebucket_events(lake, 4)
    assert deliver(lake, log(25, 40, weather="sun"), n_buckets=1).inserted == 10
    assert lake.merge_events(log(35, 45)).inserted == 5
    assert (lake.n_buckets(), len(set(ids(lake))), len(ids(lake))) == (4, 45, 45)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 8)])
def test_a_delivery_that_was_staged_for_other_buckets_is_staged_again(
    tmp_path: Path, before: int, after: int
) -> None:
    lake = Lake(tmp_path)
    deliver(lake, log(0, 20), n_buckets=before)
    with lake.delivery() as delivery:
        delivery.add(log(15, 25, n=1))
        delivery.add(log(24, 30))
        rebucket_events(lake, after)
        counts = lake.merge_delivery(delivery)
    assert (counts.inserted, counts.duplicates, lake.n_buckets()) == (10, 6, after)
    assert len(set(ids(lake))) == len(ids(lake)) == 30
    assert counts.repeated.n_rows == 1
    assert counts.repeated.n_differing == 1


def test_a_migration_before_the_commit_of_a_delivery_loses_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebucket_events(lake, 4)
    commit = bucket_commit._commit_parts

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(bucket_commit, "_commit_parts", commit)
        rebucket_events(lake, 8)
        commit(*arguments)

    monkeypatch.setattr(bucket_commit, "_commit_parts", late)
    assert deliver(lake, log(25, 40)).inserted == 10
    assert (lake.n_buckets(), len(set(ids(lake))), len(ids(lake))) == (8, 40, 40)


def test_a_delivery_before_the_commit_of_a_migration_is_not_lost(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rebucket.write_deltalake

    def late(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(rebucket, "write_deltalake", write)
        assert deliver(lake, log(25, 40)).inserted == 10
        write(*arguments, **options)

    monkeypatch.setattr(rebucket, "write_deltalake", late)
    assert rebucket_events(lake, 4).n_rows == 40
    assert len(set(ids(lake))) == len(ids(lake)) == 40


KILLED = """
import os, signal, sys
from pathlib import Path
from chronotope.lake import Lake
from chronotope.lake.bucketed import bucket_commit, bucket_part, rebucket, staged_buckets
from tests.lake.bucketed.test_deliveries import deliver, log

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

module, name, root = sys.argv[1:]
modules = {"commit": bucket_commit, "part": bucket_part, "staged": staged_buckets}
lake = Lake(Path(root))
if module == "rebucket":
    rows = rebucket.with_buckets
    def late(table, n_buckets):
        late.n_calls = getattr(late, "n_calls", 0) + 1
        return rows(table, n_buckets) if late.n_calls < 2 else die()
    rebucket.with_buckets = late
    rebucket.rebucket_events(lake, 8)
setattr(modules[module], name, die)
deliver(lake, log(25, 40))
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("staged", "write_row_groups"),
        ("part", "_write_new_rows"),
        ("commit", "add_action"),
        ("rebucket", "with_buckets"),
    ],
)
def test_a_kill_leaves_the_version_before(lake: Lake, module: str, name: str) -> None:
    rebucket_events(lake, 4)
    path = os.pathsep.join((str(PROJECT / "components"), str(PROJECT)))
    process = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", KILLED, module, name, str(lake.root)],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert (lake.version("events"), lake.n_buckets(), len(ids(lake))) == (2, 4, 30)
    assert deliver(lake, log(25, 40)).inserted == 10
    assert len(set(ids(lake))) == len(ids(lake)) == 40


def test_users_are_erased_from_their_bucket_and_from_all_versions(lake: Lake) -> None:
    rebucket_events(lake, 4)
    n_of_user = rows_of(lake)
    n_erased = erase_rows(lake, "events", "user_id", ["u3", "u5", "nobody"])
    assert n_erased == sum(row["user_id"] in {"u3", "u5"} for row in n_of_user)
    assert n_erased > 0
    assert not {"u3", "u5"} & set(lake.read("events")["user_id"].to_pylist())
    assert lake.n_buckets() == 4
    with pytest.raises(StoreError):
        lake.read("events", 0)
    files = {path.name for path in Path(lake.root).glob("events/**/*.parquet")}
    named = {Path(path).name for bucket in range(4) for path in lake.bucket_files(bucket)}
    assert {name for name in files if "checkpoint" not in name} == named


def test_rows_with_other_users_move_to_their_buckets(lake: Lake) -> None:
    rebucket_events(lake, 4)
    rows = lake.read("events")

    def renamed(table: Any) -> Any:
        users = [f"new-{user}" for user in table["user_id"].to_pylist()]
        return table.set_column(1, "user_id", [users])

    assert replace_rows(lake, "events", renamed) == 30
    assert lake.n_buckets() == 4
    for bucket in range(4):
        users = lake.bucket_rows(bucket).to_table()["user_id"]
        assert set(user_buckets(users, 4)) <= {bucket}
    assert deliver(lake, renamed(rows)).inserted == 0


def test_old_rows_are_removed_and_buckets_stay(lake: Lake) -> None:
    rebucket_events(lake, 4)
    assert delete_before(lake, "events", "occurred_at", AT) == 0
    assert lake.n_buckets() == 4


@pytest.mark.parametrize("n_buckets", [0, 5_000])
def test_a_number_out_of_range_is_an_error(lake: Lake, n_buckets: int) -> None:
    with pytest.raises(StoreError, match="so many buckets"):
        rebucket_events(lake, n_buckets)


def test_a_lake_without_events_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not been written yet"):
        rebucket_events(Lake(tmp_path), 4)
