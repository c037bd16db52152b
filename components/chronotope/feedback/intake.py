"""Intake of new interactions into the lake; the watermark advances after each delivery."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.errors import ValidationFailed
from chronotope.datasets.normalise import REFUSED
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.time_spec import TimeSpec
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.inbox import Inbox
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.feedback.rate_guard import quarantine_excess
from chronotope.feedback.sql_feed import TABLE, read_sql_feed
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark
from chronotope.ingestion import IngestBatch, IngestReport, ingest
from chronotope.lake import Lake
from chronotope.lake.interaction_log import InteractionLog
from chronotope.pipelines.ingest_checks import batch_check
from chronotope.runtime.workspace import Workspace

_LOG = logging.getLogger(__name__)

LOG: Final = "interactions"
"""Source of what comes from the service's log, as the quarantine names it."""

FeedbackBatch = tuple[str, str, Sequence[object], Watermark]
"""Source, run, payloads, and the watermark once they are safe."""


@dataclass(slots=True)
class IntakeReport:
    """Row counts of an intake; new + duplicates + quarantined = read.

    Attributes:
        n_read: Interactions read.
        n_new: Events that the lake did not have.
        n_duplicates: Events that it had, or that came twice.
        n_quarantined: Refused ones.
        reasons: Refused ones by reason; one may have several.
        findings: What did not hold of a delivery as a whole, in words.
        set_aside: Why a file of the inbox, or the rest of one, was not taken in, by its name.
    """

    n_read: int = 0
    n_new: int = 0
    n_duplicates: int = 0
    n_quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)

    def add(self, ingest_report: IngestReport) -> None:
        """Count a delivery."""
        self.n_read += ingest_report.n_read
        self.n_new += ingest_report.n_good - ingest_report.n_duplicates
        self.n_duplicates += ingest_report.n_duplicates
        self.n_quarantined += ingest_report.n_quarantined
        self.reasons.update(ingest_report.reasons)
        finding_texts = (
            f"{log_records.expectation}: {log_records.observed}"
            for log_records in ingest_report.findings
        )
        self.findings += [
            finding_text for finding_text in finding_texts if finding_text not in self.findings
        ]


@dataclass(frozen=True, slots=True)
class Intake:
    """Sources and destinations of feedback.

    Attributes:
        spec: The dataset.
        workspace: Its folders.
        suites: Folder of the validation suites.
        config: Guards and sizes.
        url: Address of the dataset's table of interactions, if its YAML names a block.
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
        """Where good rows go."""
        return Lake(self.workspace.lake(self.spec.name))

    @property
    def inbox(self) -> Path:
        """Folder into which ``*.jsonl`` files are dropped."""
        return inbox_dir(self.workspace, self.spec.name)


def watermark_path(workspace: Workspace, dataset: str) -> Path:
    """File of a dataset's watermark."""
    return workspace.root / "data" / "feedback" / dataset / "watermark.json"


def inbox_dir(workspace: Workspace, dataset: str) -> Path:
    """Folder into which files of a dataset's interactions are dropped."""
    return workspace.root / "data" / "inbox" / dataset


def run_intake(intake: Intake) -> IntakeReport:
    """Read all that is new, from log, inbox and table, and write it to lake or quarantine.

    Killed anywhere, the next call takes the same deliveries up again under the same names:
    no event is lost, and none is counted or quarantined twice.

    Args:
        intake: Sources, guards and the lake.
    """
    intake_report, inbox_files = IntakeReport(), Inbox(intake.inbox)
    _start_over_if_replaced(intake)
    for source_name, run_id, raw_payloads, next_watermark in _deliveries(intake, inbox_files):
        if raw_payloads:
            intake_report.add(
                _deliver(intake, raw_payloads, source_name=source_name, run_id=run_id)
            )
        watermark = next_watermark.model_copy(update={"events": _events_version(intake)})
        write_watermark(intake.mark_path, watermark)
    intake_report.set_aside = inbox_files.set_aside
    return intake_report


