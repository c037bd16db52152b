"""Rows in quarantine: counted by reason, read again by the rules of today, or discarded."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import RowCheck
from chronotope.datasets.occurrences import OCCURRENCE, OccurrenceCounter
from chronotope.datasets.row_filters import filter_column
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.anomaly_guard import ANOMALOUS
from chronotope.feedback.payloads import UNREADABLE, payloads_to_batch
from chronotope.feedback.sql_feed import TABLE_SOURCE
from chronotope.ingestion import IngestBatch, ingest, payload_rows
from chronotope.ingestion.source_batches import normalise_batch
from chronotope.lake import Lake

QUARANTINE: Final = "quarantine"
_ROW: Final = "row"
_BATCH_ROWS: Final = 50_000
_COLUMNS: Final = [c.RUN_ID, c.SOURCE, _ROW, c.REASONS, c.QUARANTINED_AT, c.PAYLOAD]


class RefusedReason(NamedTuple):
    """Rows of one source that were refused for one reason.

    Attributes:
        source: Where the rows came from: the dataset, one of its tables, a file of the inbox,
            the service, or the SQL feed.
        reason: The reason.
        n_rows: Number of rows; a row with several reasons counts for each.
        run_id: Run that refused the latest of them.
        example: That row, as JSON.
    """

    source: str
    reason: str
    n_rows: int
    run_id: str
    example: str


@dataclass(slots=True)
class ReplayReport:
    """Row counts of a replay; new + duplicates + dropped + refused + skipped = rows chosen.

    Attributes:
        n_rows: Number of rows chosen.
        n_new: Number of events that the lake did not have.
        n_duplicates: Number of rows that are the same event as another row or one in the lake.
        n_dropped: Number of rows dropped by filters of the dataset or by the opt-out list.
        n_refused: Number of rows refused again; they stay in quarantine.
        n_skipped: Number of rows that a replay cannot read: lines that are no rows, rows of other
            tables, and anomalies.
        reasons: Number of rows refused again by reason.
    """

    n_rows: int = 0
    n_new: int = 0
    n_duplicates: int = 0
    n_dropped: int = 0
    n_refused: int = 0
    n_skipped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def read_refused(
    event_lake: Lake, run_id: str | None = None, reason: str | None = None
) -> pa.Table:
    """Rows in quarantine, the latest last.

    Args:
        event_lake: Lake of the dataset.
        run_id: Run that refused them; None for all runs.
        reason: Text that one of their reasons contains; None for all reasons.
    """
    if not event_lake.exists(QUARANTINE):
        empty_columns = {name: pa.array([], pa.string()) for name in _COLUMNS}
        return pa.table({**empty_columns, c.REASONS: pa.array([], pa.list_(pa.string()))})
    refused = event_lake.read(QUARANTINE, columns=_COLUMNS).sort_by(c.QUARANTINED_AT)
    if run_id is not None:
        refused = refused.filter(pc.equal(refused.column(c.RUN_ID), run_id))
    if reason is None or not len(refused):
        return refused
    reason_lists = refused.column(c.REASONS).combine_chunks()
    matches = pc.match_substring(pc.list_flatten(reason_lists), reason)
    positions = pc.unique(pc.list_parent_indices(reason_lists).filter(matches))
    return refused.take(positions)


def count_reasons(refused: pa.Table) -> list[RefusedReason]:
    """Sources and reasons of rows in quarantine, the most frequent first.

    Args:
        refused: Rows, as ``read_refused`` returns them.
    """
    reason_lists = refused.column(c.REASONS).combine_chunks()
    parents = pc.list_parent_indices(reason_lists)
    by_reason = pa.table(
        {
            c.SOURCE: refused.column(c.SOURCE).take(parents),
            c.REASONS: pc.list_flatten(reason_lists),
            _ROW: parents,
        }
    )
    totals = by_reason.group_by([c.SOURCE, c.REASONS]).aggregate([(_ROW, "count"), (_ROW, "max")])
    totals = totals.sort_by([(f"{_ROW}_count", "descending"), (c.REASONS, "ascending")])
    latest_rows = refused.take(totals.column(f"{_ROW}_max")).to_pylist()
    return [
        RefusedReason(
            total[c.SOURCE],
            total[c.REASONS],
            total[f"{_ROW}_count"],
            latest_row[c.RUN_ID],
            latest_row[c.PAYLOAD],
        )
        for total, latest_row in zip(totals.to_pylist(), latest_rows, strict=True)
    ]


def replay_refused(
    event_lake: Lake,
    dataset_spec: DatasetSpec,
    refused: pa.Table,
    check_of: Callable[[Lake], RowCheck],
    target_lake: Lake | None = None,
) -> ReplayReport:
    """Read refused rows again by the dataset's rules of today, and store those that pass.

    Rows that pass leave the quarantine after they were committed: a kill between the two leaves
    them in both, and the next replay counts them as duplicates. The others stay as they are.

    Args:
        event_lake: Lake of the dataset.
        dataset_spec: The dataset.
        refused: Rows, as ``read_refused`` returns them.
        check_of: Check of rows that come after those of a lake, as at every ingestion.
        target_lake: Where rows are stored instead, which leaves the quarantine untouched.

    Raises:
        ConfigError: Equal rows are events of their own: in a part of a delivery it is unknown
            which of them a row is.
        ValidationFailed: The rows fail a critical expectation as a whole; nothing was stored.
    """
    _require_own_identity(dataset_spec)
    report = ReplayReport(n_rows=len(refused))
    is_readable = pa.array(_readable(refused, dataset_spec), pa.bool_())
    report.n_skipped = len(refused) - (pc.sum(is_readable).as_py() or 0)
    readable = refused.filter(is_readable)
    for run_rows in _by_run(readable):
        row_check = check_of(event_lake)
        passing_rows = _passing_rows(run_rows, dataset_spec, row_check, report)
        if not len(passing_rows):
            continue
        run_id, source_name = (run_rows.column(name)[0].as_py() for name in (c.RUN_ID, c.SOURCE))
        counts = ingest(
            [_normalised(passing_rows, dataset_spec)],
            row_check=row_check,
            lake=target_lake or event_lake,
            run_id=f"{run_id}-replay",
            source=source_name,
            user_buckets=dataset_spec.user_buckets,
        )
        report.n_new += counts.n_good - counts.n_duplicates
        report.n_duplicates += counts.n_duplicates
        report.n_dropped += counts.n_dropped
        if target_lake is None:
            event_lake.release_quarantine(run_id, passing_rows.column(_ROW).to_pylist())
    return report


def discard_refused(event_lake: Lake, refused: pa.Table) -> int:
    """Delete rows from quarantine; returns how many.

    Args:
        event_lake: Lake of the dataset.
        refused: Rows, as ``read_refused`` returns them.
    """
    return sum(
        event_lake.release_quarantine(
            run_rows.column(c.RUN_ID)[0].as_py(), run_rows.column(_ROW).to_pylist()
        )
        for run_rows in _by_run(refused)
    )


def _require_own_identity(dataset_spec: DatasetSpec) -> None:
    if OCCURRENCE in dataset_spec.identity:
        raise ConfigError(
            "Refused rows of this dataset cannot be read again alone: with "
            "`identity: occurrence` equal rows are events of their own, told apart by their "
            "order in the whole source",
            received=f"identity: {', '.join(dataset_spec.identity)}",
            way_out="Correct the YAML or the file and run `chronotope ingest`, which reads the "
            "whole source again and stores only what is new",
        )


def _readable(refused: pa.Table, dataset_spec: DatasetSpec) -> list[bool]:
    """Which rows are events with values, and not anomalies that a label has to release."""
    other_tables = f"{dataset_spec.name}."
    return [
        not _is_line(json.loads(row[c.PAYLOAD]))
        and not row[c.SOURCE].startswith(other_tables)
        and ANOMALOUS not in row[c.REASONS]
        for row in refused.select([c.PAYLOAD, c.SOURCE, c.REASONS]).to_pylist()
    ]


def _is_line(raw_row: dict[str, object]) -> bool:
    """Whether a payload is a line of a text file, or a posted text, that is no row."""
    return "source_line" in raw_row or raw_row.get(UNREADABLE) is not None


def _by_run(refused: pa.Table) -> Iterator[pa.Table]:
    """Rows of one run and source at a time, at most ``_BATCH_ROWS``."""
    for run_id in pc.unique(refused.column(c.RUN_ID)).to_pylist():
        run_rows = refused.filter(pc.equal(refused.column(c.RUN_ID), run_id))
        for first_row in range(0, len(run_rows), _BATCH_ROWS):
            yield run_rows.slice(first_row, _BATCH_ROWS)


def _passing_rows(
    run_rows: pa.Table, dataset_spec: DatasetSpec, row_check: RowCheck, report: ReplayReport
) -> pa.Table:
    """The rows that are not refused again; the others are counted in the report."""
    batch = _normalised(run_rows, dataset_spec)
    is_passing = np.ones(len(run_rows), np.bool_)
    refusals = [batch.refused]
    if len(batch.rows):
        failing = row_check(batch.rows).failing
        positions = batch.row_positions[failing.column(_ROW).to_numpy().astype(np.int64)]
        refusals.append(failing.set_column(0, _ROW, pa.array(positions)))
    for refusal in refusals:
        is_passing[refusal.column(_ROW).to_numpy().astype(np.int64)] = False
        report.reasons.update(pc.list_flatten(refusal.column(c.REASONS)).to_pylist())
    report.n_refused += int((~is_passing).sum())
    return run_rows.filter(pa.array(is_passing))


def _normalised(run_rows: pa.Table, dataset_spec: DatasetSpec) -> IngestBatch:
    """Rows of one run and source as a batch, by the rules of the source they came from."""
    source_name = run_rows.column(c.SOURCE)[0].as_py()
    payloads = run_rows.column(c.PAYLOAD).to_pylist()
    if source_name == dataset_spec.name:
        raw_rows = payload_rows(payloads)
        _require_filter_columns(dataset_spec, raw_rows)
        return normalise_batch(dataset_spec, raw_rows, OccurrenceCounter())
    feed_spec = dataset_spec.feedback if source_name == TABLE_SOURCE else None
    return payloads_to_batch([json.loads(payload) for payload in payloads], dataset_spec, feed_spec)


def _require_filter_columns(dataset_spec: DatasetSpec, raw_rows: pa.Table) -> None:
    missing_columns = [
        column_name
        for column_name in dataset_spec.keep_rules
        if not {column_name, filter_column(column_name)} & set(raw_rows.column_names)
    ]
    if missing_columns:
        raise ConfigError(
            "Filters of the dataset read columns that the refused rows were stored without",
            received=f"keep: {', '.join(missing_columns)}",
            way_out="Run `chronotope ingest`, which reads the source again",
        )
