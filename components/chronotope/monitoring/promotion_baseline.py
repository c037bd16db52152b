"""Baseline at promotion: the champion's accuracy on its holdout."""

import logging
from dataclasses import dataclass

import numpy as np

from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.contracts.event_log import Float64
from chronotope.monitoring.sampling_noise import clustered_mean
from chronotope.pipelines.holdout import CHALLENGER
from chronotope.pipelines.results import HoldoutEvaluation
from chronotope.registry.champion_info import ChampionInfo
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import version_metrics
from chronotope.runtime.step_cache import step_result
from chronotope.runtime.stored_arrays import load_arrays

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PromotionBaseline:
    """The champion's own level.

    Attributes:
        ndcg: NDCG@10 on the holdout.
        error: Its standard error; 0 if only the mean is known.
        pit: Targets by tenth of the predicted time; None if not known any more.
    """

    ndcg: float
    error: float
    pit: Float64 | None


def promotion_baseline(
    king: ChampionInfo, store: MlflowStore, dataset: str
) -> PromotionBaseline | None:
    """From the folder of its training, or else from what the registry keeps; None without.

    Files of the training that are damaged count as gone.

    Args:
        king: The champion.
        store: The registry.
        dataset: Name of the registered model.
    """
    try:
        level = _judged_level(king)
    except (StoreError, ArtifactError) as error:
        _LOG.warning("The level of version %s is taken from the registry: %s", king.version, error)
        level = None
    if level is not None:
        return level
    told = version_metrics(store, dataset, king.version)
    return PromotionBaseline(told["ndcg_10"], 0.0, None) if "ndcg_10" in told else None


def _judged_level(king: ChampionInfo) -> PromotionBaseline | None:
    """The level by the files of the champion's training; None if they are gone."""
    judged = step_result(king.run, "evaluate_holdout", HoldoutEvaluation)
    path = king.run / "holdout.npz"
    if judged is None or not path.is_file():
        return None
    values = load_arrays(path)
    mean, error = clustered_mean(values[CHALLENGER], values["user"])
    pit = np.asarray(judged.time.pit) * judged.time.n_targets
    return PromotionBaseline(mean, error, pit)
