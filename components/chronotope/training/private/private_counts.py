"""Counts of all users with user-level differential privacy.

Each user contributes a bounded amount: at most ``MAX_EVENTS`` events, drawn at random, and in each
histogram a vector of L2 norm at most ``MAX_NORM`` (longer ones are scaled down). The Gaussian
mechanism releases first and repeated events of an item by the same user, from which the share of
repeats follows, and then at once

* events of each item, over all time and over the last week;
* successions of categories;
* events at each place, where items are no places.

In a log without repeats the first of these gets the budget of all of them. Such a choice by what
was released before costs nothing more (Dong, Roth and Su, 2019, *Gaussian differential privacy*,
corollary 2).

Tables of pairs of items (successors, neighbours, affinity), hours, visitors and live counts are
empty: noise on millions of cells that few users fill would hide all of them.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import norm
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.models.priors import WEEK_S, Priors, count_priors
from chronotope.training.private.gaussian_noise import noise_multiplier

MAX_EVENTS: Final = 200
"""Events of a user that are counted."""

MAX_NORM: Final = 4.0
"""L2 norm of a user's counts in one histogram; more events of one user than that hardly help."""

REPEAT_NORM: Final = 2.0
"""The same for first and repeated events: two cells need less signal, and so cost less noise."""

MAX_REPEAT_SHARE: Final = 0.1
"""Released share of repeats below which a log is taken to have none. Logs with returns have a
third or more; the noise on few users has a deviation of some hundredths."""

THRESHOLD: Final = 2.0
"""Deviations of the noise below which a count is taken to be 0."""


class PrivacyBudget(NamedTuple):
    """Privacy loss of one release, and its failure probability."""

    epsilon: float
    delta: float


class Histogram(NamedTuple):
    """Cells of events, one row an event.

    Attributes:
        user_idx: User of each row, shape (n_rows,).
        cell: Cell of each row, shape (n_rows,).
        n_cells: Number of cells.
        max_norm: L2 norm of a user's counts.
    """

    user_idx: npt.NDArray[np.integer]
    cell: npt.NDArray[np.integer]
    n_cells: int
    max_norm: float = MAX_NORM


class ReleasedCounts(NamedTuple):
    """Counts under a budget, and what follows from them.

    Attributes:
        priors: Priors of the model; counts below the noise are 0 in them.
        has_repeats: Whether items come back to users, by the released counts.
        item_counts: Noisy counts of the items, shape (n_items,).
        deviation: Standard deviation of their noise.
    """

    priors: Priors
    has_repeats: bool
    item_counts: Float64
    deviation: float

    def n_known_items(self) -> float:
        """Items whose counts are above the noise, without those that noise alone brings there."""
        n_above = float((self.item_counts > THRESHOLD * self.deviation).sum())
        return n_above - len(self.item_counts) * float(norm.sf(THRESHOLD))


def release_counts(
    log: EventLog,
    catalog: Catalog,
    budget: PrivacyBudget,
    *,
    multiplier: float | None = None,
    seed: int | None = None,
) -> ReleasedCounts:
    """Counts of a log under a budget, with respect to adding or removing one user.

    Args:
        log: Events of the training.
        catalog: Its catalogue, which is taken to be public.
        budget: Budget of all counts together.
        multiplier: Deviation of the noise in units of the norm of all histograms together; None
            takes the smallest for the budget.
        seed: Seed of the noise, for tests alone: who knows it can remove the noise.
    """
    random_generator = np.random.default_rng(seed)
    if multiplier is None:
        multiplier = noise_multiplier(budget.epsilon, budget.delta)
    bounded = bound_events(log, random_generator)
    histograms = _histograms(bounded, catalog, int(log.occurred_s.max(initial=0)))
    joint_norm = MAX_NORM * float(np.sqrt(len(histograms)))
    deviation = multiplier * float(np.hypot(joint_norm, REPEAT_NORM))
    has_repeats = _has_repeats(noisy_counts(repeats(log), deviation, random_generator), catalog)
    released = {name: np.zeros(histogram.n_cells) for name, histogram in histograms.items()}
    if not has_repeats:
        deviation *= MAX_NORM / joint_norm
        histograms = {"items": histograms["items"]}
    for name, histogram in histograms.items():
        released[name] = noisy_counts(histogram, deviation, random_generator)
    significant = {name: _significant(counts, deviation) for name, counts in released.items()}
    empty = count_priors(log.take(np.zeros(len(log), np.bool_)), catalog)
    n_categories = catalog.categories.size
    successions = significant["successions"].reshape(n_categories, n_categories)
    priors = empty._replace(
        popularity=significant["items"],
        popularity_week=significant["week"],
        next_category=successions,
        place_popularity=significant["items" if catalog.items_are_places else "places"],
    )
    return ReleasedCounts(priors, has_repeats, released["items"], deviation)


