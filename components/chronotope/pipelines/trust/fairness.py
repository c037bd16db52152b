"""Fairness of a candidate: accuracy by group of users, and exposure of items.

Groups are the levels of the users' attributes; without attributes, thirds of the users by the
number of their events before the holdout.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.metrics import TargetSpans, bootstrap_interval, top_items
from chronotope.metrics.exposure import (
    ListExposure,
    list_exposure,
    position_weights,
    tail_items,
)
from chronotope.pipelines.trust.results import (
    ExposureEvaluation,
    FairnessEvaluation,
    GroupAccuracy,
    MeasuredValue,
)

MAX_LISTS: Final = 2_000
"""Targets whose lists are computed, at most."""

LIST_LEN: Final = 10

ACTIVITY: Final = "activity"
"""Attribute of logs without attributes of the users."""

_THIRDS: Final = ("low", "medium", "high")
_BATCH_SIZE: Final = 256


@dataclass(frozen=True, slots=True)
class UserGroups:
    """Groups of the users by attribute.

    Attributes:
        level_idx: Level of each user by attribute, -1 if unknown, shape (n_users,) each.
        levels: Names of the levels by attribute.
    """

    level_idx: dict[str, Int64]
    levels: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, catalog: Catalog, past: EventLog) -> Self:
        """Levels of the attributes, else thirds by the number of past events.

        Args:
            catalog: The users and their attributes.
            past: Events before the targets.
        """
        attributes = catalog.user_attributes
        if attributes is not None and attributes.columns:
            codes = {
                column.name: attributes.codes[:, column_idx].astype(np.int64)
                for column_idx, column in enumerate(attributes.columns)
            }
            level_idx = {
                column.name: np.where(codes[column.name] > 0, codes[column.name] - column.first, -1)
                for column in attributes.columns
            }
            return cls(level_idx, {column.name: column.levels for column in attributes.columns})
        n_events = np.bincount(past.user_idx, minlength=catalog.users.size)
        known_counts = n_events[n_events > 0]
        edges = np.quantile(known_counts, [1 / 3, 2 / 3]) if len(known_counts) else [0.0, 0.0]
        third = np.searchsorted(edges, n_events, side="left").astype(np.int64)
        return cls({ACTIVITY: third}, {ACTIVITY: _THIRDS})


@dataclass(frozen=True, slots=True)
class RecommendedLists:
    """Lists of a model for some targets.

    Attributes:
        targets: Positions in the log, shape (n_lists,).
        items: Items, best first, shape (n_lists, k).
        confidence: Probability of the first item, shape (n_lists,).
    """

    targets: Int64
    items: Int64
    confidence: Float64


def evaluate_fairness(
    model: Recommender,
    log: EventLog,
    targets: Int64,
    ndcg_values: Float64,
    catalog: Catalog,
    *,
    min_group_users: int,
) -> FairnessEvaluation:
    """Accuracy by group of users and exposure of items.

    Args:
        model: The candidate.
        log: All events.
        targets: Positions in the log, shape (n_targets,).
        ndcg_values: NDCG@10 of each target, shape (n_targets,).
        catalog: Users, items and attributes.
        min_group_users: Groups with fewer users among the targets are not shown.
    """
    past = log.before(int(log.occurred_s[targets].min()))
    lists = recommend_lists(model, log, targets)
    groups = UserGroups.of(catalog, past)
    n_events = np.bincount(past.item_idx, minlength=catalog.n_items)
    item_exposure = exposure_of_lists(lists, log, n_events)
    return FairnessEvaluation(
        groups=tuple(
            group
            for attribute in groups.levels
            for group in _group_rows(
                attribute, groups, log, targets, ndcg_values, lists, min_group_users
            )
        ),
        min_group_users=min_group_users,
        exposure=ExposureEvaluation(
            tail_share=MeasuredValue.of(item_exposure.tail_share),
            tail_demand=MeasuredValue.of(item_exposure.tail_demand),
            gap=MeasuredValue.of(item_exposure.gap),
            gini=item_exposure.gini,
            coverage=item_exposure.coverage,
            popularity_lift=item_exposure.popularity_lift,
            group_shares=item_exposure.group_shares,
            group_demand=item_exposure.group_demand,
        ),
    )


def group_levels(
    catalog: Catalog, log: EventLog, targets: Int64, *, min_group_users: int
) -> dict[str, Int64]:
    """Group of each target by attribute; -1 for none, or for a group with too few users.

    Args:
        catalog: Users and attributes.
        log: All events.
        targets: Positions in the log, shape (n_targets,).
        min_group_users: Users among the targets that a group needs.
    """
    user_idx = log.user_idx[targets]
    groups = UserGroups.of(catalog, log.before(int(log.occurred_s[targets].min())))
    level_by_attribute = {}
    for attribute, level_of_user in groups.level_idx.items():
        users = np.unique(user_idx)
        known_users = users[level_of_user[users] >= 0]
        n_users = np.bincount(level_of_user[known_users], minlength=len(groups.levels[attribute]))
        level_idx = level_of_user[user_idx]
        is_shown = (level_idx >= 0) & (n_users[level_idx] >= min_group_users)
        level_by_attribute[attribute] = np.where(is_shown, level_idx, -1)
    return level_by_attribute


def tail_shares(
    model: Recommender, log: EventLog, targets: Int64, catalog: Catalog
) -> tuple[Float64, Int64]:
    """Share of the exposure of the tail in each list, and the user of each list.

    Args:
        model: A fitted model over the catalogue.
        log: All events.
        targets: Positions in the log; a part of them is taken, shape (n_targets,).
        catalog: The items.
    """
    past = log.before(int(log.occurred_s[targets].min()))
    is_tail = tail_items(np.bincount(past.item_idx, minlength=catalog.n_items))
    lists = recommend_lists(model, log, targets)
    shares = is_tail[lists.items] @ position_weights(lists.items.shape[1])
    return shares, log.user_idx[lists.targets].astype(np.int64)


def recommend_lists(model: Recommender, log: EventLog, targets: Int64) -> RecommendedLists:
    """Lists for at most ``MAX_LISTS`` of the targets, the time of the request given.

    Args:
        model: A fitted model.
        log: All events.
        targets: Positions in the log, shape (n_targets,).
    """
    targets = targets[:: -(-len(targets) // MAX_LISTS)]
    spans = TargetSpans.of(log, targets)
    order = np.argsort(spans.n_history, kind="stable")
    parts = []
    for begin in range(0, len(order), _BATCH_SIZE):
        rows = order[begin : begin + _BATCH_SIZE]
        query_batch = queries_at(
            log,
            targets[rows],
            history_len=model.history_len,
            time_given=True,
            target_starts=(spans.user_start[rows], spans.basket_start[rows]),
        )
        item_scores = model.scores(query_batch)
        best = top_items(item_scores, LIST_LEN)  # (B, k)
        known_scores = item_scores[:, 1:].astype(np.float64)
        top_score = known_scores.max(axis=1, keepdims=True)
        parts.append((best, 1.0 / np.exp(known_scores - top_score).sum(axis=1)))
    items = np.empty((len(order), parts[0][0].shape[1]), np.int64)
    confidence = np.empty(len(order))
    items[order] = np.concatenate([best for best, _ in parts])
    confidence[order] = np.concatenate([shares for _, shares in parts])
    return RecommendedLists(targets, items, confidence)


def exposure_of_lists(
    lists: RecommendedLists, log: EventLog, n_events: npt.NDArray[np.integer]
) -> ListExposure:
    """Exposure of the items in lists.

    Args:
        lists: Result of ``recommend_lists``.
        log: All events.
        n_events: Events of each item before the targets, shape (n_items,).
    """
    targets = lists.targets
    return list_exposure(lists.items, log.item_idx[targets], log.user_idx[targets], n_events)


def _group_rows(
    attribute: str,
    groups: UserGroups,
    log: EventLog,
    targets: Int64,
    ndcg_values: Float64,
    lists: RecommendedLists,
    min_group_users: int,
) -> list[GroupAccuracy]:
    """Rows of the levels of an attribute that have enough users."""
    user_level, list_level = (
        groups.level_idx[attribute][log.user_idx[positions]]
        for positions in (targets, lists.targets)
    )
    excess = lists.confidence - (lists.items[:, 0] == log.item_idx[lists.targets])
    rows = []
    for level_idx, level in enumerate(groups.levels[attribute]):
        in_group, list_in_group = user_level == level_idx, list_level == level_idx
        users = log.user_idx[targets[in_group]]
        n_users = len(np.unique(users))
        if n_users < min_group_users or not list_in_group.any():
            continue
        rows.append(
            GroupAccuracy(
                attribute=attribute,
                level=level,
                n_users=n_users,
                n_targets=int(in_group.sum()),
                ndcg_10=MeasuredValue.of(
                    bootstrap_interval(ndcg_values[in_group], users, n_resamples=500)
                ),
                overconfidence=MeasuredValue.of(
                    bootstrap_interval(
                        excess[list_in_group],
                        log.user_idx[lists.targets[list_in_group]],
                        n_resamples=500,
                    )
                ),
            )
        )
    return rows
