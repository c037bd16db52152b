"""Baseline at promotion: accuracy and time calibration of the champion on its holdout."""

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
    """Metrics of the champion on its holdout.

    Attributes:
        ndcg: NDCG@10.
        error: Standard error of NDCG@10; 0 if only the mean is known.
        pit: Number of targets in each bin of the probability integral transform of the time to
            the next event; None if unknown.
    """

    ndcg: float
    error: float
    pit: Float64 | None


def promotion_baseline(
    champion: ChampionInfo, mlflow_store: MlflowStore, dataset: str
) -> PromotionBaseline | None:
    """Read the champion's baseline from its training folder, or else from the registry.

    Args:
        champion: The champion.
        mlflow_store: Store of the model registry.
        dataset: Name of the registered model.

    Returns:
        The baseline. Without an intact training folder it has only the mean of NDCG@10; it is
        None if the registry lacks that too.
    """
    try:
        baseline = _holdout_baseline(champion)
    except (StoreError, ArtifactError) as error:
        _LOG.warning(
            "The baseline of version %s is read from the registry: %s", champion.version, error
        )
        baseline = None
    if baseline is not None:
        return baseline
    metrics = version_metrics(mlflow_store, dataset, champion.version)
    return PromotionBaseline(metrics["ndcg_10"], 0.0, None) if "ndcg_10" in metrics else None


def _holdout_baseline(champion: ChampionInfo) -> PromotionBaseline | None:
    """Baseline from the files of the champion's training; None if they are missing."""
    evaluation_result = step_result(champion.run, "evaluate_holdout", HoldoutEvaluation)
    arrays_path = champion.run / "holdout.npz"
    if evaluation_result is None or not arrays_path.is_file():
        return None
    holdout_arrays = load_arrays(arrays_path)
    mean_ndcg, error = clustered_mean(holdout_arrays[CHALLENGER], holdout_arrays["user"])
    pit = np.asarray(evaluation_result.time.pit) * evaluation_result.time.n_targets
    return PromotionBaseline(mean_ndcg, error, pit)
