"""Stored predictions: rows of the last batch scoring, for a service that has no model."""

import logging
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.dataset as pads

from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.predictions import PREDICTIONS_TABLE
from chronotope.lake import Lake
from chronotope.lake.prediction_table import latest_scoring, user_predictions

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictionsVersion:
    """One version of the predictions table.

    Attributes:
        version: Version of the table.
        rows: Dataset of its rows.
        scored_at: Latest moment of scoring.
    """

    version: TableVersion
    rows: pads.Dataset
    scored_at: datetime


class StoredPredictions:
    """Latest version of the predictions table; rows are read from disk user by user."""

    def __init__(self, lake: Lake) -> None:
        """Start without a table; ``refresh`` opens it.

        Args:
            lake: The dataset's lake.
        """
        self._lake = lake
        self._latest: PredictionsVersion | None = None

    @property
    def scored_at(self) -> datetime | None:
        """Latest moment of scoring; None without a table."""
        return None if self._latest is None else self._latest.scored_at

    def refresh(self) -> None:
        """Open a new version of the table; an error is logged, and the version before stays."""
        try:
            self._latest = self._open()
        except Exception as error:  # the polling thread must survive any error
            _LOG.warning("The stored predictions cannot be opened: %s", error)

    def user_rows(self, user_id: str) -> pa.Table:
        """Rows of a user by rank; empty without a table or for another user.

        Raises:
            StoreError: The table cannot be read.
        """
        latest = self._latest
        return pa.table({}) if latest is None else user_predictions(latest.rows, user_id)

    def _open(self) -> PredictionsVersion | None:
        if not self._lake.exists(PREDICTIONS_TABLE):
            return None
        version = self._lake.table_version(PREDICTIONS_TABLE)
        if self._latest is not None and self._latest.version == version:
            return self._latest
        rows = self._lake.dataset(PREDICTIONS_TABLE, version)
        scored_at = latest_scoring(rows)
        return None if scored_at is None else PredictionsVersion(version, rows, scored_at)


def source_text(scored_at: datetime) -> str:
    """Source of an answer from stored predictions, such as ``stored predictions of 2026-...``."""
    return f"stored predictions of {scored_at:%Y-%m-%dT%H:%M:%SZ}"
