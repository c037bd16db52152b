"""How good the champion was when it was promoted, on the holdout that judged it."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.eventlog import Float64
from chronotope.monitoring.resampled import clustered_mean
from chronotope.registry.models import metrics_of
from chronotope.registry.store import MlflowStore
from chronotope.steps.holdout import CHALLENGER
from chronotope.steps.once import step_result
from chronotope.steps.reigning import Reigning


@dataclass(frozen=True, slots=True)
class Level:
    """The champion's own level.

    Attributes:
        ndcg: NDCG@10 on the holdout.
        error: Its standard error; 0 if only the mean is known.
        pit: Targets by tenth of the predicted time; None if not known any more.
    """

    ndcg: float
    error: float
    pit: Float64 | None


def level_of(king: Reigning, store: MlflowStore, dataset: str) -> Level | None:
    """From the folder of its training, or else from what the registry keeps; None without.

    Args:
        king: The champion.
        store: The registry.
        dataset: Name of the registered model.
    """
    judged, kept = step_result(king.run, "judge_holdout"), king.run / "holdout.npz"
    if judged is None or not kept.is_file():
        told = metrics_of(store, dataset, king.version)
        return Level(told["ndcg_10"], 0.0, None) if "ndcg_10" in told else None
    with np.load(kept) as values:
        mean, error = clustered_mean(values[CHALLENGER], values["user"])
    pit = np.asarray(judged["when"]["pit"]) * judged["when"]["n_targets"]
    return Level(mean, error, pit)
