"""Merged rows of a delivery are counted, and those that differ are shown."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from chronotope.contracts.schemas import EVENTS
from chronotope.lake import Lake
from chronotope.lake.repeated_rows import RepeatedRows, find_repeated_rows

AT = datetime(2024, 1, 1, tzinfo=UTC)
BASE = {"user_id": "u", "item_id": "i", "event_type": "view", "occurred_at": AT}


def rows(*pairs: tuple[str, float | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [BASE | {"event_id": name, "value": value} for name, value in pairs], schema=EVENTS
    )


def test_rows_are_compared_over_all_batches(tmp_path: Path) -> None:
    with Lake(tmp_path).delivery() as delivery:
        delivery.add(rows(("a", 1), ("b", 1), ("a", 1)))
        delivery.add(rows(("c", 1)))
        delivery.add(rows(("b", 3), ("b", 3), ("d", 1), ("b", None)))
        repeated = find_repeated_rows(delivery)
    assert (repeated.n_rows, repeated.n_equal, repeated.n_differing) == (4, 2, 2)
    assert repeated.example == (
        "user_id u, item_id i, occurred_at 2024-01-01 00:00:00+00:00: value 1.0 and 3.0"
    )


def test_equal_rows_have_no_example(tmp_path: Path) -> None:
    with Lake(tmp_path).delivery() as delivery:
        delivery.add(rows(("a", 1), ("a", 1)))
        assert find_repeated_rows(delivery) == RepeatedRows(1, 1)


def test_a_later_batch_may_have_more_columns(tmp_path: Path) -> None:
    with Lake(tmp_path).delivery() as delivery:
        delivery.add(rows(("a", 1)))
        delivery.add(rows(("a", 1)).append_column("colour", pa.array(["red"])))
        repeated = find_repeated_rows(delivery)
    assert repeated.example is not None
    assert repeated.example.endswith("colour missing and red")


def test_no_repetition(tmp_path: Path) -> None:
    with Lake(tmp_path).delivery() as delivery:
        delivery.add(rows(("a", 1), ("b", 1)))
        assert find_repeated_rows(delivery) == RepeatedRows()
