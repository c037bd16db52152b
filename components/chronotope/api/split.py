"""Splits of a log by time: each model is trained on what was before the moment it predicts.

rolling: Folds with growing training windows, and a holdout of the latest time.
latest: One cut: everything before it trains, everything after it is predicted.
"""

from pydantic import ValidationError

from chronotope.api.logs.log import Log
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.yaml_problems import explain_problems
from chronotope.splitting.folds import Fold, Folds, FoldsConfig, rolling_origin

__all__ = ["latest", "rolling"]


def rolling(
    log: Log, k: int = 3, *, min_train_share: float = 0.5, holdout_share: float = 0.1
) -> Folds:
    """Rolling-origin folds, and a holdout of the latest events.

    Compare models on the folds, and read the final number from ``holdout`` once.

    Args:
        log: The events.
        k: Number of folds before the holdout.
        min_train_share: Share of events before the first fold's test window.
        holdout_share: Share of events in the holdout.

    Raises:
        ConfigError: A parameter is out of its range.
        NotEnoughData: The log is too short for so many folds.
    """
    try:
        folds_config = FoldsConfig(
            k=k, min_train_share=min_train_share, holdout_quantile=1 - holdout_share
        )
    except ValidationError as error:
        problems = explain_problems(error, FoldsConfig)
        raise ConfigError(f"The folds cannot be cut: {problems}") from error
    return rolling_origin(log.events, folds_config)


def latest(log: Log, share: float = 0.1) -> Fold:
    """One fold: the latest events are predicted from all before them.

    Args:
        log: The events.
        share: Share of events to predict.

    Raises:
        ConfigError: The share is not between 0 and 1.
    """
    return rolling(log, 1, min_train_share=(1 - share) / 2, holdout_share=share).holdout
