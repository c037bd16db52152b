"""Batches of a delivery, checked and staged one at a time, and the running totals."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.validation_result import FailedExpectation
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.ingestion.quarantine_payloads import to_payloads
from chronotope.lake.bucketed import StagedDelivery, extend_delivery
from chronotope.lake.store_errors import translate_store_errors

SHOWN_ROW_CHARS: Final = 200
"""Characters of a refused row that a message shows."""


@dataclass(frozen=True, slots=True)
class IngestBatch:
    """One batch of a delivery.

    Attributes:
        raw: Rows as read from the source; refused ones are quarantined in this form.
        rows: Normalised rows in the ``EVENTS`` schema.
        row_positions: Position in ``raw`` of each normalised row, shape (n_rows,).
        refused: ``row`` (position in ``raw``) and ``reasons`` of the rows that could not be
            normalised.
        dropped: Number of rows of ``raw`` dropped by each filter of the source.
        refused_lines: Lines of a text file that are no rows: ``source_file``, ``source_line``,
            ``source_text`` and ``reason``. They count as read and quarantined; None if there are
            none.
        missing_numbers: Number of values by column that state that a number is missing.
    """

    raw: pa.Table
    rows: pa.Table
    row_positions: npt.NDArray[np.int64]
    refused: pa.Table
    dropped: dict[str, int] = field(default_factory=dict)
    refused_lines: pa.Table | None = None
    missing_numbers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """Staged refused rows; their positions count from the beginning of their part.

    Attributes:
        path: Parquet file in the form of the quarantine.
        n_rows_before: Number of rows of the delivery before the part.
        n_lines_before: Number of refused lines of the delivery before the part.
    """

    path: Path
    n_rows_before: int = 0
    n_lines_before: int = 0

    def rows(self) -> pa.Table:
        """The rows with their positions in the delivery; those of lines are negative."""
        with translate_store_errors("quarantine"):
            refused_rows = pq.read_table(self.path)
        positions = refused_rows.column("row")
        shifted = pc.if_else(
            pc.less(positions, 0),
            pc.subtract(positions, self.n_lines_before),
            pc.add(positions, self.n_rows_before),
        )
        row_field = refused_rows.schema.get_field_index("row")
        return refused_rows.set_column(row_field, "row", shifted)


@dataclass(slots=True)
class DeliveryProgress:
    """Running totals of a delivery, or of a part of it, while its batches are staged.

    Attributes:
        delivery: The staged rows.
        n_read: Number of rows and refused lines read.
        n_good: Number of staged rows.
        n_refused: Number of refused rows and lines.
        n_refused_lines: Number of refused lines among them.
        first_refused: First refused row as JSON, shortened.
        refused_files: Files with refused rows, in the order of the source.
        reasons: Number of refused rows by reason.
        dropped: Number of dropped rows by filter.
        missing_numbers: Number of values by column that state that a number is missing.
        findings: Failed expectations by expectation and column.
    """

    delivery: StagedDelivery
    n_read: int = 0
    n_good: int = 0
    n_refused: int = 0
    n_refused_lines: int = 0
    first_refused: str = ""
    refused_files: list[RefusedFile] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    missing_numbers: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str], FailedExpectation] = field(default_factory=dict)

    def add_findings(self, findings: Iterable[FailedExpectation]) -> None:
        """Add failed expectations; a later one replaces an earlier one on the same column."""
        self.findings |= {(finding.expectation, finding.column): finding for finding in findings}

    def extend(self, part: "DeliveryProgress") -> None:
        """Add the totals and staged rows of the part that follows in the source."""
        n_rows_before = self.n_read - self.n_refused_lines
        self.refused_files += [
            RefusedFile(
                refused_file.path,
                refused_file.n_rows_before + n_rows_before,
                refused_file.n_lines_before + self.n_refused_lines,
            )
            for refused_file in part.refused_files
        ]
        extend_delivery(self.delivery, part.delivery)
        self.n_read += part.n_read
        self.n_good += part.n_good
        self.n_refused += part.n_refused
        self.n_refused_lines += part.n_refused_lines
        self.first_refused = self.first_refused or part.first_refused
        self.reasons.update(part.reasons)
        self.dropped.update(part.dropped)
        self.missing_numbers.update(part.missing_numbers)
        self.findings |= part.findings


def stage_batch(
    progress: DeliveryProgress,
    batch: IngestBatch,
    row_check: RowCheck,
    excluded_rows: ExcludedRows,
    run_columns: dict[str, str],
) -> None:
    """Check a batch, stage its valid rows, and write the refused ones to a file.

    Args:
        progress: Totals, which are updated.
        batch: The batch.
        row_check: Check of its rows.
        excluded_rows: Filter of rows that are not stored.
        run_columns: Id of the run and description of the source.

    Raises:
        ValidationFailed: A critical expectation on the table failed.
        StoreError: The row counts do not add up, or a file cannot be written.
    """
    refused_rows = batch.refused.select(["row", c.REASONS])
    good_rows, suite_name = batch.rows, "reading"
    if len(batch.rows):
        validation_result = row_check(batch.rows)
        suite_name = validation_result.suite
        failing_positions = np.asarray(
            validation_result.failing.column("row").to_numpy(), dtype=np.int64
        )
        failing_rows = validation_result.failing.set_column(
            0, "row", pa.array(batch.row_positions[failing_positions])
        )
        refused_rows = pa.concat_tables([refused_rows, failing_rows], promote_options="permissive")
        keep_mask = np.ones(len(batch.rows), dtype=np.bool_)
        keep_mask[failing_positions] = False
        good_rows = batch.rows if keep_mask.all() else batch.rows.filter(pa.array(keep_mask))
        progress.add_findings(validation_result.findings)
    good_rows, dropped_rows = excluded_rows.filter_events(good_rows)
    refused_rows, dropped_refused = excluded_rows.filter_refused(refused_rows, batch.raw)
    dropped = Counter(batch.dropped) + Counter(dropped_rows) + Counter(dropped_refused)
    n_dropped = sum(dropped.values())
    require_conserved(len(batch.raw), len(good_rows), len(refused_rows), n_dropped)
    if len(good_rows):
        progress.delivery.add(good_rows)
    if len(refused_rows):
        n_rows_before = progress.n_read - progress.n_refused_lines
        quarantine_rows = _to_quarantine_rows(
            batch.raw, refused_rows, run_columns | {c.SUITE: suite_name}, n_rows_before
        )
        _stage_refused(progress, quarantine_rows)
    progress.dropped.update(dropped)
    progress.missing_numbers.update(batch.missing_numbers)
    progress.n_read += len(batch.raw)
    progress.n_good += len(good_rows)
    progress.n_refused += len(refused_rows)
    if batch.refused_lines is not None and len(batch.refused_lines):
        _stage_lines(progress, batch.refused_lines, run_columns)


def _stage_lines(
    progress: DeliveryProgress, refused_lines: pa.Table, run_columns: dict[str, str]
) -> None:
    """Write refused lines to a file, and count them."""
    quarantine_rows = line_quarantine_rows(refused_lines, run_columns, progress.n_refused_lines)
    _stage_refused(progress, quarantine_rows)
    progress.n_read += len(quarantine_rows)
    progress.n_refused += len(quarantine_rows)
    progress.n_refused_lines += len(quarantine_rows)


def _stage_refused(progress: DeliveryProgress, quarantine_rows: pa.Table) -> None:
    file_path = progress.delivery.folder / f"refused-{uuid4()}.parquet"
    with translate_store_errors("quarantine"):
        pq.write_table(quarantine_rows, file_path)
    progress.refused_files.append(RefusedFile(file_path))
    progress.reasons.update(pc.list_flatten(quarantine_rows.column(c.REASONS)).to_pylist())
    if not progress.first_refused and len(quarantine_rows):
        first_row: str = quarantine_rows.column(c.PAYLOAD)[0].as_py()
        progress.first_refused = first_row[:SHOWN_ROW_CHARS]


def line_quarantine_rows(
    refused_lines: pa.Table, run_columns: dict[str, str], n_before: int = 0
) -> pa.Table:
    """Refused lines of text files in the form of the quarantine.

    Args:
        refused_lines: ``source_file``, ``source_line``, ``source_text`` and ``reason``.
        run_columns: Id of the run and description of the source.
        n_before: Number of refused lines of the run before these.
    """
    line_positions = pa.array(np.arange(len(refused_lines)), pa.int64())
    reason_lists = pa.array([[reason] for reason in refused_lines.column("reason").to_pylist()])
    refused_rows = pa.table({"row": line_positions, c.REASONS: reason_lists})
    quarantine_rows = _to_quarantine_rows(
        refused_lines, refused_rows, run_columns | {c.SUITE: "reading"}, n_before
    )
    # Negative: numbers of lines and positions of rows must not meet.
    line_keys = pc.subtract(-1, quarantine_rows.column("row"))
    row_field = quarantine_rows.schema.get_field_index("row")
    return quarantine_rows.set_column(row_field, "row", line_keys)


def _to_quarantine_rows(
    raw_rows: pa.Table, refused_rows: pa.Table, run_columns: dict[str, str], n_before: int
) -> pa.Table:
    row_positions = refused_rows.column("row").combine_chunks()
    n_refused = len(refused_rows)
    quarantined_at = pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            **{
                column_name: pa.repeat(value, n_refused)
                for column_name, value in run_columns.items()
            },
            c.REASONS: refused_rows.column(c.REASONS),
            c.QUARANTINED_AT: pa.repeat(quarantined_at, n_refused),
            c.PAYLOAD: to_payloads(raw_rows.take(row_positions)),
            "row": pc.add(row_positions, n_before),
        }
    )


def require_conserved(n_total: int, *part_counts: int) -> None:
    """Check that the parts of a number of rows add up to it.

    Args:
        n_total: Number of rows.
        part_counts: Numbers of rows of its parts.

    Raises:
        StoreError: They do not.
    """
    if sum(part_counts) != n_total:
        raise StoreError(
            "Rows were lost or duplicated during ingestion: the parts do not add up",
            received=f"{' + '.join(map(str, part_counts))} != {n_total}",
            way_out="Writing stopped; check the function that normalised the batch",
        )
