"""Global priors: counts over all users of a log.

Priors are state, not parameters. In training the priors beside a target are counted
from the rounds *before* it, or the counts would leak the target.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from chronotope.content.similar_items import similar_items
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.features.activity_counts import ACTIVITY_NAMES
from chronotope.features.context_lift import count_context_lift
from chronotope.models.batch import Batch, local_hour, local_weekday
from chronotope.models.discovery_counts import (
    count_activity,
    count_affinity,
    no_affinity,
)

WEEK_S = 7 * 86_400
N_NEAR = 3
"""Maximum distance in events of two items that count as neighbours."""
SHRINKAGE = 5.0
"""Weight of a wider group's mean, in visitors, when rates are shrunk to it."""
_PAIR_TABLES = {
    "next_item_log": "next_item",
    "neighbour_weight": "neighbour",
    "affinity_weight": "affinity_item",
}
"""Values of pairs of items, and the table of the second items."""
_KEPT_ACTIVITY = torch.tensor([float(name == "category_events") for name in ACTIVITY_NAMES])
"""1 for the live counts that an item without events has, as its category has them."""
N_FEW = 5
"""Events with which a new item is scored like all others."""
NEW_WEEKS = 4
"""Weeks after its first event in which an item is new."""
N_HOUR_BINS = 16
"""Eight three-hour bins of a working day, then eight of a weekend day."""


class Priors(NamedTuple):
    """Counts as log(1 + x), float32.

    Attributes:
        popularity: Events of each item, shape (n_items,).
        popularity_week: The same over the last seven days.
        by_hour: Excess of an item in an hour bin, shape (N_HOUR_BINS, n_items).
        next_item: The likeliest successors of each item, int64, shape (n_items, M).
        next_item_log: Their counts, shape (n_items, M).
        next_category: Successions of categories, shape (n_categories, n_categories).
        category_by_hour: Excess of a category, shape (N_HOUR_BINS, n_categories).
        neighbour: Items that occur close together in histories, int64, shape (n_items, M).
        neighbour_weight: Cosine of each such pair, shape (n_items, M).
        place_popularity: Events at each place, shape (n_places,).
        stickiness: Log of the events a visitor of an item, shape (n_items,).
        activity: Live counts, shape (len(ACTIVITY_NAMES), n_items); read by the discovery head.
        affinity_item: Items of the strongest EASE weights, int64, shape (n_items, M); M is 0
            where the discovery head does not read them.
        affinity_weight: Those weights, shape (n_items, M).
        content_popularity: Popularity expected from the items with the most similar content of
            an item without events, or a new one with few, shape (n_items,); 0 for all others.
        cold_share: Share of the cold-start scores that these items get, shape (n_items,): 1
            without events, falling with the first ones; 0 for all others.
        context_lift: Log of how much more often an item is chosen while its item context differs
            from the defaults in one column, two, ..., shape (n_items, n_states); 0 states without
            item context.
    """

    popularity: Tensor
    popularity_week: Tensor
    by_hour: Tensor
    next_item: Tensor
    next_item_log: Tensor
    next_category: Tensor
    category_by_hour: Tensor
    neighbour: Tensor
    neighbour_weight: Tensor
    place_popularity: Tensor
    stickiness: Tensor
    activity: Tensor
    affinity_item: Tensor
    affinity_weight: Tensor
    content_popularity: Tensor
    cold_share: Tensor
    context_lift: Tensor


def count_priors(
    log: EventLog, catalog: Catalog, *, n_successors: int = 32, affinity: bool = False
) -> Priors:
    """Count the priors of a log; one pass and one sort, no loop over events.

    Args:
        log: All events before the moment.
        catalog: Categories of the items, and their content, from which items without events
            get what the most similar items have.
        n_successors: Successors and neighbours of each item.
        affinity: Also solve EASE, which costs seconds in a catalogue of thousands.
    """
    n = catalog.n_items
    popularity = np.bincount(log.item_idx, minlength=n).astype(np.float64)
    end_s = log.occurred_s.max(initial=0)
    recent = log.item_idx[log.occurred_s > end_s - WEEK_S]
    popularity_week = np.bincount(recent, minlength=n)
    next_item, next_log = strongest_pairs(successions(log, n, steps=1), n_successors)
    neighbour, cosine = strongest_pairs(_co_visits(log, n), n_successors)
    category = catalog.item_category[log.item_idx]
    places = np.bincount(log.place_idx, minlength=catalog.n_places)
    affinity_item, affinity_weight = count_affinity(log, catalog) if affinity else no_affinity(n)
    counted = Priors(
        popularity=log_count(popularity),
        popularity_week=log_count(popularity_week),
        by_hour=_hour_profile(log, log.item_idx, n),
        next_item=torch.from_numpy(next_item),
        next_item_log=log_count(next_log),
        next_category=_category_successions(log, catalog),
        category_by_hour=_hour_profile(log, category, catalog.categories.size),
        neighbour=torch.from_numpy(neighbour),
        neighbour_weight=torch.from_numpy(cosine.astype(np.float32)),
        place_popularity=log_count(places),
        stickiness=_stickiness(log, catalog),
        activity=count_activity(log, catalog),
        affinity_item=affinity_item,
        affinity_weight=affinity_weight,
        content_popularity=torch.zeros(n),
        cold_share=torch.zeros(n),
        context_lift=torch.from_numpy(count_context_lift(log, catalog)),
    )
    return with_cold_items(counted, catalog)


