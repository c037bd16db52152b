"""Ingestion of items and users: failing rows and refused lines go to quarantine."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.schemas import INSTANT
from chronotope.contracts.validation_result import ValidationResult
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.ingestion.batch_staging import line_quarantine_rows
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.ingestion.quarantine_payloads import to_payloads
from chronotope.lake import Lake
from chronotope.lake.store import ROW


@dataclass(frozen=True, slots=True)
class TableReport:
    """Result of ingesting items or users; ``n_good + n_quarantined == n_read``.

    Attributes:
        n_read: Number of rows and refused lines.
        n_good: Number of rows that passed their suite.
        n_quarantined: Number of rows and lines in quarantine.
        reasons: Number of refused rows and lines by reason; a row may have several reasons.
    """

    n_read: int = 0
    n_good: int = 0
    n_quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def ingest_table(
    table_name: str,
    table_rows: pa.Table,
    source_report: SourceReport,
    *,
    row_check: RowCheck,
    lake: Lake,
    dataset_name: str,
    run_id: str,
) -> TableReport:
    """Validate items or users, quarantine failing rows and refused lines, and upsert the others.

    Args:
        table_name: ``items`` or ``users``.
        table_rows: Rows as read.
        source_report: Report of the reader.
        row_check: Check of the rows.
        lake: Destination of valid and refused rows.
        dataset_name: Name of the dataset.
        run_id: Id of the delivery.
    """
    if not len(table_rows):
        return TableReport()
    source_name = f"{dataset_name}.{table_name}"
    if table_name == "users":
        table_rows = ExcludedRows.of_lake(lake).filter_users(table_rows)
    line_reasons = quarantine_lines(source_report, source_name, run_id, lake)
    n_refused = line_reasons.total()
    validation_result = row_check(table_rows)
    failing_idx = validation_result.failing.column("row").combine_chunks()
    is_good = np.ones(len(table_rows), dtype=np.bool_)
    is_good[failing_idx.to_numpy()] = False
    lake.quarantine(quarantine_rows(source_name, table_rows, validation_result, run_id))
    upsert_rows = lake.upsert_items if table_name == "items" else lake.upsert_users
    upsert_rows(table_rows.filter(pa.array(is_good)))
    row_reasons = Counter(pc.list_flatten(validation_result.failing.column(c.REASONS)).to_pylist())
    return TableReport(
        n_read=len(table_rows) + n_refused,
        n_good=int(is_good.sum()),
        n_quarantined=len(failing_idx) + n_refused,
        reasons=dict((row_reasons + line_reasons).most_common()),
    )


def quarantine_lines(
    source_report: SourceReport, source_name: str, run_id: str, lake: Lake
) -> Counter[str]:
    """Quarantine the refused lines of a table that is no event log.

    Args:
        source_report: Report of the reader.
        source_name: Dataset and table.
        run_id: Id of the delivery.
        lake: Lake that holds the quarantine.

    Returns:
        Number of lines by reason.
    """
    refused_lines = source_report.take_refused()
    if len(refused_lines):
        run_columns = {c.SOURCE: source_name, c.RUN_ID: run_id}
        lake.quarantine(line_quarantine_rows(refused_lines, run_columns))
    return Counter(refused_lines.column("reason").to_pylist())


def quarantine_rows(
    source_name: str, table_rows: pa.Table, validation_result: ValidationResult, run_id: str
) -> pa.Table:
    """Rows that failed their suite, in the form of the quarantine.

    Args:
        source_name: Dataset and table.
        table_rows: The checked rows.
        validation_result: Result of their check.
        run_id: Id of the delivery.
    """
    failing_rows = validation_result.failing
    constant_columns = {c.SOURCE: source_name, c.SUITE: validation_result.suite, c.RUN_ID: run_id}
    quarantined_at = pa.scalar(datetime.now(UTC), INSTANT)
    quarantine_columns = {
        column_name: pa.repeat(constant_value, len(failing_rows))
        for column_name, constant_value in constant_columns.items()
    }
    quarantine_columns[c.QUARANTINED_AT] = pa.repeat(quarantined_at, len(failing_rows))
    quarantine_columns[c.REASONS] = failing_rows.column(c.REASONS)
    quarantine_columns[c.PAYLOAD] = to_payloads(table_rows.take(failing_rows.column("row")))
    return pa.table({**quarantine_columns, ROW: failing_rows.column("row")})
