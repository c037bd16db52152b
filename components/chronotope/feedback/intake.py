"""Intake of new interactions from log, inbox and SQL feed into the lake.

The watermark is advanced after each delivery.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.errors import ValidationFailed
from chronotope.datasets.normalise import REFUSED
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.values.private_rows import PrivateRows
from chronotope.feedback.anomaly_guard import AnomalyGuard, open_guard
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.inbox import Inbox
from chronotope.feedback.label_keys import resolved_labels
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.feedback.rate_guard import quarantine_excess
from chronotope.feedback.release_anomalies import release_events
from chronotope.feedback.sql_feed import TABLE_SOURCE, read_sql_feed
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark
from chronotope.ingestion import IngestBatch, IngestReport, ingest
from chronotope.lake import Lake
from chronotope.lake.interaction_log import InteractionLog
from chronotope.pipelines.ingest_checks import batch_check
from chronotope.runtime.state import document_exists, state_exists
from chronotope.runtime.workspace import Workspace

_LOG = logging.getLogger(__name__)

LOG_SOURCE: Final = "interactions"
"""Source name, in the quarantine, of rows from the interaction log of the service."""

FeedbackBatch = tuple[str, str, Sequence[object], Watermark]
"""Source name, run id, payloads, and the watermark to write once they are stored."""


@dataclass(slots=True)
class IntakeReport:
    """Row counts of an intake; new + duplicates + quarantined + dropped = read.

    Attributes:
        n_read: Number of interactions read.
        n_new: Number of events that the lake did not have.
        n_duplicates: Number of events that the lake had or that occurred twice.
        n_quarantined: Number of refused interactions.
        n_dropped: Number of rows of the feed that its filters dropped.
        reasons: Number of refused interactions by reason; one may have several.
        dropped: Number of dropped rows by filter.
        findings: Failed expectations with the observed values, as text.
        set_aside: Reason why a file of the inbox, or its end, was not read, by its name.
    """

    n_read: int = 0
    n_new: int = 0
    n_duplicates: int = 0
    n_quarantined: int = 0
    n_dropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)

    def add(self, ingest_report: IngestReport) -> None:
        """Add the counts of a delivery."""
        self.n_read += ingest_report.n_read
        self.n_new += ingest_report.n_good - ingest_report.n_duplicates
        self.n_duplicates += ingest_report.n_duplicates
        self.n_quarantined += ingest_report.n_quarantined
        self.n_dropped += ingest_report.n_dropped
        self.reasons.update(ingest_report.reasons)
        self.dropped.update(ingest_report.dropped)
        finding_texts = (
            f"{finding.expectation}: {finding.observed}" for finding in ingest_report.findings
        )
        self.findings += [
            finding_text for finding_text in finding_texts if finding_text not in self.findings
        ]


@dataclass(frozen=True, slots=True)
class Intake:
    """Sources, settings and destination of an intake.

    Attributes:
        spec: The dataset.
        workspace: Folders of the dataset.
        suites: Folder of the expectation suites.
        config: Rate limits and batch size.
        url: Database URL of the SQL feed, if the dataset's YAML names a Prefect block; else None.
    """

    spec: DatasetSpec
    workspace: Workspace
    suites: Path
    config: FeedbackConfig
    url: str | None = field(default=None, repr=False)  # it may hold a password

    @property
    def mark_path(self) -> Path:
        """File of the watermark."""
        return watermark_path(self.workspace, self.spec.name)

    @property
    def lake(self) -> Lake:
        """Lake of the dataset."""
        return Lake(self.workspace.lake(self.spec.name))

    @property
    def inbox(self) -> Path:
        """Inbox folder, from which ``*.jsonl`` files are read."""
        return inbox_dir(self.workspace, self.spec.name)


def watermark_path(workspace: Workspace, dataset: str) -> Path:
    """File of a dataset's watermark."""
    return workspace.root / "data" / "feedback" / dataset / "watermark.json"


def inbox_dir(workspace: Workspace, dataset: str) -> Path:
    """Inbox folder of a dataset."""
    return workspace.root / "data" / "inbox" / dataset


