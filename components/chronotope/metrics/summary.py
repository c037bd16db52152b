"""Mean metrics of an evaluation, over all targets and over slices of them."""

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64
from chronotope.metrics.evaluator import COLD_BELOW, EvaluationResult
from chronotope.metrics.next_basket import BASKET_METRICS, MIN_MEAN_EVENTS, mean_basket_size
from chronotope.metrics.ranking import hit_rate, ndcg, reciprocal_rank


def summarise_metrics(evaluation: EvaluationResult) -> dict[str, float]:
    """Mean metrics over all targets and over slices.

    A slice without targets has the value NaN. ``coverage`` is present only if it was
    measured.

    Args:
        evaluation: Result of ``evaluate``.

    Returns:
        ``acc_1, acc_5, acc_10, acc_20, ndcg_10, mrr, n_targets``; ``new_only_acc_10`` and
        ``new_only_ndcg_10`` of the discoveries among items that the user never had; for
        each slice, ``<slice>_acc_10`` and ``n_<slice>``; slices are return, discovery,
        cold_user, warm_user, cold_item and warm_item; and, where the log has baskets, the
        ``BASKET_METRICS`` and ``basket_size``, means over baskets.
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
    metrics |= _basket_means(evaluation)
    if not np.isnan(evaluation.coverage):
        metrics["coverage"] = evaluation.coverage
    return metrics


def _basket_means(evaluation: EvaluationResult) -> dict[str, float]:
    """Means over baskets; none where nearly every event stands alone.

    Targets are drawn among events, so a basket is drawn as often as it has events; the weight
    1 / size makes each basket count once.
    """
    mean_size = mean_basket_size(evaluation.basket_size)
    if not mean_size >= MIN_MEAN_EVENTS:
        return {}
    weights = 1.0 / evaluation.basket_size
    is_defined = ~np.isnan(evaluation.next_basket)
    sums = weights @ np.nan_to_num(evaluation.next_basket)
    total_weights = weights @ is_defined
    means = np.divide(sums, total_weights, out=np.full(len(sums), np.nan), where=total_weights > 0)
    return dict(zip(BASKET_METRICS, means.tolist(), strict=True)) | {"basket_size": mean_size}


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
