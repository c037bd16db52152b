"""Temporal splits of the event log: rolling-origin folds, holdout and evaluation targets."""

from chronotope.splitting.folds import (
    Fold,
    Folds,
    FoldsConfig,
    load_folds,
    rolling_origin,
    save_folds,
)
from chronotope.splitting.targets import (
    GlobalSplit,
    global_split,
    leave_one_out,
    targets_between,
)

__all__ = [
    "Fold",
    "Folds",
    "FoldsConfig",
    "GlobalSplit",
    "global_split",
    "leave_one_out",
    "load_folds",
    "rolling_origin",
    "save_folds",
    "targets_between",
]
