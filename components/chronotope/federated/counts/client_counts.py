"""Counts of one client in the cells of a plan; their sum over the clients is that of all users.

A section is a part of the counts that is summed at once, as one vector:

* ``bins``: events, first events and active users by time bin; needs no plan of the pairs;
* ``moment-k``: successions, neighbours, hours, categories and places since the moment before;
* ``anchor-k``: users of each pair of items (the Gram matrix of EASE).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.features.activity_counts import ACTIVE_DAYS
from chronotope.federated.counts.plan import CountPlan, TimeBins
from chronotope.models.batch import local_hour, local_weekday
from chronotope.models.priors import N_HOUR_BINS, N_NEAR, hour_bin

BINS_SECTION: Final = "bins"

Shapes = dict[str, tuple[int, ...]]
Tables = dict[str, npt.NDArray[Any]]


def bin_shapes(bins: TimeBins, n_items: int) -> Shapes:
    """Shapes of the tables of the section ``bins``, by name."""
    return {
        "events": (bins.n_bins, n_items),
        "first_events": (bins.n_bins, n_items),
        "active_users": (bins.n_bins + 1,),
    }


def section_names(plan: CountPlan) -> tuple[str, ...]:
    """Sections of a plan, without ``bins``."""
    moments = (f"moment-{number}" for number in range(len(plan.moments)))
    anchors = (f"anchor-{number}" for number in range(len(plan.anchors)))
    return (*moments, *anchors)


def section_shapes(plan: CountPlan, catalog: Catalog, section: str) -> Shapes:
    """Shapes of the tables of a section, by name."""
    n_pair_items, n_categories = len(plan.pair_items), catalog.categories.size
    if section.startswith("anchor-"):
        return {"pairs": (n_pair_items * (n_pair_items + 1) // 2,)}
    return {
        "next_item": (n_pair_items, n_pair_items),
        "near": (n_pair_items, n_pair_items),
        "item_hours": (N_HOUR_BINS, catalog.n_items),
        "next_category": (n_categories, n_categories),
        "places": (0 if catalog.items_are_places else catalog.n_places,),
    }


def flatten(tables: Tables, shapes: Shapes) -> Float64:
    """One vector of the tables of a section, in the order of the shapes."""
    return np.concatenate([np.asarray(tables[name], np.float64).ravel() for name in shapes])


def unflatten(vector: Float64, shapes: Shapes) -> Tables:
    """Inverse of ``flatten``."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(vector, ends[:-1])
    return {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}


def bin_counts(log: EventLog, bins: TimeBins, n_items: int) -> Tables:
    """Tables of the section ``bins``."""
    bin_idx = bins.index(log.occurred_s)
    pairs = log.user_idx.astype(np.int64) * n_items + log.item_idx
    is_first = np.zeros(len(log), np.bool_)
    is_first[np.unique(pairs, return_index=True)[1]] = True

    def by_bin(is_counted: npt.NDArray[np.bool_]) -> Int64:
        cells = bin_idx[is_counted] * n_items + log.item_idx[is_counted]
        return np.bincount(cells, minlength=bins.n_bins * n_items)

    return {
        "events": by_bin(np.ones(len(log), np.bool_)),
        "first_events": by_bin(is_first),
        "active_users": _active_users(log.user_idx, bin_idx, bins),
    }


def section_counts(log: EventLog, catalog: Catalog, plan: CountPlan, section: str) -> Tables:
    """Tables of a section but ``bins``.

    Args:
        log: Events of the client before the end of the training, in shared indices.
        catalog: The shared catalogue.
        plan: Cells of the counts.
        section: One of ``section_names``.
    """
    kind, number = section.split("-")
    counted: Callable[[EventLog, Catalog, CountPlan, int], Tables] = (
        _anchor_counts if kind == "anchor" else _moment_counts
    )
    return counted(log, catalog, plan, int(number))


