"""Readers see the events of all buckets or of one; the number of buckets is the version's own."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from chronotope.contracts.errors import StoreError
from chronotope.contracts.user_buckets import bucket_of_user, user_buckets
from chronotope.lake import Lake
from chronotope.lake.bucketed import with_buckets
from tests.lake.test_staged_batch import events

USERS = [f"u{n}" for n in range(40)]


def of_users() -> pa.Table:
    rows = events("x" * len(USERS))
    for name in ("user_id", "event_id"):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(USERS))
    return rows


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A table of one bucket, then of four."""
    lake = Lake(tmp_path)
    lake.merge_events(of_users())
    write_deltalake(
        lake.address("events"),
        with_buckets(of_users(), 4),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=["user_bucket"],
    )
    return lake


def test_the_bucket_of_a_user_never_changes() -> None:
    assert user_buckets(pa.array(["ann", "bob", "Zoë", "", "u1"]), 1000).tolist() == [
        568, 781, 854, 986, 475
    ]  # fmt: skip
    chunked = pa.chunked_array([["ann"], ["bob"]])
    assert user_buckets(chunked, 1000).tolist() == [568, 781]
    assert bucket_of_user("bob", 1000) == 781
    assert user_buckets(pa.array([], pa.string()), 8).tolist() == []


def test_buckets_are_the_users_of_a_version(lake: Lake) -> None:
    assert (lake.n_buckets(), lake.n_buckets(0)) == (4, 1)
    parts = [lake.bucket_rows(bucket).to_table() for bucket in range(4)]
    assert sorted(pa.concat_tables(parts)["user_id"].to_pylist()) == sorted(USERS)
    for bucket, part in enumerate(parts):
        assert set(user_buckets(part["user_id"], 4).tolist()) == {bucket}
        files = lake.bucket_files(bucket)
        assert files
        assert all(f"/user_bucket={bucket}/" in path for path in files)
    assert len(lake.bucket_rows(0, version=0).to_table()) == len(USERS)
    assert len(lake.bucket_files(0, version=0)) == 1


def test_readers_do_not_see_the_partition_column(lake: Lake) -> None:
    assert lake.read("events").column_names == lake.read("events", 0).column_names
    version = lake.table_version("events")
    assert lake.reader("events", version).schema.names == lake.read("events", 0).column_names


@pytest.mark.parametrize(("bucket", "version"), [(4, None), (-1, None), (1, 0)])
def test_a_bucket_that_is_not_there_is_an_error(
    lake: Lake, bucket: int, version: int | None
) -> None:
    with pytest.raises(StoreError, match="no such bucket"):
        lake.bucket_rows(bucket, version)


def test_a_table_of_another_partition_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    write_deltalake(lake.address("events"), events("ab"), partition_by=["item_id"])
    with pytest.raises(StoreError, match="not partitioned as Chronotope does"):
        lake.n_buckets()
