"""Levels of the served time interval: corrected by how late gaps fell in the predictions.

The central 80 % interval of a predicted gap lies between its quantiles .1 and .9. Behaviour drifts
after a training, and the interval then covers less or more. ``monitor-drift`` compares the gaps of
the latest window with the champion's predictions and stores the quantiles between which 80 % of
them lay; they are the levels of the interval until the next window (conformal prediction).
"""

from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.errors import StoreError
from chronotope.contracts.event_log import Float64
from chronotope.metrics.time_calibration import NOMINAL_LEVELS
from chronotope.runtime.state import read_document, write_document
from chronotope.runtime.workspace import Workspace

LEVELS_FILE: Final = "interval_levels.json"


class IntervalLevels(BaseModel):
    """Levels of the interval of one champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: str = Field(description="Version that the levels belong to.")
    low: float = Field(gt=0.0, lt=0.5, description="Level of the lower end.")
    high: float = Field(gt=0.5, lt=1.0, description="Level of the upper end.")


def write_interval_levels(workspace: Workspace, dataset: str, levels: IntervalLevels) -> Path:
    """Store the levels of a dataset's champion in place of earlier ones; returns the file."""
    path = workspace.monitoring(dataset) / LEVELS_FILE
    write_document(path, levels.model_dump_json())
    return path


def forecast_levels(workspace: Workspace, dataset: str, champion: str) -> Float64:
    """Levels of low end, median and high end, shape (3,).

    Args:
        workspace: Folders of the project root.
        dataset: Name of the dataset.
        champion: Version that forecasts; levels of another version, or an unreadable file, leave
            the nominal ones.
    """
    low, high = NOMINAL_LEVELS
    try:
        stored = read_document(workspace.monitoring(dataset) / LEVELS_FILE)
        levels = IntervalLevels.model_validate_json(stored or "")
    except (OSError, StoreError, ValidationError, UnicodeDecodeError):
        return np.array([low, 0.5, high])
    if levels.champion == champion:
        low, high = levels.low, levels.high
    return np.array([low, 0.5, high])
