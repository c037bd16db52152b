"""Fidelity of a synthetic log: its distributions, and what a model learns from it."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.protocols import Recommender
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.models.baselines import Popularity
from chronotope.spacetime.clock import hour_of_week
from chronotope.synthesis.config import SynthesisSettings
from chronotope.synthesis.figures import Distance, Utility
from chronotope.training.generators.gap_law import gap_bins
from chronotope.training.recommender import ChronotopeRecommender

_N_TOP_TRANSITIONS: Final = 1_000


def distribution_distances(
    synthetic: EventLog, fitted: EventLog, held_out: EventLog, catalog: Catalog
) -> tuple[Distance, ...]:
    """Total variation distances of items, places, hours, gaps, transitions, lengths and returns.

    Args:
        synthetic: The generated log.
        fitted: Events that the generator was fitted on.
        held_out: Events of other users at the same time.
        catalog: Catalogue of all three.
    """
    frequent_pairs = _frequent_pairs(fitted, catalog.n_items)
    synthetic_counts, held_out_counts, fitted_counts = (
        _distribution_counts(log, catalog, frequent_pairs) for log in (synthetic, held_out, fitted)
    )
    return tuple(
        Distance(
            name=name,
            synthetic=_total_variation(synthetic_counts[name], fitted_counts[name]),
            real=_total_variation(held_out_counts[name], fitted_counts[name]),
        )
        for name in fitted_counts
    )


def _distribution_counts(
    log: EventLog, catalog: Catalog, frequent_pairs: Int64
) -> dict[str, npt.NDArray[np.number]]:
    """Counts of each distribution of a log."""
    week_hours = hour_of_week(log.occurred_s, log.utc_offset_min)
    user_lengths = np.unique(log.user_idx, return_counts=True)[1]
    return {
        "items": np.bincount(log.item_idx, minlength=catalog.n_items),
        "places": np.bincount(log.place_idx, minlength=catalog.n_places),
        "hour of the week": np.bincount(week_hours, minlength=168),
        "gaps": np.bincount(gap_bins(_gaps(log))),
        "transitions": _pair_counts(log, catalog.n_items, frequent_pairs),
        "events per user": np.bincount(np.log2(user_lengths).astype(np.int64)),
        "returns": _return_counts(log),
    }


def model_utility(
    training_log: EventLog,
    log: EventLog,
    catalog: Catalog,
    targets: Int64,
    settings: SynthesisSettings,
    trained_on: str,
) -> Utility:
    """Train on one log and test on later real events, with the histories of their users.

    Args:
        training_log: Real or synthetic events.
        log: The whole real log.
        catalog: Its catalogue.
        targets: Positions of the later events in it.
        settings: Model and training.
        trained_on: Name of the training log.
    """
    model = ChronotopeRecommender(settings.model, settings.training)
    return _test(model, training_log, log, catalog, targets, trained_on)


def popularity_utility(
    training_log: EventLog, log: EventLog, catalog: Catalog, targets: Int64
) -> Utility:
    """Popularity of the real training log: what a log of mere popularity could teach."""
    return _test(Popularity(), training_log, log, catalog, targets, "popularity of the real log")


def _test(
    model: Recommender,
    training_log: EventLog,
    log: EventLog,
    catalog: Catalog,
    targets: Int64,
    trained_on: str,
) -> Utility:
    n_users = int(training_log.user_idx.max()) + 1
    user_ids = pa.array([f"s{user_number:08d}" for user_number in range(max(n_users, 2))])
    # Neither log tells sessions, context or attributes: both models see the same columns.
    plain_log = replace(training_log, context={}, session_idx=np.zeros(len(training_log), np.int32))
    plain_catalog = replace(catalog, users=IdMap(user_ids), user_attributes=None)
    model.fit(plain_log, plain_catalog)
    metrics = summarise_metrics(
        evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    )
    chosen = {name: metrics[name] for name in ("acc_1", "ndcg_10", "mrr")}
    return Utility(trained_on=trained_on, **chosen)


def _gaps(log: EventLog) -> Int64:
    """Seconds between the events of a user."""
    table_rows = np.flatnonzero(log.user_start() != np.arange(len(log)))
    return log.occurred_s[table_rows] - log.occurred_s[table_rows - 1]


def _pairs(log: EventLog, n_items: int) -> Int64:
    """Key of each pair of items in a row."""
    table_rows = np.flatnonzero(log.user_start() != np.arange(len(log)))
    return log.item_idx[table_rows - 1].astype(np.int64) * n_items + log.item_idx[table_rows]


def _frequent_pairs(log: EventLog, n_items: int) -> Int64:
    """The most frequent transitions of a log, ascending keys."""
    pair_keys, n_times = np.unique(_pairs(log, n_items), return_counts=True)
    return np.sort(pair_keys[np.argsort(-n_times, kind="stable")[:_N_TOP_TRANSITIONS]])


def _pair_counts(log: EventLog, n_items: int, frequent_pairs: Int64) -> Float64:
    """Number of each frequent transition, and of all others together."""
    pair_keys = _pairs(log, n_items)
    position = np.searchsorted(frequent_pairs, pair_keys).clip(max=len(frequent_pairs) - 1)
    is_frequent = frequent_pairs[position] == pair_keys
    bin_counts = np.bincount(np.where(is_frequent, position, len(frequent_pairs)))
    return bin_counts.astype(np.float64)


def _return_counts(log: EventLog) -> Float64:
    """Numbers of first events and of returns of a user to an item."""
    pair_keys = log.user_idx.astype(np.int64) * (int(log.item_idx.max()) + 1) + log.item_idx
    n_first = len(np.unique(pair_keys))
    return np.array([n_first, len(log) - n_first], dtype=np.float64)


def _total_variation(
    bin_counts: npt.NDArray[np.number], other_counts: npt.NDArray[np.number]
) -> float:
    """Half the sum of absolute differences of the shares."""
    n_bins = max(len(bin_counts), len(other_counts))
    shares, other_shares = (
        np.pad(log_counts / max(log_counts.sum(), 1), (0, n_bins - len(log_counts)))
        for log_counts in (bin_counts, other_counts)
    )
    return float(np.abs(shares - other_shares).sum() / 2)
