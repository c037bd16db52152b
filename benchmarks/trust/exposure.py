"""Exposure of rarer items and accuracy of groups of users, before and after the re-ranking."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.rows import Row
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.queries import queries_at
from chronotope.inference.rerank import expose_tail, own_tail_share
from chronotope.metrics import Interval, bootstrap_interval, top_items
from chronotope.metrics.exposure import ListExposure, list_exposure, tail_items
from chronotope.metrics.group_gap import gap_growth
from chronotope.models.config import ModelConfig
from chronotope.pipelines.trust.fairness import group_levels
from chronotope.serving.model.tail_exposure import POOL_SIZE
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

STRENGTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
MAX_TARGETS: Final = 4_000
MAX_LOST: Final = 0.02
RECENT_S: Final = 28 * 86_400
LIST_LEN: Final = 10
MIN_GROUP_USERS: Final = 20


@dataclass(frozen=True, slots=True)
class RerankedTargets:
    """Pools of the best items of targets, so that any strength is tried without the model.

    Attributes:
        targets: Positions in the log, shape (n_targets,).
        pools: Best items, shape (n_targets, n).
        scores: Their log-probabilities but for a constant, shape (n_targets, n).
        tail_shares: Share of the tail in each history, shape (n_targets,).
        is_tail: Items of the tail as served: by the last 28 days of the training.
    """

    targets: Int64
    pools: Int64
    scores: Float64
    tail_shares: Float64
    is_tail: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def lists(self, strength: float) -> Int64:
        """Lists with a strength of the re-ranking, shape (n_targets, k)."""
        rows = zip(self.pools, self.scores, self.tail_shares, strict=True)
        return np.stack(
            [
                expose_tail(pool, scores, self.is_tail, float(share), LIST_LEN, strength).items
                for pool, scores, share in rows
            ]
        )


def make_pools(
    model: ChronotopeRecommender, log: EventLog, past: EventLog, targets: Int64, n_items: int
) -> RerankedTargets:
    """Pools of targets, the time of the request given.

    Args:
        model: A fitted model.
        log: All events.
        past: Events of the training.
        targets: Positions in the log, shape (n_targets,).
        n_items: Items of the catalogue.
    """
    recent = past.item_idx[past.occurred_s > past.occurred_s.max() - RECENT_S]
    item_counts = np.bincount(recent, minlength=n_items)
    is_tail = tail_items(item_counts)
    starts = (log.user_start(), log.basket_start())
    pools, pool_scores = [], []
    for rows in np.array_split(targets, max(1, len(targets) // 128)):
        queries = queries_at(
            log, rows, history_len=model.history_len, time_given=True, start_positions=starts
        )
        item_scores = model.scores(queries)
        pools.append(top_items(item_scores, POOL_SIZE))
        pool_scores.append(np.take_along_axis(item_scores, pools[-1], axis=1))
    shares = [
        own_tail_share(log.item_idx[starts[0][row] : starts[1][row]], is_tail, item_counts)
        for row in targets
    ]
    return RerankedTargets(
        targets,
        np.concatenate(pools),
        np.concatenate(pool_scores).astype(np.float64),
        np.array(shares),
        is_tail,
    )


def list_ndcg(lists: Int64, true_items: Int64) -> Float64:
    """NDCG@k of each list with one true item, shape (n_targets,)."""
    weights = 1.0 / np.log2(np.arange(2, lists.shape[1] + 2))
    values: Float64 = (lists == true_items[:, None]) @ weights
    return values


def exposure_rows(name: str, log: EventLog, catalog: Catalog, end_s: int, seed: int) -> list[Row]:
    """Rows of the exposure gap, its ratio after the re-ranking, and what that costs.

    The strength is chosen on the first half of the time after the training, the rows are of the
    second.

    Args:
        name: Name of the data set.
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of the training.
    """
    past = log.before(end_s)
    model = ChronotopeRecommender(ModelConfig(content=False), TrainingConfig(seed=seed))
    model.fit(past, catalog)
    last_s = int(log.occurred_s.max()) + 1
    middle_s = int(np.median(log.occurred_s[log.occurred_s >= end_s]))
    n_events = np.bincount(past.item_idx, minlength=catalog.n_items)
    chosen_on, measured_on = (
        make_pools(
            model,
            log,
            past,
            targets_between(log, start_s, stop_s, max_targets=MAX_TARGETS, seed=seed),
            catalog.n_items,
        )
        for start_s, stop_s in ((end_s, middle_s), (middle_s, last_s))
    )
    strength = choose_strength(chosen_on, log, n_events)
    return _measured_rows(name, measured_on, log, catalog, n_events, strength)


def choose_strength(pools: RerankedTargets, log: EventLog, n_events: Int64) -> float:
    """The strength that halves the gap, or the largest one that costs at most ``MAX_LOST``.

    Args:
        pools: Targets that the choice is made on.
        log: All events.
        n_events: Events of each item in the training, shape (n_items,).
    """
    true_items = log.item_idx[pools.targets].astype(np.int64)
    first_ndcg = list_ndcg(pools.lists(0.0), true_items).mean()
    first_gap = _exposure(pools, pools.lists(0.0), log, n_events).gap.estimate
    allowed = 0.0
    for strength in STRENGTHS[1:]:
        lists = pools.lists(strength)
        if list_ndcg(lists, true_items).mean() < (1.0 - MAX_LOST) * first_ndcg:
            break
        allowed = strength
        if abs(_exposure(pools, lists, log, n_events).gap.estimate) <= abs(first_gap) / 2:
            break
    return allowed


def _exposure(pools: RerankedTargets, lists: Int64, log: EventLog, n_events: Int64) -> ListExposure:
    targets = pools.targets
    return list_exposure(lists, log.item_idx[targets], log.user_idx[targets], n_events)


def _measured_rows(
    name: str,
    pools: RerankedTargets,
    log: EventLog,
    catalog: Catalog,
    n_events: Int64,
    strength: float,
) -> list[Row]:
    lists_before, lists_after = pools.lists(0.0), pools.lists(strength)
    true_items = log.item_idx[pools.targets].astype(np.int64)
    users = log.user_idx[pools.targets]
    ndcg_before, ndcg_after = (
        list_ndcg(lists, true_items) for lists in (lists_before, lists_after)
    )
    before, after = (
        _exposure(pools, lists, log, n_events) for lists in (lists_before, lists_after)
    )
    lost = bootstrap_interval((ndcg_before - ndcg_after) / ndcg_before.mean(), users)
    note = f"tail_exposure {strength:g}; {len(users)} targets"
    rows = [
        _row(name, "exposure_gap", before.gap, f"tail demand {before.tail_demand.estimate:.3f}"),
        _row(name, "exposure_gap_after", after.gap, note),
        _ratio_row(name, before, after, note),
        _row(name, "exposure_ndcg_lost", lost, f"share of NDCG@10 {ndcg_before.mean():.4f}"),
        _plain(name, "gini", before.gini, "before"),
        _plain(name, "gini_after", after.gini, note),
        _plain(name, "coverage", before.coverage, "before"),
        _plain(name, "coverage_after", after.coverage, note),
        _plain(name, "popularity_lift", before.popularity_lift, "before"),
        _plain(name, "popularity_lift_after", after.popularity_lift, note),
    ]
    levels = group_levels(catalog, log, pools.targets, min_group_users=MIN_GROUP_USERS)
    for attribute, level_idx in levels.items():
        if len(np.unique(level_idx[level_idx >= 0])) < 2:
            continue
        zeros = np.zeros(len(users))
        for measure, values in (("user_gap", ndcg_before), ("user_gap_after", ndcg_after)):
            gap = gap_growth(values, zeros, users, level_idx)
            rows.append(_row(name, measure, gap, f"NDCG@10 between groups of {attribute}"))
    return rows


def _ratio_row(name: str, before: ListExposure, after: ListExposure, note: str) -> Row:
    """Gap after the re-ranking over that before; only a gap beyond noise can be halved."""
    if before.gap.low <= 0:
        return _plain(name, "exposure_gap_ratio", float("nan"), f"no gap beyond noise; {note}")
    ratio = abs(after.gap.estimate) / before.gap.estimate
    return _plain(name, "exposure_gap_ratio", ratio, note)


def _plain(name: str, measure: str, value: float, note: str) -> Row:
    return {
        "dataset": name, "measure": measure, "value": None if np.isnan(value) else round(value, 4),
        "low": None, "high": None, "note": note,
    }  # fmt: skip


def _row(name: str, measure: str, interval: Interval, note: str) -> Row:
    low, high = round(interval.low, 4), round(interval.high, 4)
    return _plain(name, measure, interval.estimate, note) | {"low": low, "high": high}
