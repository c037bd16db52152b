"""Rolling-origin folds, stored once per study and shared by all models."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chronotope.contracts.errors import DataError, NotEnoughData, SourceError
from chronotope.contracts.event_log import EventLog
from chronotope.runtime.durable_files import write_text


class FoldsConfig(BaseModel):
    """Settings of the rolling-origin folds.

    The log up to ``holdout_quantile`` is for model selection, the rest for the final evaluation.
    Shares are shares of events, not of calendar time, so folds are equally large.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(3, ge=1, le=20, description="Number of folds before the holdout")
    embargo_s: int = Field(
        0, ge=0, description="Seconds left out between the training and the test window"
    )
    min_train_share: float = Field(
        0.5, gt=0, lt=1, description="Share of events before the first fold's test window"
    )
    holdout_quantile: float = Field(
        0.9, gt=0, lt=1, description="Quantile of event times where the holdout starts"
    )

    @model_validator(mode="after")
    def _training_ends_before_the_holdout(self) -> Self:
        if self.min_train_share >= self.holdout_quantile:
            raise ValueError("min_train_share must be below holdout_quantile")
        return self


class Fold(BaseModel):
    """Fold of one origin: training events before ``train_end_s``, then a test window.

    All three are UTC seconds; ends are exclusive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_end_s: int
    test_start_s: int
    test_end_s: int

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.train_end_s <= self.test_start_s < self.test_end_s:
            raise ValueError("a fold must have train_end_s <= test_start_s < test_end_s")
        return self


class Folds(BaseModel):
    """The folds of a study and its final holdout, earliest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: tuple[Fold, ...]
    holdout: Fold
    config: FoldsConfig

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when any instant or setting does."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def rolling_origin(log: EventLog, config: FoldsConfig) -> Folds:
    """Cut a log into expanding training windows, each followed by its test window.

    Args:
        log: All events.
        config: Settings of the folds.

    Returns:
        ``config.k`` folds whose test windows adjoin, then the holdout, which runs to
        the last event.

    Raises:
        NotEnoughData: Two cuts fall on the same instant or a training window is empty.
    """
    if len(log) == 0:
        raise NotEnoughData("An empty log cannot be split", way_out="Ingest events first")
    shares = np.linspace(config.min_train_share, config.holdout_quantile, config.k + 1)
    cuts = np.quantile(log.occurred_s, shares, method="higher").astype(np.int64)
    edges = [*cuts.tolist(), int(log.occurred_s.max()) + 1]
    has_training = edges[0] - config.embargo_s > int(log.occurred_s.min())
    if not has_training or (np.diff(edges) <= 0).any():
        raise NotEnoughData(
            f"The log does not stretch over {config.k} folds and a holdout",
            received=f"{len(log)} events, cuts at {edges} s, embargo {config.embargo_s} s",
            way_out="Ask for fewer folds, a shorter embargo or bring a longer log",
        )
    folds = [
        Fold(train_end_s=start - config.embargo_s, test_start_s=start, test_end_s=end)
        for start, end in pairwise(edges)
    ]
    return Folds(folds=tuple(folds[:-1]), holdout=folds[-1], config=config)


def save_folds(folds: Folds, path: Path) -> str:
    """Write folds as JSON, atomically.

    Args:
        folds: Folds to store.
        path: File to write; its folder is made if missing.

    Returns:
        The digest stored with them.
    """
    content = {"digest": folds.digest, "folds": folds.model_dump(mode="json")}
    write_text(path, json.dumps(content, indent=2) + "\n")
    return folds.digest


def load_folds(path: Path) -> Folds:
    """Read stored folds and verify their digest.

    Args:
        path: File written by ``save_folds``.

    Returns:
        The folds.

    Raises:
        SourceError: The file is missing or is not JSON of this form.
        DataError: The content does not match its digest.
    """
    way_out = "Make the folds of the study again with rolling_origin"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        folds, content_digest = Folds.model_validate(content["folds"]), content["digest"]
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise SourceError("Folds cannot be read", received=path, way_out=way_out) from error
    if folds.digest != content_digest:
        raise DataError("Stored folds do not match their digest", received=path, way_out=way_out)
    return folds
