"""Bounds of a suite from ranges: the findings of Great Expectations, or no proof."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chronotope.validation import check_events
from chronotope.validation.suite_bounds import ColumnRange, range_findings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RANGES = {"occurred_s": ColumnRange(1_700_000_000, 1_700_000_500), "lat": None}


def expectation(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {"description": kind}}


def found(folder: Path, *expectations: dict[str, Any]) -> Any:
    suite_path = folder / "suite.json"
    suite_path.write_text(json.dumps({"name": "s", "expectations": expectations}))
    return range_findings(suite_path, RANGES, n_rows=5, checked_at=NOW)


BETWEEN = "expect_column_values_to_be_between"


@pytest.mark.parametrize(
    "passing",
    [
        expectation("expect_table_row_count_to_be_between", min_value=1),
        expectation(BETWEEN, column="occurred_s", min_value=1, max_value={"$PARAMETER": "now_s"}),
        expectation(BETWEEN, column="lat", min_value=-90, max_value=90),
        expectation("expect_column_min_to_be_between", column="occurred_s", min_value=5),
    ],
    ids=["rows", "values", "no values", "minimum"],
)
def test_bounds_that_hold_for_the_ranges_give_no_finding(
    tmp_path: Path, passing: dict[str, Any]
) -> None:
    assert found(tmp_path, passing) == ()


@pytest.mark.parametrize(
    "open_question",
    [
        expectation("expect_table_row_count_to_be_between", min_value=6),
        expectation(BETWEEN, column="occurred_s", max_value=1_700_000_499),
        expectation(BETWEEN, "warning", column="occurred_s", max_value=1_700_000_499),
        expectation(BETWEEN, column="price", min_value=0),
        expectation(BETWEEN, column="occurred_s", min_value=0, mostly=0.9),
        expectation("expect_column_max_to_be_between", column="occurred_s", max_value=1),
        expectation("expect_column_max_to_be_between", "info", column="lat", max_value=1),
        expectation("expect_column_values_to_match_regex", column="occurred_s", regex="1"),
    ],
    ids=[
        "rows",
        "values",
        "warning",
        "unknown column",
        "mostly",
        "critical maximum",
        "maximum of nothing",
        "other type",
    ],
)
def test_what_ranges_do_not_prove_is_left_to_the_rows(
    tmp_path: Path, open_question: dict[str, Any]
) -> None:
    assert found(tmp_path, open_question) is None


def test_a_finding_on_an_extreme_is_that_of_great_expectations(tmp_path: Path) -> None:
    stale = expectation(
        "expect_column_max_to_be_between",
        "info",
        column="occurred_s",
        min_value={"$PARAMETER": "fresh_s"},
    )
    findings = found(tmp_path, stale)
    times = pa.array([1_700_000_000_000_000, 1_700_000_500_000_000]).cast(pa.timestamp("us", "UTC"))
    rows = pa.table(
        {"event_id": ["a", "b"], "user_id": ["u", "v"], "item_id": ["i", "i"], "occurred_at": times}
    )
    assert findings == check_events(tmp_path / "suite.json", checked_at=NOW)(rows).findings
    assert len(findings) == 1
