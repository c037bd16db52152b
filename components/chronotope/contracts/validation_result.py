"""Result of validating a batch of rows against expectations."""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class Severity(StrEnum):
    """Severity of a failed expectation."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class FailedExpectation:
    """One expectation that failed.

    Attributes:
        expectation: Description of the expectation in plain text.
        column: The column concerned; "" for a table-level expectation.
        severity: Severity of the failure.
        n_unexpected: Number of failing rows; 0 for a table-level expectation.
        observed: The observed value, shortened.
    """

    expectation: str
    column: str
    severity: Severity
    n_unexpected: int
    observed: str = ""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Result of validating one batch.

    Attributes:
        suite: Name of the expectation suite.
        failing: Failing rows, one row each: position ``row`` int64 and ``reasons``
            list<string>.
        findings: Failed expectations, most severe first.
        n_rows: Number of rows checked.
    """

    suite: str
    failing: pa.Table
    findings: tuple[FailedExpectation, ...]
    n_rows: int
