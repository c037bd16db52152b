"""Candidates of each basket and their features, from histories, counts and scores of models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.ceiling.basket_history import BasketHistory
from benchmarks.ceiling.item_statistics import ItemStatistics
from benchmarks.ceiling.windows import BasketTargets
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at

N_CANDIDATES: Final = 60
"""Items with the highest scores of each model that are candidates."""

BATCH_SIZE: Final = 128

GROUPS: Final = (
    "own",
    "baskets",
    "clock",
    "interval",
    "category",
    "live",
    "item",
    "user",
    "tifu_knn",
    "chronotope",
)
"""Groups of features: what stands before the point in their names."""


@dataclass(frozen=True, slots=True)
class CandidateTable:
    """Candidates of all baskets of a window, basket by basket.

    Attributes:
        names: Names of the features.
        features: One row a candidate, shape (n_rows, n_features); NaN if there is none.
        basket: Basket of each row, increasing, shape (n_rows,).
        item_idx: Item of each row, shape (n_rows,).
        is_bought: Whether the item is in the basket, shape (n_rows,).
    """

    names: tuple[str, ...]
    features: Float32
    basket: Int64
    item_idx: Int64
    is_bought: npt.NDArray[np.bool_]

    def column(self, name: str) -> Float32:
        """One feature, shape (n_rows,)."""
        return self.features[:, self.names.index(name)]

    def without(self, groups: Sequence[str]) -> Float32:
        """Features that are in none of the groups, shape (n_rows, n_others)."""
        is_left = [name.split(".")[0] not in groups for name in self.names]
        return self.features[:, is_left]


def candidate_table(
    log: EventLog, catalog: Catalog, targets: BasketTargets, models: Sequence[Recommender]
) -> CandidateTable:
    """Candidates and features of all baskets.

    Args:
        log: All events.
        catalog: Categories of the items.
        targets: Baskets of a window.
        models: Models fitted on the events before the window; each adds its first items to the
            candidates, and its scores to the features.
    """
    item_category = catalog.item_category.astype(np.int64)
    statistics = ItemStatistics.count(log, targets.train_end_s, item_category)
    starts = (log.user_start(), log.basket_start())
    names: tuple[str, ...] = ()
    features, baskets, items, is_bought = [], [], [], []
    for first_basket in range(0, len(targets.basket_position), BATCH_SIZE):
        positions = targets.basket_position[first_basket : first_basket + BATCH_SIZE]
        scores = [_scores(model, log, positions, starts) for model in models]
        for row, position in enumerate(positions):
            own = BasketHistory.before(log, int(starts[0][position]), int(position), item_category)
            model_scores = {
                model.name: each[row] for model, each in zip(models, scores, strict=True)
            }
            candidates = _candidates(list(model_scores.values()))
            request_s = int(log.occurred_s[position])
            columns = _columns(own, statistics, candidates, item_category, request_s)
            columns |= _score_columns(model_scores, candidates)
            names = tuple(columns)
            basket = first_basket + row
            bought = log.item_idx[position : targets.basket_end[basket]]
            features.append(np.stack(list(columns.values()), axis=1).astype(np.float32))
            baskets.append(np.full(len(candidates), basket))
            items.append(candidates)
            is_bought.append(np.isin(candidates, bought))
    return CandidateTable(
        names,
        np.concatenate(features),
        np.concatenate(baskets),
        np.concatenate(items),
        np.concatenate(is_bought),
    )


def _scores(
    model: Recommender, log: EventLog, positions: Int64, starts: tuple[Int64, Int64]
) -> Float64:
    """Scores of all items at the moments of baskets, shape (B, n_items); the unknown comes last."""
    queries = queries_at(
        log, positions, history_len=model.history_len, time_given=True, start_positions=starts
    )
    scores = np.array(model.scores(queries), dtype=np.float64)
    scores[:, 0] = -np.inf
    return scores


def _candidates(model_scores: Sequence[Float64]) -> Int64:
    """The first items of each model, increasing."""
    n_first = min(N_CANDIDATES, len(model_scores[0]) - 1)  # all but the unknown
    first_items = [np.argpartition(-scores, n_first)[:n_first] for scores in model_scores]
    candidates = np.unique(np.concatenate(first_items)).astype(np.int64)
    return candidates[candidates > 0]


def _columns(
    own: BasketHistory,
    statistics: ItemStatistics,
    candidates: Int64,
    item_category: Int64,
    request_s: int,
) -> dict[str, Float64]:
    """Features of the candidates but for scores, shape (n_candidates,) each."""
    is_own = np.isin(candidates, own.own_items)
    own_idx = np.searchsorted(own.own_items, candidates[is_own])
    columns: dict[str, Float64] = {}
    for name, values in own.own_columns(statistics).items():
        columns[name] = np.full(len(candidates), np.nan)
        columns[name][is_own] = values[own_idx]
    categories = item_category[candidates]
    n_categories = len(statistics.category_interval_days)
    columns |= own.category_columns(categories, max(n_categories, int(item_category.max()) + 1))
    usual = statistics.category_interval_days[categories]
    columns["category.overdue_usual"] = np.log((columns["category.age"] + 0.5) / (usual + 0.5))
    columns["category.item_share"] = columns["own.decay_60d"] / columns["category.decay_60d"].clip(
        1e-3
    )
    columns["category.newer_by"] = columns["own.age"] - columns["category.age"]
    columns |= statistics.live_columns(candidates, request_s)
    columns["item.popularity"] = statistics.log_popularity[candidates]
    columns["item.repeat_rate"] = statistics.repeat_rate[candidates]
    columns["item.interval"] = statistics.interval_days[candidates]
    for name, value in own.user_columns().items():
        columns[name] = np.full(len(candidates), value)
    return columns


def _score_columns(model_scores: dict[str, Float64], candidates: Int64) -> dict[str, Float64]:
    """Score of each model, its log-probability over all items, and the rank among candidates."""
    columns: dict[str, Float64] = {}
    for name, scores in model_scores.items():
        group = "tifu_knn" if name == "tifu_knn" else "chronotope"
        own_scores = scores[candidates]
        rank = np.argsort(np.argsort(-own_scores, kind="stable")).astype(float)
        columns |= {f"{group}.score": own_scores, f"{group}.rank": rank}
        if group == "chronotope":
            highest = scores.max()
            total = highest + np.log(np.exp(scores - highest).sum())
            columns["chronotope.log_probability"] = own_scores - total
    return columns
