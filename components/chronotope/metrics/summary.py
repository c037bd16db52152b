"""Mean metrics of an evaluation, over all targets and over slices of them."""

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64
from chronotope.metrics.evaluator import COLD_BELOW, EvaluationResult
from chronotope.metrics.ranking import hit_rate, ndcg, reciprocal_rank


def summarise_metrics(evaluation: EvaluationResult) -> dict[str, float]:
    """Mean metrics over all targets and over slices.

    A slice without targets has the value NaN. ``coverage`` is present only if it was
    measured.

    Args:
        evaluation: Result of ``evaluate``.

    Returns:
        ``acc_1, acc_5, acc_10, acc_20, ndcg_10, mrr, n_targets``; ``new_only_acc_10`` and
        ``new_only_ndcg_10`` of the discoveries among items that the user never had; and, for
        each slice, ``<slice>_acc_10`` and ``n_<slice>``; slices are return, discovery,
        cold_user, warm_user, cold_item and warm_item.
    """
    target_ranks = evaluation.rank
    metrics = {f"acc_{k}": _mean_or_nan(hit_rate(target_ranks, k)) for k in (1, 5, 10, 20)}
    metrics["ndcg_10"] = _mean_or_nan(ndcg(target_ranks, 10))
    metrics["mrr"] = _mean_or_nan(reciprocal_rank(target_ranks))
    metrics["n_targets"] = float(len(evaluation))
    new_only_ranks = evaluation.new_only_rank[~np.isnan(evaluation.new_only_rank)]
    metrics["new_only_acc_10"] = _mean_or_nan(hit_rate(new_only_ranks, 10))
    metrics["new_only_ndcg_10"] = _mean_or_nan(ndcg(new_only_ranks, 10))
    for slice_name, in_slice in slice_masks(evaluation).items():
        metrics[f"{slice_name}_acc_10"] = _mean_or_nan(hit_rate(target_ranks[in_slice], 10))
        metrics[f"n_{slice_name}"] = float(in_slice.sum())
    if not np.isnan(evaluation.coverage):
        metrics["coverage"] = evaluation.coverage
    return metrics


def slice_masks(evaluation: EvaluationResult) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks over the targets by slice name, each of shape (n_targets,)."""
    is_cold_user = evaluation.n_history < COLD_BELOW
    return {
        "return": evaluation.is_return,
        "discovery": ~evaluation.is_return,
        "cold_user": is_cold_user,
        "warm_user": ~is_cold_user,
        "cold_item": evaluation.is_cold_item,
        "warm_item": ~evaluation.is_cold_item,
    }


def _mean_or_nan(target_values: Float64) -> float:
    return float(target_values.mean()) if len(target_values) else float("nan")
