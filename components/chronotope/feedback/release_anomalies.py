"""Release of held-out events that a label calls genuine: into the lake, and out of quarantine."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from chronotope.contracts import columns as c
from chronotope.contracts.protocols import RowCheck
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.anomaly_guard import ANOMALOUS
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.feedback.sql_feed import TABLE_SOURCE
from chronotope.ingestion import IngestBatch, IngestReport, ingest
from chronotope.lake import Lake

RELEASE_SOURCE: Final = "released anomalies"
QUARANTINE: Final = "quarantine"


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that is held out of training.

    Attributes:
        event_id: Its id, as it will have in the lake.
        batch: The event alone, as read and normalised.
        run_id: Run that refused it.
        row: Its position in that delivery.
        reasons: Why it is held.
        payload: Its text in the quarantine.
    """

    event_id: str
    batch: IngestBatch
    run_id: str
    row: int
    reasons: tuple[str, ...]
    payload: str


def held_events(event_lake: Lake, dataset_spec: DatasetSpec) -> Iterator[HeldEvent]:
    """Events in quarantine with the reason ``anomalous``.

    Args:
        event_lake: Lake of the dataset.
        dataset_spec: The dataset, by whose rules payloads are normalised.
    """
    if not event_lake.exists(QUARANTINE):
        return
    column_names = [c.RUN_ID, c.SOURCE, "row", c.REASONS, c.PAYLOAD]
    for quarantine_row in event_lake.read(QUARANTINE, columns=column_names).to_pylist():
        if ANOMALOUS not in quarantine_row[c.REASONS]:
            continue
        feed_spec = dataset_spec.feedback if quarantine_row[c.SOURCE] == TABLE_SOURCE else None
        batch = payloads_to_batch([json.loads(quarantine_row[c.PAYLOAD])], dataset_spec, feed_spec)
        if len(batch.rows) == 1:
            yield HeldEvent(
                batch.rows[c.EVENT_ID][0].as_py(),
                batch,
                quarantine_row[c.RUN_ID],
                int(quarantine_row["row"]),
                tuple(quarantine_row[c.REASONS]),
                quarantine_row[c.PAYLOAD],
            )


def release_events(
    event_lake: Lake, dataset_spec: DatasetSpec, genuine_ids: Collection[str], row_check: RowCheck
) -> IngestReport | None:
    """Ingest held events that are genuine, then delete them from quarantine.

    A kill between the two leaves events in both; the next release finds them in the lake and only
    deletes.

    Args:
        event_lake: Lake of the dataset.
        dataset_spec: The dataset.
        genuine_ids: Ids of events that are genuine.
        row_check: Check of the rows, as at every ingestion.

    Returns:
        Counts of the ingestion; None if nothing was released.
    """
    released_events = [
        held_event
        for held_event in held_events(event_lake, dataset_spec)
        if held_event.event_id in genuine_ids
    ]
    if not released_events:
        return None
    report = ingest(
        (held_event.batch for held_event in released_events),
        row_check=row_check,
        lake=event_lake,
        run_id=f"{dataset_spec.name}-release-{released_events[0].event_id[:12]}",
        source=RELEASE_SOURCE,
        user_buckets=dataset_spec.user_buckets,
    )
    rows_by_run = defaultdict(list)
    for held_event in released_events:
        rows_by_run[held_event.run_id].append(held_event.row)
    for run_id, row_positions in rows_by_run.items():
        event_lake.release_quarantine(run_id, row_positions)
    return report