def run_intake(intake: Intake) -> IntakeReport:
    """Read the new interactions of all sources and write them to the lake or to quarantine.

    After an interruption, the next call reads the same deliveries under the same run ids, so no
    event is lost, and none is counted or quarantined twice.

    Args:
        intake: Sources, settings and destination.
    """
    intake_report, inbox_files = IntakeReport(), Inbox(intake.inbox)
    _reset_if_lake_replaced(intake)
    posted_labels = resolved_labels(intake.spec, intake.workspace)
    release_labelled(intake, posted_labels, intake_report)
    guard = _anomaly_guard(intake, posted_labels)
    for source_name, run_id, raw_payloads, next_watermark in _deliveries(intake, inbox_files):
        if raw_payloads:
            intake_report.add(
                _deliver(intake, raw_payloads, guard, source_name=source_name, run_id=run_id)
            )
        watermark = next_watermark.model_copy(update={"events": _events_version(intake)})
        write_watermark(intake.mark_path, watermark)
    intake_report.set_aside = inbox_files.set_aside
    return intake_report


def release_labelled(
    intake: Intake, posted_labels: Mapping[str, bool], intake_report: IntakeReport
) -> None:
    """Ingest events that were held out as anomalous and that a label calls genuine.

    Args:
        intake: Dataset and destination.
        posted_labels: Known outcomes by event id.
        intake_report: Counts, to which those of the released events are added.
    """
    genuine_ids = {event_id for event_id, is_bad in posted_labels.items() if not is_bad}
    if not genuine_ids or not intake.lake.exists("quarantine"):
        return
    row_check = batch_check(intake.lake, intake.suites)
    released = release_events(intake.lake, intake.spec, genuine_ids, row_check)
    if released is not None:
        intake_report.add(released)


def _anomaly_guard(intake: Intake, posted_labels: Mapping[str, bool]) -> AnomalyGuard | None:
    if not intake.config.hold_anomalies:
        return None
    return open_guard(intake.workspace.mlruns, intake.spec.name, intake.lake, posted_labels)


def _reset_if_lake_replaced(intake: Intake) -> None:
    """Reset the watermark if the lake was deleted, replaced or restored to an earlier version."""
    if not document_exists(intake.mark_path):
        return
    watermark, lake = read_watermark(intake.mark_path), intake.lake
    if watermark.events is None or lake.holds(EVENTS, watermark.events):
        # Kept up to date, since Delta deletes the log entries of old versions some day.
        present_version = _events_version(intake)
        if present_version != watermark.events:
            write_watermark(
                intake.mark_path, watermark.model_copy(update={"events": present_version})
            )
        return
    _LOG.warning(
        "The lake of %s does not have version %s of the events, to which feedback was written: "
        "all feedback is read again",
        intake.spec.name,
        watermark.events,
    )
    write_watermark(intake.mark_path, Watermark())


def _events_version(intake: Intake) -> TableVersion | None:
    return intake.lake.table_version(EVENTS) if intake.lake.exists(EVENTS) else None


def _deliveries(intake: Intake, inbox_files: Inbox) -> Iterator[FeedbackBatch]:
    yield from _from_log(intake)
    yield from _from_inbox(intake, inbox_files)
    sql_feed = intake.spec.feedback
    if sql_feed is not None:
        url, max_rows = intake.url or sql_feed.url or "", intake.config.batch_rows
        private_rows = PrivateRows.of(intake.spec.privacy, intake.spec.name, intake.spec.local_zone)
        for batch_digest, raw_payloads, next_watermark in read_sql_feed(
            sql_feed, url, intake.mark_path, max_rows, private_rows
        ):
            run_id = f"{intake.spec.name}-table-{batch_digest}"
            yield TABLE_SOURCE, run_id, raw_payloads, next_watermark


def _from_inbox(intake: Intake, inbox_files: Inbox) -> Iterator[FeedbackBatch]:
    for line_range, raw_payloads, next_watermark in inbox_files.deliveries(intake.mark_path):
        yield (
            f"inbox/{line_range.file}",
            f"{intake.spec.name}-inbox-{line_range.digest}",
            raw_payloads,
            next_watermark,
        )


