"""Evaluation of a suite from the ranges of the columns alone: no row is looked at.

A bound on values that holds for minimum and maximum holds for each row. Where a suite has only
such expectations and all hold, no row fails it, and Great Expectations need not be started.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from chronotope.contracts.validation_result import FailedExpectation, Severity
from chronotope.validation.gx_context import load_suite
from chronotope.validation.suite import time_parameters

_VALUE_BOUND: Final = "expect_column_values_to_be_between"
_EXTREME_BOUNDS: Final = {
    "expect_column_max_to_be_between": "high",
    "expect_column_min_to_be_between": "low",
}
_ROW_COUNT: Final = "expect_table_row_count_to_be_between"
_BOUND_KWARGS: Final = frozenset({"column", "min_value", "max_value"})
_PARAMETER: Final = "$PARAMETER"


@dataclass(frozen=True, slots=True)
class ColumnRange:
    """Smallest and largest value of a column.

    Attributes:
        low, high: The extremes.
    """

    low: float
    high: float


ColumnRanges = Mapping[str, ColumnRange | None]
"""Range of each column of ``derive_columns``; None for a column without values."""


def range_findings(
    suite_path: Path, column_ranges: ColumnRanges, *, n_rows: int, checked_at: datetime
) -> tuple[FailedExpectation, ...] | None:
    """Findings of a suite on rows of which the ranges alone prove that none fails.

    Args:
        suite_path: JSON file of the suite.
        column_ranges: Ranges of the derived columns.
        n_rows: Number of rows.
        checked_at: Time of the check, with a time zone.

    Returns:
        Failed expectations on the table that are not critical; None where the ranges do not
        prove that every row passes, so that the rows have to be checked.
    """
    suite_parameters = time_parameters(checked_at)
    findings = []
    for expectation in load_suite(suite_path)["expectations"]:
        value_bounds = _value_bounds(expectation["kwargs"], suite_parameters)
        if value_bounds is None:
            return None
        observed_range = _observed_range(expectation["type"], value_bounds, column_ranges, n_rows)
        if observed_range is None:
            return None
        if observed_range is _NO_VALUES or value_bounds.contains(observed_range):
            continue
        table_finding = _table_finding(expectation, observed_range)
        if table_finding is None:
            return None
        findings.append(table_finding)
    return tuple(findings)


_NO_VALUES: Final = ColumnRange(0, 0)


@dataclass(frozen=True, slots=True)
class _ValueBounds:
    """Arguments of an expectation with the values of its parameters."""

    column_name: str
    min_value: float | None
    max_value: float | None

    def contains(self, column_range: ColumnRange) -> bool:
        """Whether a range lies within the bounds."""
        is_above = self.min_value is None or column_range.low >= self.min_value
        return is_above and (self.max_value is None or column_range.high <= self.max_value)


def _value_bounds(
    kwargs: Mapping[str, Any], suite_parameters: Mapping[str, int]
) -> _ValueBounds | None:
    """Bounds of an expectation; None where it has other arguments."""
    if not set(kwargs) <= _BOUND_KWARGS:
        return None
    limits = [
        suite_parameters.get(limit[_PARAMETER]) if isinstance(limit, dict) else limit
        for limit in (kwargs.get("min_value"), kwargs.get("max_value"))
    ]
    return _ValueBounds(kwargs.get("column", ""), limits[0], limits[1])


def _observed_range(
    expectation_type: str,
    value_bounds: _ValueBounds,
    column_ranges: ColumnRanges,
    n_rows: int,
) -> ColumnRange | None:
    """What an expectation bounds; None where it is no bound on a known column."""
    if expectation_type == _ROW_COUNT:
        return ColumnRange(n_rows, n_rows)
    if value_bounds.column_name not in column_ranges:
        return None
    column_range = column_ranges[value_bounds.column_name]
    if expectation_type == _VALUE_BOUND:
        return _NO_VALUES if column_range is None else column_range
    if expectation_type not in _EXTREME_BOUNDS or column_range is None:
        return None
    extreme_value = getattr(column_range, _EXTREME_BOUNDS[expectation_type])
    return ColumnRange(extreme_value, extreme_value)


def _table_finding(
    expectation: Mapping[str, Any], observed_range: ColumnRange
) -> FailedExpectation | None:
    """Finding of an expectation on the extreme of a column; None for one on rows or critical."""
    severity = Severity(expectation.get("severity", Severity.CRITICAL))
    if expectation["type"] not in _EXTREME_BOUNDS or severity is Severity.CRITICAL:
        return None
    expectation_text = expectation.get("meta", {}).get("description", expectation["type"])
    column_name = expectation["kwargs"]["column"]
    return FailedExpectation(expectation_text, column_name, severity, 0, str(observed_range.low))