def with_cold_items(priors: Priors, catalog: Catalog) -> Priors:
    """Priors in which items without events have the hours and rates of similar items.

    Args:
        priors: Counted priors.
        catalog: Content of the items; without it nothing changes.
    """
    if catalog.content is None:
        return priors
    is_cold, cold_share = priors.popularity == 0, _cold_share(priors)
    similar = similar_items(catalog.content, (cold_share == 0).numpy())

    def filled(table: Tensor, axis: int = 0) -> Tensor:
        return torch.where(is_cold, torch.from_numpy(similar.fill(table.numpy(), axis=axis)), table)

    expected = torch.zeros(len(cold_share))
    expected[similar.item_idx] = torch.from_numpy(similar.rows(priors.popularity.numpy()))
    return priors._replace(
        by_hour=filled(priors.by_hour, axis=1),
        stickiness=filled(priors.stickiness),
        content_popularity=expected,
        cold_share=cold_share * (expected > 0),
    )


def _cold_share(priors: Priors) -> Tensor:
    """Share of the cold-start scores that each item gets, shape (n_items,)."""
    n_events = torch.expm1(priors.popularity)
    age_weeks = torch.expm1(priors.activity[ACTIVITY_NAMES.index("age")])
    few_share = (1.0 - n_events / N_FEW).clamp(min=0.0) * (age_weeks < NEW_WEEKS)
    return torch.where(priors.popularity == 0, 1.0, few_share)


def without_events_of(priors: Priors, catalog: Catalog, is_hidden: Tensor) -> Priors:
    """Priors as if some items had no events; they are what is expected from their content.

    Args:
        priors: Counted priors.
        catalog: Content of the items.
        is_hidden: The items, bool, shape (n_items,).
    """
    is_shown = (~is_hidden).float()
    shown_pairs = {
        name: getattr(priors, name) * is_shown[:, None] * is_shown[getattr(priors, item_name)]
        for name, item_name in _PAIR_TABLES.items()
    }
    popularity = priors.popularity * is_shown
    activity = priors.activity.clone()
    activity[:, is_hidden] *= _KEPT_ACTIVITY[:, None]
    hidden = priors._replace(
        popularity=popularity,
        popularity_week=priors.popularity_week * is_shown,
        activity=activity,
        **shown_pairs,
    )
    return with_cold_items(hidden, catalog)


def first_successors(priors: Priors, n: int) -> Priors:
    """Priors with the n strongest successors and neighbours of each item; 0 keeps all."""
    rows = (
        "next_item",
        "next_item_log",
        "neighbour",
        "neighbour_weight",
        "affinity_item",
        "affinity_weight",
    )
    if n == 0:
        return priors
    return priors._replace(**{name: getattr(priors, name)[:, :n].contiguous() for name in rows})


def hour_bin(weekday: Tensor, hour: Tensor) -> Tensor:
    """Bin of the local weekday (Monday = 0) and hour, int64, same shape."""
    return (hour / 3.0).long() + 8 * (weekday >= 5).long()


def request_hour_bin(batch: Batch) -> Tensor:
    """Bin of the hour and day type of the request, int64, shape (B,)."""
    return hour_bin(
        local_weekday(batch.request_s, batch.request_offset_min),
        local_hour(batch.request_s, batch.request_offset_min),
    )


def request_hour_weights(batch: Batch) -> Tensor:
    """1 in the bin of the request and 0 in the others, float32, shape (B, N_HOUR_BINS)."""
    # compared rather than ``one_hot``, which the exporter would have to decompose
    bins = torch.arange(N_HOUR_BINS, device=batch.request_s.device)
    return (request_hour_bin(batch)[:, None] == bins).float()


def _hour_profile(log: EventLog, group: np.ndarray, n: int) -> Tensor:
    """Log of the smoothed lift of each group in each hour bin, shape (N_HOUR_BINS, n)."""
    instant, offset = torch.tensor(log.occurred_s), torch.tensor(log.utc_offset_min).long()
    bins = hour_bin(local_weekday(instant, offset), local_hour(instant, offset)).numpy()
    counts = np.bincount(bins * n + group, minlength=N_HOUR_BINS * n)
    return hour_lift(counts.reshape(N_HOUR_BINS, n))