def _start_over_if_replaced(intake: Intake) -> None:
    """Forget what was taken into a lake that is gone, or set back: this one lacks it."""
    if not intake.mark_path.exists():
        return
    watermark, lake = read_watermark(intake.mark_path), intake.lake
    if watermark.events is None or lake.holds(EVENTS, watermark.events):
        present_version = _events_version(
            intake
        )  # an old version's log entries are cleaned up one day
        if present_version != watermark.events:
            write_watermark(
                intake.mark_path, watermark.model_copy(update={"events": present_version})
            )
        return
    _LOG.warning(
        "The lake of %s does not hold version %s of the events, which feedback was taken into: "
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
    sql_feed, log_path = intake.spec.feedback, intake.mark_path
    if sql_feed is not None:
        url, max_rows = intake.url or sql_feed.url or "", intake.config.batch_rows
        for batch_digest, raw_payloads, next_watermark in read_sql_feed(
            sql_feed, url, log_path, max_rows
        ):
            yield TABLE, f"{intake.spec.name}-table-{batch_digest}", raw_payloads, next_watermark


def _from_inbox(intake: Intake, inbox_files: Inbox) -> Iterator[FeedbackBatch]:
    for intake_report, raw_payloads, next_watermark in inbox_files.deliveries(intake.mark_path):
        yield (
            f"inbox/{intake_report.file}",
            f"{intake.spec.name}-inbox-{intake_report.digest}",
            raw_payloads,
            next_watermark,
        )


def _from_log(intake: Intake) -> Iterator[FeedbackBatch]:
    log_path = intake.workspace.interactions(intake.spec.name)
    if not log_path.exists():
        return
    with closing(InteractionLog(log_path)) as interaction_log:
        while True:
            watermark = read_watermark(intake.mark_path).over(interaction_log.identity)
            raw_payloads, last_seq = _next_of(interaction_log, watermark, intake.config.batch_rows)
            if last_seq == watermark.seq:
                return
            if (
                last_seq != watermark.upto
            ):  # said before it is done, so that it is done the same again
                write_watermark(intake.mark_path, watermark.model_copy(update={"upto": last_seq}))
            next_watermark = watermark.model_copy(update={"seq": last_seq, "upto": last_seq})
            yield LOG, f"{intake.spec.name}-log-{watermark.seq}", raw_payloads, next_watermark


def _next_of(
    interaction_log: InteractionLog, watermark: Watermark, max_rows: int
) -> tuple[list[object], int]:
    """Events of the next delivery, and its last position: the one begun, or all there is."""
    end_seq = watermark.upto if watermark.upto > watermark.seq else interaction_log.last()
    max_records = end_seq - watermark.seq if watermark.upto > watermark.seq else max_rows
    if end_seq <= watermark.seq:
        return [], watermark.seq
    log_records = [
        log_record
        for log_record in interaction_log.read(watermark.seq, max_records, kind="event")
        if log_record.seq <= end_seq
    ]
    return [log_record.payload for log_record in log_records], log_records[-1].seq if len(
        log_records
    ) == max_records else end_seq


def _deliver(
    intake: Intake, raw_payloads: Sequence[object], *, source_name: str, run_id: str
) -> IngestReport:
    """Guard, check and merge; a delivery that is broken as a whole is quarantined as a whole."""
    lake, max_rows = intake.lake, intake.config.batch_rows
    payload_chunks = [
        raw_payloads[chunk_start : chunk_start + max_rows]
        for chunk_start in range(0, len(raw_payloads), max_rows)
    ]

    def write(ingest_batches: Iterator[IngestBatch]) -> IngestReport:
        row_check = batch_check(lake, intake.suites)
        return ingest(
            ingest_batches, row_check=row_check, lake=lake, run_id=run_id, source=source_name
        )

    def guarded(payload_chunk: Sequence[object]) -> IngestBatch:
        sql_feed = intake.spec.feedback
        time_spec = sql_feed.time if sql_feed is not None and source_name == TABLE else TimeSpec()
        return quarantine_excess(
            payloads_to_batch(payload_chunk, intake.spec, time_spec), intake.config
        )

    try:
        return write(guarded(payload_chunk) for payload_chunk in payload_chunks)
    except ValidationFailed as error:
        refusal_reason = str(error)
        return write(
            _refused(guarded(payload_chunk), refusal_reason) for payload_chunk in payload_chunks
        )


def _refused(ingest_batch: IngestBatch, refusal_reason: str) -> IngestBatch:
    """The batch with every good row refused."""
    reason_column = pa.array(
        [[refusal_reason]] * len(ingest_batch.row_positions), pa.list_(pa.string())
    )
    refused_rows = pa.table([pa.array(ingest_batch.row_positions), reason_column], schema=REFUSED)
    all_refused = pa.concat_tables(
        [ingest_batch.refused, refused_rows], promote_options="permissive"
    )
    no_positions = np.empty(0, dtype=np.int64)
    return IngestBatch(ingest_batch.raw, ingest_batch.rows.slice(0, 0), no_positions, all_refused)
