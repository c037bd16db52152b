"""Protocols that packages share without importing each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries
from chronotope.contracts.validation_result import ValidationResult


@runtime_checkable
class Recommender(Protocol):
    """Scores the whole catalogue for a batch of queries."""

    @property
    def name(self) -> str:
        """Short name shown in tables."""

    @property
    def history_len(self) -> int | None:
        """Longest history the model reads; None reads everything."""

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Learn parameters and state from a log; returns self."""

    def observe(self, log: EventLog) -> None:
        """Take a longer log into the state (counts, priors) without retraining.

        Args:
            log: Everything known by now, the training log included.
        """

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Scores of all items, shape (B, n_items); higher is likelier."""


class RowCheck(Protocol):
    """Check of a batch of normalised rows before it is written."""

    def __call__(self, batch: pa.Table) -> ValidationResult:
        """Check one batch.

        Raises:
            ValidationFailed: A critical expectation failed.
        """


class Tracker(Protocol):
    """Where training reports to; MLflow stands behind it in production."""

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Report metrics of one step."""

    def params(self, values: Mapping[str, object]) -> None:
        """Report parameters once."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Keep a file."""
