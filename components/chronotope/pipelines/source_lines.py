"""Lines of text files in the results of an ingestion, and rows and lines for the quarantine."""

from dataclasses import asdict
from datetime import UTC, datetime

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.schemas import INSTANT
from chronotope.contracts.validation_result import ValidationResult
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.ingestion import line_quarantine_rows
from chronotope.ingestion.quarantine_payloads import to_payloads
from chronotope.lake import Lake
from chronotope.lake.store import ROW
from chronotope.pipelines.results import SourceLines


def line_counts(lines: SourceLines | None) -> dict[str, int]:
    """Counts of lines by label: the lines of the files, then the parts that they are the sum of.

    Args:
        lines: Lines of a table's text files; None if it has none.
    """
    if lines is None:
        return {}
    optional_counts = {
        "lines: refused": lines.n_refused,
        "lines: blank": lines.n_blank,
        "lines: comments": lines.n_comment,
        "lines: skipped": lines.n_skipped,
        "rows over several lines": lines.n_multiline_rows,
        "quotation marks read as plain characters": lines.n_literal_quotes,
    }
    return {
        "lines of the files": lines.n_lines,
        "lines: header": lines.n_header,
        "lines: rows": lines.n_row_lines,
        **{label: n_lines for label, n_lines in optional_counts.items() if n_lines},
    }


def source_lines(source_report: SourceReport) -> SourceLines | None:
    """Counts of the lines of a table's text files; None if it has none.

    Args:
        source_report: Report of the reader.
    """
    return SourceLines(**asdict(source_report.totals())) if source_report.files else None


def quarantine_lines(
    source_report: SourceReport, source_name: str, run_id: str, event_lake: Lake
) -> int:
    """Quarantine the refused lines of a table that is no event log.

    Args:
        source_report: Report of the reader.
        source_name: Dataset and table.
        run_id: Id of the delivery.
        event_lake: Lake that holds the quarantine.

    Returns:
        Number of lines.
    """
    refused_lines = source_report.take_refused()
    if len(refused_lines):
        run_columns = {c.SOURCE: source_name, c.RUN_ID: run_id}
        event_lake.quarantine(line_quarantine_rows(refused_lines, run_columns))
    return len(refused_lines)


def table_quarantine_rows(
    source_name: str, table_rows: pa.Table, validation_result: ValidationResult, run_id: str
) -> pa.Table:
    """Rows of a table that fail their suite, in the form of the quarantine.

    Args:
        source_name: Dataset and table.
        table_rows: All rows.
        validation_result: Positions and reasons of the failing ones.
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