def hour_lift(counts: np.ndarray) -> Tensor:
    """Log of the smoothed lift of each group in each hour bin, float32.

    Args:
        counts: Events of all groups by hour bin, shape (N_HOUR_BINS, n).
    """
    share = counts.sum(1, keepdims=True) / max(1, counts.sum())
    lift = (counts + 2.0 * share) / ((counts.sum(0) + 2.0) * np.maximum(share, 1e-9))
    return torch.from_numpy(np.log(np.maximum(lift, 1e-3)).astype(np.float32))


def successions(log: EventLog, n: int, *, steps: int) -> sparse.csr_matrix:
    """Counts of item pairs that are a given number of events apart, sparse (n, n)."""
    follows = log.user_idx[steps:] == log.user_idx[:-steps]
    follows &= log.occurred_s[steps:] > log.occurred_s[:-steps]
    source, target = log.item_idx[:-steps][follows], log.item_idx[steps:][follows]
    return sparse.csr_matrix((np.ones(len(source)), (source, target)), shape=(n, n))


def _co_visits(log: EventLog, n: int) -> sparse.csr_matrix:
    """Cosine similarity of items at most ``N_NEAR`` events apart, symmetric, sparse (n, n)."""
    return pair_cosine(sum(successions(log, n, steps=steps) for steps in range(1, N_NEAR + 1)))


def pair_cosine(near: sparse.csr_matrix) -> sparse.csr_matrix:
    """Cosine similarity of items from the counts of their pairs, symmetric, sparse (n, n).

    Args:
        near: Counts of pairs at most ``N_NEAR`` events apart, the earlier item first.
    """
    near = near + near.T
    near.setdiag(0)
    near.eliminate_zeros()
    size = np.sqrt(np.maximum(np.asarray(near.sum(1)).ravel(), 1.0))
    scale = sparse.diags_array(1.0 / size)
    return sparse.csr_matrix(scale @ near @ scale)


def strongest_pairs(counts: sparse.csr_matrix, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the largest entries of each row, both of shape (n, n_columns).

    Args:
        counts: Counts of pairs, sparse (n, n).
        n_columns: Entries of each row; missing ones are 0.
    """
    n = counts.shape[0]
    counts.sum_duplicates()
    row = np.repeat(np.arange(n), np.diff(counts.indptr))
    order = np.lexsort((-counts.data, row))
    rank = np.arange(counts.nnz) - counts.indptr[row]
    is_kept = rank < n_columns
    items = np.zeros((n, n_columns), dtype=np.int64)
    values = np.zeros((n, n_columns))
    items[row[is_kept], rank[is_kept]] = counts.indices[order][is_kept]
    values[row[is_kept], rank[is_kept]] = counts.data[order][is_kept]
    return items, values


def _category_successions(log: EventLog, catalog: Catalog) -> Tensor:
    """Log of the counts of the next category after each category, shape (n, n)."""
    n = catalog.categories.size
    follows = log.user_idx[1:] == log.user_idx[:-1]
    category = catalog.item_category[log.item_idx].astype(np.int64)
    cell = category[:-1][follows] * n + category[1:][follows]
    return log_count(np.bincount(cell, minlength=n * n).reshape(n, n))


def log_count(counts: np.ndarray) -> Tensor:
    """Log(1 + count), float32, the same shape."""
    return torch.from_numpy(np.log1p(counts).astype(np.float32))


def _stickiness(log: EventLog, catalog: Catalog) -> Tensor:
    """Log events per visitor, shrunk to the category's rate, itself shrunk to the global rate."""
    pairs = np.unique(log.user_idx.astype(np.int64) * catalog.n_items + log.item_idx)
    events = np.bincount(log.item_idx, minlength=catalog.n_items)
    visitors = np.bincount(pairs % catalog.n_items, minlength=catalog.n_items)
    return visit_rate(events, visitors, catalog)


def visit_rate(events: np.ndarray, visitors: np.ndarray, catalog: Catalog) -> Tensor:
    """Log of the shrunk events per visitor of each item, shape (n_items,).

    Args:
        events: Events of each item.
        visitors: Users with an event of each item.
        catalog: Categories of the items.
    """

    def sum_by_category(counts: np.ndarray) -> np.ndarray:
        return np.bincount(catalog.item_category, counts, minlength=catalog.categories.size)

    overall = (events.sum() + 1.0) / (visitors.sum() + 1.0)
    category_rate = (sum_by_category(events) + SHRINKAGE * overall) / (
        sum_by_category(visitors) + SHRINKAGE
    )
    item_rate = (events + SHRINKAGE * category_rate[catalog.item_category]) / (visitors + SHRINKAGE)
    return torch.from_numpy(np.log(item_rate).astype(np.float32))
