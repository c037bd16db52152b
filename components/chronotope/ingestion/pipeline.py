"""Ingestion of a delivery: check and stage its batches, then commit all of them or none."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData, StoreError
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.validation_result import FailedExpectation, Severity
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.ingestion.quarantine_payloads import to_payloads
from chronotope.lake import Lake
from chronotope.lake.bucketed import StagedDelivery
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.lake.store_errors import translate_store_errors


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


@runtime_checkable
class WholeBatchCheck(RowCheck, Protocol):
    """Row check that also checks all batches of a delivery together, before the commit."""

    def delivery_findings(self) -> tuple[FailedExpectation, ...]:
        """Failed expectations on the complete delivery.

        Raises:
            ValidationFailed: A critical expectation failed.
        """


SHOWN_ROW_CHARS: Final = 200
"""Characters of a refused row that a message shows."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Result of an ingestion; ``n_good + n_quarantined + n_dropped == n_read``.

    Attributes:
        n_read: Number of rows read.
        n_good: Number of valid rows, including events that the lake already had.
        n_duplicates: Number of valid rows that the lake already had or the delivery repeats.
        n_quarantined: Number of refused rows.
        n_dropped: Number of rows that the filters of the source dropped.
        reasons: Number of refused rows by reason; a row may have several reasons.
        dropped: Number of dropped rows by filter.
        repeated: Rows of the delivery that repeat the identity of an earlier one.
        findings: Failed expectations; one that failed in several batches is listed once.
        version: Version of the events table afterwards; None if the table does not exist.
        first_refused: First refused row as JSON, cut to ``SHOWN_ROW_CHARS``; empty if none is.
    """

    n_read: int
    n_good: int
    n_duplicates: int
    n_quarantined: int
    n_dropped: int
    reasons: dict[str, int]
    dropped: dict[str, int]
    repeated: RepeatedRows
    findings: tuple[FailedExpectation, ...]
    version: int | None
    first_refused: str = ""


@dataclass(slots=True)
class _Progress:
    """Running totals of an ingestion while its batches are staged."""

    delivery: StagedDelivery
    excluded_rows: ExcludedRows
    n_read: int = 0
    n_good: int = 0
    n_refused: int = 0
    n_refused_lines: int = 0
    first_refused: str = ""
    reasons: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    missing_numbers: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str], FailedExpectation] = field(default_factory=dict)

    def add_findings(self, findings: Iterable[FailedExpectation]) -> None:
        """Add failed expectations; a later one replaces an earlier one on the same column."""
        self.findings |= {(finding.expectation, finding.column): finding for finding in findings}


def ingest(
    batches: Iterable[IngestBatch],
    *,
    row_check: RowCheck,
    lake: Lake,
    run_id: str,
    source: str,
    user_buckets: int = 1,
) -> IngestReport:
    """Write the valid rows of a delivery to the lake and the refused ones to quarantine.

    Batches are checked and staged one at a time. Valid rows are committed together, after the
    last batch has passed. Repeating an ingestion is safe: events are merged by id.

    Args:
        batches: Batches of the delivery.
        row_check: Check of the normalised rows of a batch; a ``WholeBatchCheck`` also checks the
            complete delivery.
        lake: Destination of valid and refused rows.
        run_id: Id of this run; repeating a run does not quarantine its rows twice.
        source: Description of the origin of the delivery, shown with quarantined rows.
        user_buckets: Number of buckets of users of a new lake.

    Raises:
        NotEnoughData: The delivery has no rows.
        ValidationFailed: A critical expectation failed; nothing was written.
        StoreError: The row counts do not add up, or the lake cannot be written.
    """
    run_columns = {c.RUN_ID: run_id, c.SOURCE: source}
    with lake.delivery(user_buckets) as delivery:
        progress = _Progress(delivery, ExcludedRows.of_lake(lake))
        for batch_idx, batch in enumerate(batches):
            _stage(progress, batch_idx, batch, row_check, run_columns)
        if not progress.n_read:
            raise NotEnoughData(
                "The delivery has no rows",
                received=source,
                way_out="Check the file or query of the source",
            )
        if isinstance(row_check, WholeBatchCheck):
            progress.add_findings(row_check.delivery_findings())
        progress.add_findings(_missing_findings(progress.missing_numbers))
        progress.add_findings(_bucket_findings(user_buckets, delivery.n_buckets))
        return _commit(progress, lake)


def _stage(
    progress: _Progress,
    batch_idx: int,
    batch: IngestBatch,
    row_check: RowCheck,
    run_columns: dict[str, str],
) -> None:
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
    good_rows, dropped_rows = progress.excluded_rows.filter_events(good_rows)
    refused_rows, dropped_refused = progress.excluded_rows.filter_refused(refused_rows, batch.raw)
    dropped = Counter(batch.dropped) + Counter(dropped_rows) + Counter(dropped_refused)
    n_dropped = sum(dropped.values())
    _require_conserved(len(batch.raw), len(good_rows), len(refused_rows), n_dropped)
    if len(good_rows):
        progress.delivery.add(good_rows)
    if len(refused_rows):
        n_rows_before = progress.n_read - progress.n_refused_lines
        quarantine_rows = _to_quarantine_rows(
            batch.raw, refused_rows, run_columns | {c.SUITE: suite_name}, n_rows_before
        )
        _stage_refused(progress, f"{batch_idx:06d}", quarantine_rows)
    progress.dropped.update(dropped)
    progress.missing_numbers.update(batch.missing_numbers)
    progress.n_read += len(batch.raw)
    progress.n_good += len(good_rows)
    progress.n_refused += len(refused_rows)
    if batch.refused_lines is not None and len(batch.refused_lines):
        quarantine_rows = line_quarantine_rows(
            batch.refused_lines, run_columns, progress.n_refused_lines
        )
        _stage_refused(progress, f"{batch_idx:06d}-lines", quarantine_rows)
        progress.n_read += len(quarantine_rows)
        progress.n_refused += len(quarantine_rows)
        progress.n_refused_lines += len(quarantine_rows)


def _stage_refused(progress: _Progress, part_name: str, quarantine_rows: pa.Table) -> None:
    with translate_store_errors("quarantine"):
        pq.write_table(quarantine_rows, progress.delivery.folder / f"refused-{part_name}.parquet")
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


def _commit(progress: _Progress, lake: Lake) -> IngestReport:
    for refused_file in sorted(progress.delivery.folder.glob("refused-*.parquet")):
        lake.quarantine(pq.read_table(refused_file))
    n_duplicates, events_version = 0, lake.version("events") if lake.exists("events") else None
    repeated_rows = RepeatedRows()
    if progress.n_good:
        merge_counts = lake.merge_delivery(progress.delivery)
        repeated_rows = merge_counts.repeated
        n_duplicates, events_version = merge_counts.duplicates, merge_counts.version
        _require_conserved(progress.n_good, merge_counts.inserted, n_duplicates)
    return IngestReport(
        n_read=progress.n_read,
        n_good=progress.n_good,
        n_duplicates=n_duplicates,
        n_quarantined=progress.n_refused,
        n_dropped=progress.dropped.total(),
        reasons=dict(progress.reasons.most_common()),
        dropped=dict(progress.dropped.most_common()),
        repeated=repeated_rows,
        findings=tuple(progress.findings.values()),
        version=events_version,
        first_refused=progress.first_refused,
    )


def _missing_findings(missing_numbers: Counter[str]) -> list[FailedExpectation]:
    """A finding for each column with values such as NULL or a dash, which are not stored."""
    return [
        FailedExpectation(
            f"{column_name} is a number in every row that has one",
            column_name,
            Severity.INFO,
            n_missing,
            f"{n_missing:,} values such as NULL, NaN or a dash are missing numbers",
        )
        for column_name, n_missing in sorted(missing_numbers.items())
    ]


def _bucket_findings(wanted_buckets: int, n_buckets: int) -> list[FailedExpectation]:
    """A finding if the lake has another number of buckets than the dataset's YAML wants."""
    if wanted_buckets in (1, n_buckets):
        return []
    return [
        FailedExpectation(
            f"the events are stored in {wanted_buckets:,} buckets of users",
            c.USER_ID,
            Severity.INFO,
            0,
            f"the lake has {n_buckets:,}; `chronotope rebucket --buckets {wanted_buckets}` "
            "migrates it",
        )
    ]


def _require_conserved(n_total: int, *part_counts: int) -> None:
    """Check that the parts of a number of rows add up to it."""
    if sum(part_counts) != n_total:
        raise StoreError(
            "Rows were lost or duplicated during ingestion: the parts do not add up",
            received=f"{' + '.join(map(str, part_counts))} != {n_total}",
            way_out="Writing stopped; check the function that normalised the batch",
        )
