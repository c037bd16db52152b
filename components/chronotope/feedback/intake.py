"""Take what users did since into the lake; the watermark follows each delivery that landed."""

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
from chronotope.datasets.spec import DatasetSpec, TimeSpec
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
    """What became of everything read; new + duplicates + quarantined = read.

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

    def add(self, report: IngestReport) -> None:
        """Count a delivery."""
        self.n_read += report.n_read
        self.n_new += report.n_good - report.n_duplicates
        self.n_duplicates += report.n_duplicates
        self.n_quarantined += report.n_quarantined
        self.reasons.update(report.reasons)
        told = (f"{found.expectation}: {found.observed}" for found in report.findings)
        self.findings += [words for words in told if words not in self.findings]


@dataclass(frozen=True, slots=True)
class Intake:
    """Where feedback comes from and where it goes.

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
    taken, files = IntakeReport(), Inbox(intake.inbox)
    _start_over_if_replaced(intake)
    for source, run_id, payloads, after in _deliveries(intake, files):
        if payloads:
            taken.add(_deliver(intake, payloads, source=source, run_id=run_id))
        mark = after.model_copy(update={"events": _events_version(intake)})
        write_watermark(intake.mark_path, mark)
    taken.set_aside = files.set_aside
    return taken


def _start_over_if_replaced(intake: Intake) -> None:
    """Forget what was taken into a lake that is gone, or set back: this one lacks it."""
    if not intake.mark_path.exists():
        return
    mark, lake = read_watermark(intake.mark_path), intake.lake
    if mark.events is None or lake.holds(EVENTS, mark.events):
        present = _events_version(intake)  # an old version's log entries are cleaned up one day
        if present != mark.events:
            write_watermark(intake.mark_path, mark.model_copy(update={"events": present}))
        return
    _LOG.warning(
        "The lake of %s does not hold version %s of the events, which feedback was taken into: "
        "all feedback is read again",
        intake.spec.name,
        mark.events,
    )
    write_watermark(intake.mark_path, Watermark())


def _events_version(intake: Intake) -> TableVersion | None:
    return intake.lake.table_version(EVENTS) if intake.lake.exists(EVENTS) else None


def _deliveries(intake: Intake, files: Inbox) -> Iterator[FeedbackBatch]:
    yield from _from_log(intake)
    yield from _from_inbox(intake, files)
    feed, path = intake.spec.feedback, intake.mark_path
    if feed is not None:
        url, most = intake.url or feed.url or "", intake.config.batch_rows
        for digest, payloads, after in read_sql_feed(feed, url, path, most):
            yield TABLE, f"{intake.spec.name}-table-{digest}", payloads, after


def _from_inbox(intake: Intake, files: Inbox) -> Iterator[FeedbackBatch]:
    for taken, payloads, after in files.deliveries(intake.mark_path):
        yield f"inbox/{taken.file}", f"{intake.spec.name}-inbox-{taken.digest}", payloads, after


def _from_log(intake: Intake) -> Iterator[FeedbackBatch]:
    path = intake.workspace.interactions(intake.spec.name)
    if not path.exists():
        return
    with closing(InteractionLog(path)) as log:
        while True:
            mark = read_watermark(intake.mark_path).over(log.identity)
            payloads, upto = _next_of(log, mark, intake.config.batch_rows)
            if upto == mark.seq:
                return
            if upto != mark.upto:  # said before it is done, so that it is done the same again
                write_watermark(intake.mark_path, mark.model_copy(update={"upto": upto}))
            after = mark.model_copy(update={"seq": upto, "upto": upto})
            yield LOG, f"{intake.spec.name}-log-{mark.seq}", payloads, after


def _next_of(log: InteractionLog, mark: Watermark, most: int) -> tuple[list[object], int]:
    """Events of the next delivery, and its last position: the one begun, or all there is."""
    end = mark.upto if mark.upto > mark.seq else log.last()
    limit = end - mark.seq if mark.upto > mark.seq else most
    if end <= mark.seq:
        return [], mark.seq
    found = [each for each in log.read(mark.seq, limit, kind="event") if each.seq <= end]
    return [each.payload for each in found], found[-1].seq if len(found) == limit else end


def _deliver(
    intake: Intake, payloads: Sequence[object], *, source: str, run_id: str
) -> IngestReport:
    """Guard, check and merge; a delivery that is broken as a whole is quarantined as a whole."""
    lake, most = intake.lake, intake.config.batch_rows
    chunks = [payloads[at : at + most] for at in range(0, len(payloads), most)]

    def write(batches: Iterator[IngestBatch]) -> IngestReport:
        check = batch_check(lake, intake.suites)
        return ingest(batches, row_check=check, lake=lake, run_id=run_id, source=source)

    def guarded(chunk: Sequence[object]) -> IngestBatch:
        feed = intake.spec.feedback
        time = feed.time if feed is not None and source == TABLE else TimeSpec()
        return quarantine_excess(payloads_to_batch(chunk, intake.spec, time), intake.config)

    try:
        return write(guarded(chunk) for chunk in chunks)
    except ValidationFailed as error:
        why = str(error)
        return write(_refused(guarded(chunk), why) for chunk in chunks)


def _refused(batch: IngestBatch, why: str) -> IngestBatch:
    """The batch with every good row refused."""
    reasons = pa.array([[why]] * len(batch.row_positions), pa.list_(pa.string()))
    more = pa.table([pa.array(batch.row_positions), reasons], schema=REFUSED)
    refused = pa.concat_tables([batch.refused, more], promote_options="permissive")
    none = np.empty(0, dtype=np.int64)
    return IngestBatch(batch.raw, batch.rows.slice(0, 0), none, refused)
