"""Deliveries to a table with buckets: what a table without buckets would hold, in one commit."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from chronotope.contracts.errors import SchemaError
from chronotope.contracts.ids import event_ids
from chronotope.lake import Lake, MergeCounts
from chronotope.lake.bucketed import bucket_commit
from tests.lake.test_staged_batch import AT, ids

N_BUCKETS = 4


def log(first: int, last: int, **extra: Any) -> pa.Table:
    """Events of nine users, one a number; ids by number."""
    numbers = [str(n) for n in range(first, last)]
    rows = pa.table(
        {
            "event_id": event_ids([pa.array(numbers)]),
            "user_id": [f"u{int(n) % 9}" for n in numbers],
            "item_id": [f"i{n}" for n in numbers],
            "event_type": "view" if not numbers else ["view"] * len(numbers),
            "occurred_at": pa.array([AT] * len(numbers), pa.timestamp("us", tz="UTC")),
        }
    )
    for name, value in extra.items():
        rows = rows.append_column(name, pa.array([value] * len(numbers)))
    return rows


def deliver(lake: Lake, *batches: pa.Table, n_buckets: int = N_BUCKETS) -> MergeCounts:
    with lake.delivery(n_buckets) as delivery:
        for batch in batches:
            delivery.add(batch)
        return lake.merge_delivery(delivery)


def rows_of(lake: Lake) -> list[dict[str, Any]]:
    return lake.read("events").sort_by("event_id").to_pylist()


def test_buckets_hold_what_one_table_would_hold(tmp_path: Path) -> None:
    deliveries = [
        (log(0, 40, n=1), log(30, 50, n=2), log(49, 60, n=2)),
        (log(55, 70, n=3), log(68, 75)),
        (log(0, 75),),
        (log(70, 80, weather="rain"),),
        (log(78, 90, n=4),),
    ]
    parted, whole = Lake(tmp_path / "parted"), Lake(tmp_path / "whole")
    for batches in deliveries:
        counts, expected = deliver(parted, *batches), deliver(whole, *batches, n_buckets=1)
        assert (counts.inserted, counts.duplicates) == (expected.inserted, expected.duplicates)
        assert counts.repeated == expected.repeated
        assert rows_of(parted) == rows_of(whole)
    assert (parted.n_buckets(), whole.n_buckets()) == (N_BUCKETS, 1)
    assert parted.version("events") == 3  # one commit each; none without a new row
    assert [path.name for path in (tmp_path / "parted").iterdir()] == ["events"]


def test_the_example_of_repeated_rows_is_the_first_of_the_source(tmp_path: Path) -> None:
    batches = log(0, 40), log(5, 30, value=1.0), log(3, 20, value=2.0)
    parted, whole = Lake(tmp_path / "parted"), Lake(tmp_path / "whole")
    repeated = deliver(parted, *batches).repeated
    assert repeated == deliver(whole, *batches, n_buckets=1).repeated
    assert repeated.example is not None
    assert "value missing and 1.0" in repeated.example


def test_a_table_keeps_its_number_of_buckets(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, log(0, 10))
    deliver(lake, log(10, 20), n_buckets=7)
    lake.merge_events(log(15, 25))
    assert lake.n_buckets() == N_BUCKETS
    assert len(lake.read("events")) == 25
    for bucket in range(N_BUCKETS):
        assert lake.bucket_rows(bucket).count_rows()


def test_ids_of_any_length_are_compared_as_texts(tmp_path: Path) -> None:
    lake, rows = Lake(tmp_path), log(0, 6)
    mixed = pa.array(["a", *rows["event_id"].to_pylist()[1:]])
    deliver(lake, rows)
    assert deliver(lake, rows.set_column(0, "event_id", mixed)).inserted == 1
    assert deliver(lake, rows.set_column(0, "event_id", mixed)).inserted == 0


def test_equal_hashes_of_different_ids_are_no_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_hash(keys: pa.ChunkedArray) -> np.ndarray:
        return np.zeros(len(keys), np.uint64)

    monkeypatch.setattr("chronotope.lake.bucketed.bucket_part.key_hashes", one_hash)
    lake = Lake(tmp_path)
    assert deliver(lake, log(0, 20), log(10, 30)).inserted == 30
    assert deliver(lake, log(20, 40)).inserted == 10


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(lake, log(0, 5, n=1))
    with pytest.raises(SchemaError, match="another type in the lake"):
        deliver(lake, log(5, 9, n="many"))
    with pytest.raises(SchemaError, match="different types in one delivery"):
        deliver(lake, log(5, 9, n=1), log(9, 12, n="many"))
    deliver(lake, log(5, 9, n=2.0))
    assert lake.version("events") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["events"]


def test_a_delivery_in_between_is_compared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, commit = Lake(tmp_path), bucket_commit._commit_parts
    deliver(lake, log(0, 20))

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(bucket_commit, "_commit_parts", commit)
        assert deliver(lake, log(15, 30)).inserted == 10
        commit(*arguments)

    monkeypatch.setattr(bucket_commit, "_commit_parts", late)
    assert deliver(lake, log(18, 40)).inserted == 10
    assert len(set(ids(lake))) == len(ids(lake)) == 40
    assert lake.version("events") == 2


def test_two_first_deliveries_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, commit = Lake(tmp_path), bucket_commit._commit_parts

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(bucket_commit, "_commit_parts", commit)
        assert deliver(lake, log(5, 20)).inserted == 15
        commit(*arguments)

    monkeypatch.setattr(bucket_commit, "_commit_parts", late)
    assert deliver(lake, log(0, 10)).inserted == 5
    assert len(set(ids(lake))) == len(ids(lake)) == 20


def test_an_error_after_the_commit_takes_no_file_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, write = Lake(tmp_path), DeltaTable.create_write_transaction
    deliver(lake, log(0, 10))

    def interrupted(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "create_write_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deliver(lake, log(10, 20))
    assert len(ids(lake)) == 20


def test_an_error_before_the_commit_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    deliver(lake, log(0, 10))
    before = sorted(tmp_path.rglob("*.parquet"))

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "create_write_transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deliver(lake, log(10, 20))
    assert sorted(tmp_path.rglob("*.parquet")) == before


def test_of_deliveries_at_once_none_is_lost_and_nothing_is_twice(tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    def deliver_range(first: int) -> int:
        return sum(deliver(lake, log(n, n + 10)).inserted for n in range(first, first + 30, 10))

    with ThreadPoolExecutor(3) as threads:
        n_inserted = sum(threads.map(deliver_range, (0, 5, 15)))
    assert len(set(ids(lake))) == len(ids(lake)) == n_inserted == 45
