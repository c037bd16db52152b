"""Counts of all users with user-level differential privacy.

Each user contributes a bounded amount: at most ``MAX_EVENTS`` events, drawn at random, and in each
histogram a vector of L2 norm at most ``MAX_NORM`` (longer ones are scaled down). All histograms are
released at once by the Gaussian mechanism; what follows is computed from them alone:

* events of each item, over all time and over the last week;
* successions of categories;
* events at each place, where items are no places;
* first and repeated events of an item by the same user, from which the share of repeats follows.

Tables of pairs of items (successors, neighbours, affinity), hours, visitors and live counts are
empty: noise on millions of cells that few users fill would hide all of them.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
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
        priors: Priors of the model.
        repeat_share: Share of events that repeat an item of the same user, about: users of many
            events count less. Noise may bring it below 0 or above 1.
    """

    priors: Priors
    repeat_share: float


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
    histograms = _histograms(
        bound_events(log, random_generator), catalog, int(log.occurred_s.max(initial=0))
    ) | {"repeats": _repeats(log)}
    if multiplier is None:
        multiplier = noise_multiplier(budget.epsilon, budget.delta)
    norms = [histogram.max_norm for histogram in histograms.values()]
    deviation = multiplier * float(np.linalg.norm(norms))
    noisy_counts = {
        name: clipped_counts(histogram) + random_generator.normal(0.0, deviation, histogram.n_cells)
        for name, histogram in histograms.items()
    }
    n_first, n_repeated = noisy_counts.pop("repeats")
    released = {name: _significant(counts, deviation) for name, counts in noisy_counts.items()}
    empty = count_priors(log.take(np.zeros(len(log), np.bool_)), catalog)
    n_categories = catalog.categories.size
    successions = released["successions"].reshape(n_categories, n_categories)
    priors = empty._replace(
        popularity=released["items"],
        popularity_week=released["week"],
        next_category=successions,
        place_popularity=released["items" if catalog.items_are_places else "places"],
    )
    return ReleasedCounts(priors, float(n_repeated / max(n_first + n_repeated, 1.0)))


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


def _repeats(log: EventLog) -> Histogram:
    """First events of an item by a user (cell 0), and repeated ones (cell 1)."""
    n_items = int(log.item_idx.max(initial=0)) + 1
    keys = log.user_idx.astype(np.int64) * n_items + log.item_idx
    is_repeated = np.ones(len(log), np.int64)
    is_repeated[np.unique(keys, return_index=True)[1]] = 0
    return Histogram(log.user_idx, is_repeated, 2, REPEAT_NORM)


def _significant(noisy_counts: Float64, deviation: float) -> Tensor:
    """Logarithms of the counts above the noise, 0 for others: this costs no privacy."""
    counts = np.where(noisy_counts > THRESHOLD * deviation, noisy_counts, 0.0)
    return torch.from_numpy(np.log1p(counts).astype(np.float32))
