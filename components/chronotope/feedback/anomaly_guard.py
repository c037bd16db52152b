"""Hold-out of suspicious events: flagged by the champion detector, they train nothing.

They lie in quarantine with the reason ``anomalous`` until somebody releases them, or a label says
that they are genuine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.anomalies.detector_files import DetectorBundle, load_detector
from chronotope.anomalies.score_events import (
    BEHAVIOUR_COLUMNS,
    LABEL_COLUMN_FACT,
    score_new_events,
)
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import EVENTS
from chronotope.datasets.normalise import REFUSED
from chronotope.ingestion import IngestBatch
from chronotope.lake import Lake
from chronotope.registry.promotion_journal import PromotionJournal
from chronotope.runtime.state import state_exists

ANOMALOUS: Final = "anomalous"
"""Quarantine reason of events that the detector flagged or a label calls anomalous."""

JOURNAL_FILE: Final = "promotions.db"


@dataclass(frozen=True, slots=True)
class AnomalyGuard:
    """Detector and history that judge new events.

    Attributes:
        bundle: The champion detector.
        history: Events of the lake, columns that the features need.
        posted_labels: Known outcomes by event id.
    """

    bundle: DetectorBundle
    history: pa.Table
    posted_labels: Mapping[str, bool]

    def hold_out(self, ingest_batch: IngestBatch) -> IngestBatch:
        """Refuse the flagged events of a batch with the reason and the features behind it.

        Events that the lake has, or that a label calls genuine, are let through; events that a
        label calls anomalous are refused.

        Args:
            ingest_batch: Normalised events.
        """
        if not len(ingest_batch.rows):
            return ingest_batch
        event_ids = ingest_batch.rows[c.EVENT_ID].to_pylist()
        is_known = pc.is_in(
            self.history[c.EVENT_ID].cast(pa.string()),
            value_set=ingest_batch.rows[c.EVENT_ID].combine_chunks().cast(pa.string()),
        )
        known_ids = set(self.history[c.EVENT_ID].filter(is_known).to_pylist())
        # a delivery that is repeated after a kill does not count for itself twice
        user_history = self.history.filter(pc.invert(is_known))
        scored_batch = score_new_events(
            self.bundle, user_history, ingest_batch.rows, self.posted_labels
        )
        is_held = np.array(
            [
                event_id not in known_ids
                and self.posted_labels.get(event_id, bool(scored_batch.is_flagged[position]))
                for position, event_id in enumerate(event_ids)
            ]
        )
        if not is_held.any():
            return ingest_batch
        row_reasons = [
            [
                ANOMALOUS,
                *(f"unusual {reason.feature}" for reason in scored_batch.reasons.get(row, ())[:1]),
            ]
            for row in np.flatnonzero(is_held).tolist()
        ]
        held_rows = pa.table(
            [
                pa.array(ingest_batch.row_positions[is_held]),
                pa.array(row_reasons, pa.list_(pa.string())),
            ],
            schema=REFUSED,
        )
        return replace(
            ingest_batch,
            rows=ingest_batch.rows.filter(pa.array(~is_held)),
            row_positions=ingest_batch.row_positions[~is_held],
            refused=pa.concat_tables(
                [ingest_batch.refused, held_rows], promote_options="permissive"
            ),
        )


def champion_detector(mlruns_dir: Path, dataset: str) -> DetectorBundle | None:
    """The champion detector of a dataset; None if none was ever promoted.

    Args:
        mlruns_dir: Folder of the registry.
        dataset: Name of the dataset.

    Raises:
        ArtifactError: Its files are damaged.
    """
    journal_path = mlruns_dir / JOURNAL_FILE
    if not state_exists(journal_path):
        return None
    if PromotionJournal(journal_path).champion(f"{dataset}-anomaly") is None:
        return None  # MLflow takes a second to import
    from chronotope.registry.anomaly.detector_versions import champion_detector_folder
    from chronotope.registry.mlflow_store import open_store

    champion_dir = champion_detector_folder(open_store(mlruns_dir), dataset)
    return None if champion_dir is None else load_detector(champion_dir)


def open_guard(
    mlruns_dir: Path, dataset: str, event_lake: Lake, posted_labels: Mapping[str, bool]
) -> AnomalyGuard | None:
    """Guard of a dataset's feedback; None without a champion detector or without a history.

    Args:
        mlruns_dir: Folder of the registry.
        dataset: Name of the dataset.
        event_lake: Lake with the events before.
        posted_labels: Known outcomes by event id.
    """
    detector_bundle = champion_detector(mlruns_dir, dataset)
    if detector_bundle is None or not event_lake.exists(EVENTS):
        return None
    column_names = set(event_lake.dataset(EVENTS).schema.names)
    label_column = detector_bundle.facts.get(LABEL_COLUMN_FACT) or ""
    columns = [name for name in (*BEHAVIOUR_COLUMNS, label_column) if name in column_names]
    return AnomalyGuard(detector_bundle, event_lake.read(EVENTS, columns=columns), posted_labels)
