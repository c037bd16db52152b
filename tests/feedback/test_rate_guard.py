"""A flooding account is cut to its share; everybody else is left alone."""

from typing import Any

import pytest

from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.feedback.rate_guard import quarantine_excess
from chronotope.ingestion import IngestBatch
from tests.feedback.test_payloads import spec

CONFIG = FeedbackConfig(rate_limit_rows=5, rate_limit_factor=3)


def batch(**counts: int) -> IngestBatch:
    """Rows of each user, one a minute, users in turn as they were given."""

    def at(n: int) -> str:
        return f"2025-01-01T{n // 60:02d}:{n % 60:02d}:00Z"

    rows: list[Any] = [
        {"user_id": user, "item_id": "tea", "occurred_at": at(n)}
        for user, count in counts.items()
        for n in range(count)
    ]
    return payloads_to_batch(["garbage", *rows], spec())


def left(found: IngestBatch) -> dict[str, int]:
    counts = found.rows.column("user_id").value_counts().to_pylist()
    return {each["values"]: each["counts"] for each in counts}


@pytest.mark.parametrize(
    ("counts", "flooder"),
    [
        ({"a": 1, "b": 1, "c": 1, "d": 1, "evil": 200}, 5),  # the floor
        ({"a": 4, "b": 4, "c": 4, "d": 4, "evil": 200}, 12),  # 3 times the median
        ({"evil": 200}, 5),  # no median to trust
    ],
)
def test_a_flood_is_cut_and_others_stay(counts: dict[str, int], flooder: int) -> None:
    found = quarantine_excess(batch(**counts), CONFIG)
    assert left(found) == counts | {"evil": flooder}
    told = found.refused.column("reasons").to_pylist()
    assert told.count(["flood"]) == 200 - flooder
    assert len(found.rows) + len(found.refused) == len(found.raw) == 1 + sum(counts.values())


def test_the_first_rows_are_the_ones_that_stay() -> None:
    found = quarantine_excess(batch(evil=9), CONFIG)
    assert found.row_positions.tolist() == [1, 2, 3, 4, 5]
    assert found.refused.column("row").to_pylist() == [0, 6, 7, 8, 9]


def test_busy_days_are_no_flood() -> None:
    busy = batch(a=50, b=60, c=40, d=70, e=55)
    assert quarantine_excess(busy, CONFIG) is busy
    nothing = payloads_to_batch(["garbage"], spec())
    assert quarantine_excess(nothing, CONFIG) is nothing
