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


def bin_shapes(time_bins: TimeBins, n_items: int) -> Shapes:
    """Shapes of the tables of the section ``bins``, by name."""
    return {
        "events": (time_bins.n_bins, n_items),
        "first_events": (time_bins.n_bins, n_items),
        "active_users": (time_bins.n_bins + 1,),
    }


def section_names(count_plan: CountPlan) -> tuple[str, ...]:
    """Sections of a plan, without ``bins``."""
    moments = (f"moment-{section_number}" for section_number in range(len(count_plan.moments)))
    anchors = (f"anchor-{section_number}" for section_number in range(len(count_plan.anchors)))
    return (*moments, *anchors)


def section_shapes(count_plan: CountPlan, catalog: Catalog, section_name: str) -> Shapes:
    """Shapes of the tables of a section, by name."""
    n_pair_items, n_categories = len(count_plan.pair_items), catalog.categories.size
    if section_name.startswith("anchor-"):
        return {"pairs": (n_pair_items * (n_pair_items + 1) // 2,)}
    return {
        "next_item": (n_pair_items, n_pair_items),
        "near": (n_pair_items, n_pair_items),
        "item_hours": (N_HOUR_BINS, catalog.n_items),
        "next_category": (n_categories, n_categories),
        "places": (0 if catalog.items_are_places else catalog.n_places,),
    }


def flatten(sum_tables: Tables, table_shapes: Shapes) -> Float64:
    """One vector of the tables of a section, in the order of the shapes."""
    return np.concatenate(
        [np.asarray(sum_tables[name], np.float64).ravel() for name in table_shapes]
    )


def unflatten(flat_vector: Float64, table_shapes: Shapes) -> Tables:
    """Inverse of ``flatten``."""
    ends = np.cumsum([int(np.prod(shape)) for shape in table_shapes.values()])
    parts = np.split(flat_vector, ends[:-1])
    return {
        name: part.reshape(table_shapes[name])
        for name, part in zip(table_shapes, parts, strict=True)
    }


def bin_counts(log: EventLog, time_bins: TimeBins, n_items: int) -> Tables:
    """Tables of the section ``bins``."""
    bin_idx = time_bins.index(log.occurred_s)
    item_pairs = log.user_idx.astype(np.int64) * n_items + log.item_idx
    is_first = np.zeros(len(log), np.bool_)
    is_first[np.unique(item_pairs, return_index=True)[1]] = True

    def by_bin(is_counted: npt.NDArray[np.bool_]) -> Int64:
        cell_idx = bin_idx[is_counted] * n_items + log.item_idx[is_counted]
        return np.bincount(cell_idx, minlength=time_bins.n_bins * n_items)

    return {
        "events": by_bin(np.ones(len(log), np.bool_)),
        "first_events": by_bin(is_first),
        "active_users": _active_users(log.user_idx, bin_idx, time_bins),
    }


def section_counts(
    log: EventLog, catalog: Catalog, count_plan: CountPlan, section_name: str
) -> Tables:
    """Tables of a section but ``bins``.

    Args:
        log: Events of the client before the end of the training, in shared indices.
        catalog: The shared catalogue.
        count_plan: Cells of the counts.
        section_name: One of ``section_names``.
    """
    section_kind, section_number = section_name.split("-")
    counted: Callable[[EventLog, Catalog, CountPlan, int], Tables] = (
        _anchor_counts if section_kind == "anchor" else _moment_counts
    )
    return counted(log, catalog, count_plan, int(section_number))


def is_plausible(section_name: str, tables: Tables) -> bool:
    """Whether some log has these counts, as far as its tables contradict each other.

    A client that invents consistent counts passes.

    Args:
        section_name: Name of the section.
        tables: Tables of one client.
    """
    if any((table < 0).any() or not np.isfinite(table).all() for table in tables.values()):
        return False
    if section_name == BINS_SECTION:
        return bool((tables["first_events"] <= tables["events"]).all())
    if section_name.startswith("anchor-"):
        return _is_gram_matrix(tables["pairs"])
    return bool((tables["next_item"] <= tables["near"]).all())


def _is_gram_matrix(triangle: Float64) -> bool:
    """Whether no pair of items has more users than one of its items."""
    n_pair_items = int((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    row, column = np.triu_indices(n_pair_items)
    n_users = triangle[row == column]
    return bool((triangle <= np.minimum(n_users[row], n_users[column])).all())


def _moment_counts(
    log: EventLog, catalog: Catalog, count_plan: CountPlan, section_number: int
) -> Tables:
    """Counts of the events between two moments; a pair belongs to its later event."""
    bin_idx = count_plan.time_bins.index(log.occurred_s)
    start = 0 if section_number == 0 else int(count_plan.moments[section_number - 1])
    is_inside = (bin_idx >= start) & (bin_idx < count_plan.moments[section_number])
    instant_s = torch.from_numpy(log.occurred_s[is_inside])
    offset_min = torch.from_numpy(log.utc_offset_min[is_inside]).long()
    weekday, hour = local_weekday(instant_s, offset_min), local_hour(instant_s, offset_min)
    hour_cells = hour_bin(weekday, hour).numpy() * catalog.n_items + log.item_idx[is_inside]
    category = catalog.item_category[log.item_idx].astype(np.int64)
    is_successor = (log.user_idx[1:] == log.user_idx[:-1]) & is_inside[1:]
    n_categories = catalog.categories.size
    category_cells = category[:-1][is_successor] * n_categories + category[1:][is_successor]
    n_places = 0 if catalog.items_are_places else catalog.n_places
    places = log.place_idx[is_inside] if n_places else np.empty(0, np.int64)
    return {
        "next_item": _pairs(log, count_plan, is_inside, 1),
        "near": np.sum(
            [_pairs(log, count_plan, is_inside, steps) for steps in range(1, N_NEAR + 1)], axis=0
        ),
        "item_hours": np.bincount(hour_cells, minlength=N_HOUR_BINS * catalog.n_items),
        "next_category": np.bincount(category_cells, minlength=n_categories**2),
        "places": np.bincount(places, minlength=n_places),
    }


def _pairs(
    log: EventLog, count_plan: CountPlan, is_inside: npt.NDArray[np.bool_], steps: int
) -> Int64:
    """Pairs of the plan's items a number of events apart, shape (K * K,)."""
    n_pair_items = len(count_plan.pair_items)
    position = np.minimum(np.searchsorted(count_plan.pair_items, log.item_idx), n_pair_items - 1)
    is_known = count_plan.pair_items[position] == log.item_idx
    is_successor = (log.user_idx[steps:] == log.user_idx[:-steps]) & is_inside[steps:]
    is_successor &= log.occurred_s[steps:] > log.occurred_s[:-steps]
    is_successor &= is_known[steps:] & is_known[:-steps]
    cell_idx = position[:-steps][is_successor] * n_pair_items + position[steps:][is_successor]
    return np.bincount(cell_idx, minlength=n_pair_items**2)


def _anchor_counts(
    log: EventLog, catalog: Catalog, count_plan: CountPlan, section_number: int
) -> Tables:
    """Users of each pair of the plan's items before an anchor, upper triangle."""
    del catalog
    before = log.take(
        count_plan.time_bins.index(log.occurred_s) < count_plan.anchors[section_number]
    )
    n_pair_items = len(count_plan.pair_items)
    position = np.minimum(np.searchsorted(count_plan.pair_items, before.item_idx), n_pair_items - 1)
    is_known = count_plan.pair_items[position] == before.item_idx
    users, row_idx = np.unique(before.user_idx[is_known], return_inverse=True)
    has_item = np.zeros((len(users), n_pair_items), np.float32)  # (U, K)
    has_item[row_idx, position[is_known]] = 1.0
    gram_matrix = has_item.T @ has_item
    return {"pairs": gram_matrix[np.triu_indices(n_pair_items)]}


def _active_users(user_idx: npt.NDArray[np.integer], bin_idx: Int64, time_bins: TimeBins) -> Int64:
    """Users with an event in the ``ACTIVE_DAYS`` before each edge, shape (n_bins + 1,)."""
    user_bins = np.unique(user_idx.astype(np.int64) * time_bins.n_bins + bin_idx)
    users, event_bins = np.divmod(user_bins, time_bins.n_bins)
    last_edge = event_bins + time_bins.width(ACTIVE_DAYS)  # the last one that the event counts for
    same_user = users[1:] == users[:-1]
    last_edge[:-1] = np.where(same_user, np.minimum(last_edge[:-1], event_bins[1:]), last_edge[:-1])
    changes = np.bincount(event_bins + 1, minlength=time_bins.n_bins + 2)[: time_bins.n_bins + 2]
    changes = changes - np.bincount(
        np.minimum(last_edge + 1, time_bins.n_bins + 1), minlength=time_bins.n_bins + 2
    )
    return np.cumsum(changes)[: time_bins.n_bins + 1]
