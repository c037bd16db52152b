"""What a validation says of a batch."""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class Severity(StrEnum):
    """How much a failed expectation matters."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class FailedExpectation:
    """One expectation that did not hold.

    Attributes:
        expectation: What was expected, in words a person reads.
        column: The column concerned, or "" for a table-level expectation.
        severity: How much it matters.
        n_unexpected: Failing rows; 0 for a table-level expectation.
        observed: What was seen instead, shortened.
    """

    expectation: str
    column: str
    severity: Severity
    n_unexpected: int
    observed: str = ""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Result of checking one batch.

    Attributes:
        suite: Name of the suite.
        failing: Row positions that failed and why; ``row`` int64 and ``reasons``
            list<string>, one row a failing row.
        findings: Expectations that did not hold, worst first.
        n_rows: Rows looked at.
    """

    suite: str
    failing: pa.Table
    findings: tuple[FailedExpectation, ...]
    n_rows: int
