"""Holdout in two parts: the earlier one selects a compression, the later one evaluates it."""

from pathlib import Path
from typing import Final

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.folds import Folds, load_folds
from chronotope.splitting.targets import targets_between

FOLDS_FILE: Final = "frozen_folds.json"
"""File of a run with its folds."""

CHALLENGER: Final = "challenger"
"""Name of the trained model in every result."""

SELECTION_SHARE: Final = 0.3
"""Share of the holdout's time that selects among compressed candidates."""


def frozen_folds(run_dir: Path) -> Folds:
    """Folds of a run."""
    return load_folds(run_dir / FOLDS_FILE)


def selection_targets(log: EventLog, settings: TrainSettings, run_dir: Path) -> Int64:
    """Targets in the first part of the holdout, as positions in the log."""
    start_s = frozen_folds(run_dir).holdout.test_start_s
    return targets_between(
        log, start_s, _boundary_s(run_dir), max_targets=settings.max_fold_targets
    )


def evaluation_targets(log: EventLog, settings: TrainSettings, run_dir: Path) -> Int64:
    """Targets in the last part of the holdout, on which nothing was selected."""
    end_s = frozen_folds(run_dir).holdout.test_end_s
    return targets_between(
        log, _boundary_s(run_dir), end_s, max_targets=settings.max_holdout_targets
    )


def _boundary_s(run_dir: Path) -> int:
    holdout = frozen_folds(run_dir).holdout
    duration_s = holdout.test_end_s - holdout.test_start_s
    return int(holdout.test_start_s + SELECTION_SHARE * duration_s)
