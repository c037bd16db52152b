"""Protocols shared by packages that do not import each other."""

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
        """Number of latest events that the model reads; None reads the whole history."""

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Estimate parameters and state from a log; returns self."""

    def observe(self, log: EventLog) -> None:
        """Update the state (counts, priors) from a longer log, without retraining.

        Args:
            log: All events known so far, including the training log.
        """

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Scores of all items, shape (B, n_items); a higher score is more likely."""


class RowCheck(Protocol):
    """Check of a batch of normalised rows before it is written."""

    def __call__(self, batch: pa.Table) -> ValidationResult:
        """Check one batch.

        Raises:
            ValidationFailed: A critical expectation failed.
        """


class Tracker(Protocol):
    """Experiment tracker of a training; MLflow in production."""

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log metrics of one step."""

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters, once per run."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Store a file as an artifact of the run."""
