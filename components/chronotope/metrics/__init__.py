"""Metrics of next-item, next-time and next-place prediction.

Ranking, one value for each target:
    expected_rank: Rank of the target among all items, ties in expectation.
    hit_rate: Hit rate at k, which is Recall@k and Acc@k for one target a query.
    ndcg: Normalised discounted cumulative gain at k.
    reciprocal_rank: Reciprocal rank; its mean is the MRR.

Evaluation of a model:
    evaluate: Ranks of a model's targets over the full catalogue.
    summarise_metrics: Mean metrics over all targets and over slices.
    new_only_rank: Rank of a target among the items that its user never had before.
    basket_metrics: How much of the whole next basket is among the highest-ranked items.
    has_baskets: Whether the targets of a log lie in baskets.
    is_cold_item: Targets whose item had few events before.
    TargetSpans: Positions that bound the history and the basket of each target.
    slice_masks: Slices of the targets: returns, discoveries, cold and warm users and items.

Significance:
    bootstrap_interval: Interval of a mean, by resampling users.
    paired_difference: Paired test of two models on the same targets.

Time and place:
    evaluate_time: Log-likelihood and calibration of a predicted gap.
    conformal_levels: Levels of an interval that covers what was observed lately.
    evaluate_place: Accuracy and distance of a predicted place.

Diversity:
    answer_entropy: Entropy of the predicted distribution.
    gini: Concentration of the recommended items.
    top_items: Items of the k highest scores.

Online experiments (modules, not re-exported):
    uplift: Difference of an arm from the control.
    off_policy: IPS, SNIPS and doubly robust value of a policy from logged impressions.
    reward_model: Reward model of the doubly robust estimator.
"""

from chronotope.metrics.distinct_items import DistinctItems, distinct_items
from chronotope.metrics.diversity import answer_entropy, gini
from chronotope.metrics.evaluator import EvaluationResult, evaluate, is_cold_item
from chronotope.metrics.new_only import new_only_rank
from chronotope.metrics.next_basket import BASKET_METRICS, basket_metrics, has_baskets
from chronotope.metrics.place_error import PlaceError, evaluate_place
from chronotope.metrics.ranking import expected_rank, hit_rate, ndcg, reciprocal_rank
from chronotope.metrics.significance import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
)
from chronotope.metrics.summary import slice_masks, summarise_metrics
from chronotope.metrics.target_spans import TargetSpans
from chronotope.metrics.time_calibration import (
    LognormalMixture,
    TimeCalibration,
    conformal_levels,
    evaluate_time,
)
from chronotope.metrics.top_items import top_items

__all__ = [
    "BASKET_METRICS",
    "DistinctItems",
    "EvaluationResult",
    "Interval",
    "LognormalMixture",
    "PairedDifference",
    "PlaceError",
    "TargetSpans",
    "TimeCalibration",
    "answer_entropy",
    "basket_metrics",
    "bootstrap_interval",
    "conformal_levels",
    "distinct_items",
    "evaluate",
    "evaluate_place",
    "evaluate_time",
    "expected_rank",
    "gini",
    "has_baskets",
    "hit_rate",
    "is_cold_item",
    "ndcg",
    "new_only_rank",
    "paired_difference",
    "reciprocal_rank",
    "slice_masks",
    "summarise_metrics",
    "top_items",
]
