"""The holdout's two parts: the earlier chooses a compression, the later judges."""

from pathlib import Path

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.folds import Folds, load_folds
from chronotope.splitting.targets import targets_between

CHALLENGER = "challenger"
"""Name of the trained model in every result."""

CHOOSING_SHARE = 0.3
"""Share of the holdout's time that chooses among compressed candidates."""


def frozen_folds(run: Path) -> Folds:
    """The folds of a run."""
    return load_folds(run / "frozen_folds.json")


def selection_targets(log: EventLog, settings: TrainSettings, run: Path) -> Int64:
    """Targets in the first part of the holdout."""
    holdout = frozen_folds(run).holdout
    most = settings.max_fold_targets
    return targets_between(log, holdout.test_start_s, _cut_s(run), max_targets=most)


def evaluation_targets(log: EventLog, settings: TrainSettings, run: Path) -> Int64:
    """Targets in the rest of the holdout, which nothing has been chosen on."""
    holdout = frozen_folds(run).holdout
    most = settings.max_holdout_targets
    return targets_between(log, _cut_s(run), holdout.test_end_s, max_targets=most)


def _cut_s(run: Path) -> int:
    holdout = frozen_folds(run).holdout
    return int(holdout.test_start_s + CHOOSING_SHARE * (holdout.test_end_s - holdout.test_start_s))