def _moment_counts(log: EventLog, catalog: Catalog, plan: CountPlan, number: int) -> Tables:
    """Counts of the events between two moments; a pair belongs to its later event."""
    bin_idx = plan.bins.index(log.occurred_s)
    start = 0 if number == 0 else int(plan.moments[number - 1])
    is_inside = (bin_idx >= start) & (bin_idx < plan.moments[number])
    instant_s = torch.from_numpy(log.occurred_s[is_inside])
    offset_min = torch.from_numpy(log.utc_offset_min[is_inside]).long()
    weekday, hour = local_weekday(instant_s, offset_min), local_hour(instant_s, offset_min)
    hour_cells = hour_bin(weekday, hour).numpy() * catalog.n_items + log.item_idx[is_inside]
    category = catalog.item_category[log.item_idx].astype(np.int64)
    follows = (log.user_idx[1:] == log.user_idx[:-1]) & is_inside[1:]
    n_categories = catalog.categories.size
    category_cells = category[:-1][follows] * n_categories + category[1:][follows]
    n_places = 0 if catalog.items_are_places else catalog.n_places
    places = log.place_idx[is_inside] if n_places else np.empty(0, np.int64)
    return {
        "next_item": _pairs(log, plan, is_inside, 1),
        "near": sum(_pairs(log, plan, is_inside, steps) for steps in range(1, N_NEAR + 1)),
        "item_hours": np.bincount(hour_cells, minlength=N_HOUR_BINS * catalog.n_items),
        "next_category": np.bincount(category_cells, minlength=n_categories**2),
        "places": np.bincount(places, minlength=n_places),
    }


def _pairs(log: EventLog, plan: CountPlan, is_inside: npt.NDArray[np.bool_], steps: int) -> Int64:
    """Pairs of the plan's items a number of events apart, shape (K * K,)."""
    n_pair_items = len(plan.pair_items)
    position = np.minimum(np.searchsorted(plan.pair_items, log.item_idx), n_pair_items - 1)
    is_known = plan.pair_items[position] == log.item_idx
    follows = (log.user_idx[steps:] == log.user_idx[:-steps]) & is_inside[steps:]
    follows &= log.occurred_s[steps:] > log.occurred_s[:-steps]
    follows &= is_known[steps:] & is_known[:-steps]
    cells = position[:-steps][follows] * n_pair_items + position[steps:][follows]
    return np.bincount(cells, minlength=n_pair_items**2)


def _anchor_counts(log: EventLog, catalog: Catalog, plan: CountPlan, number: int) -> Tables:
    """Users of each pair of the plan's items before an anchor, upper triangle."""
    del catalog
    before = log.take(plan.bins.index(log.occurred_s) < plan.anchors[number])
    n_pair_items = len(plan.pair_items)
    position = np.minimum(np.searchsorted(plan.pair_items, before.item_idx), n_pair_items - 1)
    is_known = plan.pair_items[position] == before.item_idx
    users, row_idx = np.unique(before.user_idx[is_known], return_inverse=True)
    has_item = np.zeros((len(users), n_pair_items), np.float32)  # (U, K)
    has_item[row_idx, position[is_known]] = 1.0
    gram = has_item.T @ has_item
    return {"pairs": gram[np.triu_indices(n_pair_items)]}


def _active_users(user_idx: npt.NDArray[np.integer], bin_idx: Int64, bins: TimeBins) -> Int64:
    """Users with an event in the ``ACTIVE_DAYS`` before each edge, shape (n_bins + 1,)."""
    user_bins = np.unique(user_idx.astype(np.int64) * bins.n_bins + bin_idx)
    users, event_bins = np.divmod(user_bins, bins.n_bins)
    last_edge = event_bins + bins.width(ACTIVE_DAYS)  # the last one that the event counts for
    same_user = users[1:] == users[:-1]
    last_edge[:-1] = np.where(same_user, np.minimum(last_edge[:-1], event_bins[1:]), last_edge[:-1])
    changes = np.bincount(event_bins + 1, minlength=bins.n_bins + 2)[: bins.n_bins + 2]
    changes = changes - np.bincount(
        np.minimum(last_edge + 1, bins.n_bins + 1), minlength=bins.n_bins + 2
    )
    return np.cumsum(changes)[: bins.n_bins + 1]
