"""Ingestion of a delivery: check and stage its batches, then commit all of them or none."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.validation_result import FailedExpectation, Severity
from chronotope.ingestion.batch_staging import (
    DeliveryProgress,
    IngestBatch,
    require_conserved,
    stage_batch,
)
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.lake import Lake
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.runtime.engine import Engine


@runtime_checkable
class WholeBatchCheck(RowCheck, Protocol):
    """Row check that also checks all batches of a delivery together, before the commit."""

    def delivery_findings(self) -> tuple[FailedExpectation, ...]:
        """Failed expectations on the complete delivery.

        Raises:
            ValidationFailed: A critical expectation failed.
        """


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
        progress, excluded_rows = DeliveryProgress(delivery), ExcludedRows.of_lake(lake)
        for batch in batches:
            stage_batch(progress, batch, row_check, excluded_rows, run_columns)
        return commit_delivery(progress, row_check, lake, source, user_buckets)


def commit_delivery(
    progress: DeliveryProgress,
    row_check: RowCheck,
    lake: Lake,
    source: str,
    user_buckets: int,
    engine: Engine | None = None,
) -> IngestReport:
    """Check a staged delivery as a whole, quarantine its refused rows and commit the others.

    Args:
        progress: The staged delivery.
        row_check: Check that has the counts of all batches.
        lake: Destination of valid and refused rows.
        source: Description of the origin of the delivery.
        user_buckets: Number of buckets of users of a new lake.
        engine: Engine of the tasks that merge by bucket; None for this process.

    Raises:
        NotEnoughData: The delivery has no rows.
        ValidationFailed: A critical expectation on the delivery failed.
        StoreError: The row counts do not add up, or the lake cannot be written.
    """
    if not progress.n_read:
        raise NotEnoughData(
            "The delivery has no rows",
            received=source,
            way_out="Check the file or query of the source",
        )
    if isinstance(row_check, WholeBatchCheck):
        progress.add_findings(row_check.delivery_findings())
    progress.add_findings(_missing_findings(progress.missing_numbers))
    progress.add_findings(_bucket_findings(user_buckets, progress.delivery.n_buckets))
    for refused_file in progress.refused_files:
        lake.quarantine(refused_file.rows())
    n_duplicates, events_version = 0, lake.version("events") if lake.exists("events") else None
    repeated_rows = RepeatedRows()
    if progress.n_good:
        merge_counts = lake.merge_delivery(progress.delivery, engine)
        repeated_rows = merge_counts.repeated
        n_duplicates, events_version = merge_counts.duplicates, merge_counts.version
        require_conserved(progress.n_good, merge_counts.inserted, n_duplicates)
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