def noisy_counts(histogram: Histogram, deviation: float, rng: np.random.Generator) -> Float64:
    """Clipped counts of a histogram with noise, shape (n_cells,)."""
    return clipped_counts(histogram) + rng.normal(0.0, deviation, histogram.n_cells)


def more_item_counts(
    log: EventLog, counts: ReleasedCounts, multiplier: float, *, seed: int | None = None
) -> Float64:
    """Counts of the items from a second release, joined with the first by their noise.

    Args:
        log: Events of the training.
        counts: The first release.
        multiplier: Deviation of the noise in units of the norm of a user's counts.
        seed: Seed of the noise, for tests alone: who knows it can remove the noise.
    """
    rng, deviation = np.random.default_rng(seed), multiplier * MAX_NORM
    bounded = bound_events(log, rng)
    histogram = Histogram(bounded.user_idx, bounded.item_idx, len(counts.item_counts))
    weight = counts.deviation**2 / (counts.deviation**2 + deviation**2)
    second = noisy_counts(histogram, deviation, rng)
    return np.asarray(weight * second + (1.0 - weight) * counts.item_counts, np.float64)


def bound_events(log: EventLog, rng: np.random.Generator) -> EventLog:
    """At most ``MAX_EVENTS`` events of each user, drawn at random, in order."""
    order = np.lexsort((rng.random(len(log)), log.user_idx))
    rank = np.empty(len(log), np.int64)
    rank[order] = np.arange(len(log)) - log.user_start()
    return log.take(rank < MAX_EVENTS)


def clipped_counts(histogram: Histogram) -> Float64:
    """Sum over the users of their counts, each scaled to the norm of the histogram.

    Args:
        histogram: Cells of the events, shape of the result (n_cells,).
    """
    keys = histogram.user_idx.astype(np.int64) * histogram.n_cells + histogram.cell
    pairs, counts = np.unique(keys, return_counts=True)
    user_idx, cell = np.divmod(pairs, histogram.n_cells)
    square_norm = np.bincount(user_idx, counts.astype(np.float64) ** 2)
    scale = np.minimum(1.0, histogram.max_norm / np.sqrt(np.maximum(square_norm, 1e-12)))
    sums = np.bincount(cell, counts * scale[user_idx], minlength=histogram.n_cells)
    return np.asarray(sums, np.float64)


def _histograms(log: EventLog, catalog: Catalog, end_s: int) -> dict[str, Histogram]:
    recent = log.occurred_s > end_s - WEEK_S
    follows = log.user_idx[1:] == log.user_idx[:-1]
    category = catalog.item_category[log.item_idx].astype(np.int64)
    n_categories = catalog.categories.size
    successions: Int64 = category[:-1][follows] * n_categories + category[1:][follows]
    histograms = {
        "items": Histogram(log.user_idx, log.item_idx, catalog.n_items),
        "week": Histogram(log.user_idx[recent], log.item_idx[recent], catalog.n_items),
        "successions": Histogram(log.user_idx[1:][follows], successions, n_categories**2),
    }
    if not catalog.items_are_places and catalog.n_places > 1:
        histograms["places"] = Histogram(log.user_idx, log.place_idx, catalog.n_places)
    elif not catalog.items_are_places:
        histograms["places"] = Histogram(log.user_idx[:0], log.place_idx[:0], catalog.n_places)
    return histograms


def repeats(log: EventLog) -> Histogram:
    """First events of an item by a user (cell 0), and repeated ones (cell 1)."""
    n_items = int(log.item_idx.max(initial=0)) + 1
    keys = log.user_idx.astype(np.int64) * n_items + log.item_idx
    is_repeated = np.ones(len(log), np.int64)
    is_repeated[np.unique(keys, return_index=True)[1]] = 0
    return Histogram(log.user_idx, is_repeated, 2, REPEAT_NORM)


def _has_repeats(counts: Float64, catalog: Catalog) -> bool:
    """Whether a log has repeats; scores of places are sums over the visits, so they count as such.

    Args:
        counts: Noisy counts of first and repeated events, shape (2,).
        catalog: Its items and places.
    """
    if not catalog.items_are_places and catalog.n_places > 1:
        return True
    return bool(counts[1] >= MAX_REPEAT_SHARE * max(1.0, counts.sum()))


def _significant(noisy_counts: Float64, deviation: float) -> Tensor:
    """Logarithms of the counts above the noise, 0 for others: this costs no privacy."""
    counts = np.where(noisy_counts > THRESHOLD * deviation, noisy_counts, 0.0)
    return torch.from_numpy(np.log1p(counts).astype(np.float32))
