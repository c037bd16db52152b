"""Evaluation of exported scores by the evaluator of Chronotope's own models."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.queries import Queries
from chronotope.metrics import (
    PairedDifference,
    bootstrap_interval,
    evaluate,
    ndcg,
    paired_difference,
    summarise_metrics,
)

METRICS = ("ndcg_10", "acc_1", "acc_10", "mrr", "return_acc_10", "discovery_acc_10")


class Exported:
    """Recommender that returns exported scores, one row a user."""

    history_len: int | None = None

    def __init__(
        self, scores: npt.NDArray[Any], users: npt.NDArray[np.integer], *, drops_seen: bool
    ) -> None:
        """Store the scores.

        Args:
            scores: Shape (n_targets, n_items).
            users: User of each row's target, shape (n_targets,), each user once.
            drops_seen: Exclude items of the user's history.
        """
        self.name = "exported"
        self._scores, self._drops_seen = scores, drops_seen
        self._row = np.full(int(users.max(initial=0)) + 1, -1, dtype=np.int64)
        self._row[users] = np.arange(len(users))

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """No operation: the scores are given."""
        return self

    def observe(self, log: EventLog) -> None:
        """No operation: the scores are given."""

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Rows of the users of the queries, shape (B, n_items)."""
        block = np.array(self._scores[self._row[queries.user_idx]])
        if self._drops_seen:
            np.put_along_axis(block, queries.item_idx.astype(np.int64), -np.inf, axis=1)
        return block


def evaluate_scores(
    scores: npt.NDArray[Any], log: EventLog, targets: Int64, *, n_items: int, drops_seen: bool
) -> tuple[dict[str, float], Float64]:
    """Metrics of exported scores with the interval of NDCG@10, and each target's rank."""
    model = Exported(scores, log.user_idx[targets], drops_seen=drops_seen)
    outcomes = evaluate(model, log, targets, n_items=n_items, time_given=False)
    summary = summarise_metrics(outcomes)
    interval = bootstrap_interval(ndcg(outcomes.rank, 10), outcomes.user)
    found = {name: summary[name] for name in (*METRICS, "n_targets", "n_return")}
    return found | {"ndcg_10_low": interval.low, "ndcg_10_high": interval.high}, outcomes.rank


def lead(ours: Float64, theirs: Float64) -> PairedDifference:
    """NDCG@10 of one model minus another's on the same targets, one a user."""
    return paired_difference(ndcg(ours, 10), ndcg(theirs, 10), np.arange(len(ours)))