def _from_log(intake: Intake) -> Iterator[FeedbackBatch]:
    log_path = intake.workspace.interactions(intake.spec.name)
    if not state_exists(log_path):
        return
    with closing(InteractionLog(log_path)) as interaction_log:
        while True:
            watermark = read_watermark(intake.mark_path).for_log(interaction_log.identity)
            raw_payloads, last_seq = _next_log_delivery(
                interaction_log, watermark, intake.config.batch_rows
            )
            if last_seq == watermark.seq:
                return
            # Written before the delivery, so that a resumed run repeats it with the same end.
            if last_seq != watermark.upto:
                write_watermark(intake.mark_path, watermark.model_copy(update={"upto": last_seq}))
            next_watermark = watermark.model_copy(update={"seq": last_seq, "upto": last_seq})
            run_id = f"{intake.spec.name}-log-{watermark.seq}"
            yield LOG_SOURCE, run_id, raw_payloads, next_watermark


def _next_log_delivery(
    interaction_log: InteractionLog, watermark: Watermark, max_rows: int
) -> tuple[list[object], int]:
    """Payloads of the next delivery from the log, and the last position it covers.

    An interrupted delivery is repeated up to the same position; a new one has ``max_rows`` events
    at most.
    """
    end_seq = watermark.upto if watermark.upto > watermark.seq else interaction_log.last()
    max_records = end_seq - watermark.seq if watermark.upto > watermark.seq else max_rows
    if end_seq <= watermark.seq:
        return [], watermark.seq
    log_records = [
        log_record
        for log_record in interaction_log.read(watermark.seq, max_records, kind="event")
        if log_record.seq <= end_seq
    ]
    last_seq = log_records[-1].seq if len(log_records) == max_records else end_seq
    return [log_record.payload for log_record in log_records], last_seq


def _deliver(
    intake: Intake,
    raw_payloads: Sequence[object],
    guard: AnomalyGuard | None,
    *,
    source_name: str,
    run_id: str,
) -> IngestReport:
    """Apply rate limits, hold out anomalies, validate and merge a delivery.

    If the delivery fails a critical expectation as a whole, all of its rows are quarantined.
    """
    lake, max_rows = intake.lake, intake.config.batch_rows
    payload_chunks = [
        raw_payloads[chunk_start : chunk_start + max_rows]
        for chunk_start in range(0, len(raw_payloads), max_rows)
    ]

    def write(ingest_batches: Iterator[IngestBatch]) -> IngestReport:
        row_check = batch_check(lake, intake.suites)
        return ingest(
            ingest_batches,
            row_check=row_check,
            lake=lake,
            run_id=run_id,
            source=source_name,
            user_buckets=intake.spec.user_buckets,
        )

    def guarded(payload_chunk: Sequence[object]) -> IngestBatch:
        sql_feed = intake.spec.feedback if source_name == TABLE_SOURCE else None
        ingest_batch = quarantine_excess(
            payloads_to_batch(payload_chunk, intake.spec, sql_feed), intake.config
        )
        return ingest_batch if guard is None else guard.hold_out(ingest_batch)

    try:
        return write(guarded(payload_chunk) for payload_chunk in payload_chunks)
    except ValidationFailed as error:
        refusal_reason = str(error)
        return write(
            _refuse_all(guarded(payload_chunk), refusal_reason) for payload_chunk in payload_chunks
        )


def _refuse_all(ingest_batch: IngestBatch, refusal_reason: str) -> IngestBatch:
    """The batch with all valid rows moved to the refused ones."""
    reason_column = pa.array(
        [[refusal_reason]] * len(ingest_batch.row_positions), pa.list_(pa.string())
    )
    refused_rows = pa.table([pa.array(ingest_batch.row_positions), reason_column], schema=REFUSED)
    all_refused = pa.concat_tables(
        [ingest_batch.refused, refused_rows], promote_options="permissive"
    )
    no_positions = np.empty(0, dtype=np.int64)
    return replace(
        ingest_batch,
        rows=ingest_batch.rows.slice(0, 0),
        row_positions=no_positions,
        refused=all_refused,
    )
