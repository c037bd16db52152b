"""Accuracy of the Bayes-optimal predictor in a simulated city."""

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.datasets.city import N_SLOTS, City, CityConfig, build_city
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.datasets.simulation import explore_probability, period_s, simulate_walks
from chronotope.spacetime.clock import hour_of_week


def best_reachable_accuracy(
    city_config: CityConfig, *, n_users: int = 300, since_s: int | None = None
) -> float:
    """Acc@1 of the Bayes-optimal predictor: the mean over events of max_j P(j).

    P is the law of ``city``, given the moment and the person's past, home and work. No
    predictor does better on average, one that has to learn the law less so.

    Args:
        city_config: The city.
        n_users: People to average over; all events of the first so many are replayed.
        since_s: Average over events from this UTC second on; None takes all.

    Returns:
        A share in (0, 1]; its error is sampling over people, about 0.01 for 300.
    """
    city = build_city(city_config)
    probability_sum, n_events, n_left = 0.0, 0, n_users
    for walks in simulate_walks(city_config, city):
        best_probabilities = _best_probabilities(
            city_config, city, walks, min(n_left, len(walks.length))
        )
        if since_s is not None:
            best_probabilities = best_probabilities[
                walks.occurred_s[: len(best_probabilities)] >= since_s
            ]
        probability_sum, n_events = (
            probability_sum + float(best_probabilities.sum()),
            n_events + len(best_probabilities),
        )
        n_left -= len(walks.length)
        if n_left <= 0:
            break
    return probability_sum / n_events


def _best_probabilities(city_config: CityConfig, city: City, walks: Walks, n_users: int) -> Float64:
    """max_j P(j) at every event of the first people of a block, shape (n_events,)."""
    user_lengths = walks.length[:n_users]
    user_starts = np.cumsum(user_lengths) - user_lengths
    best_probabilities = np.empty(int(user_lengths.sum()))
    visit_counts = np.zeros((n_users, city_config.n_items))
    last_items = walks.home[:n_users].copy()
    for event_position in range(int(user_lengths.max(initial=0))):
        user_idx = np.flatnonzero(user_lengths > event_position)
        event_idx = user_starts[user_idx] + event_position
        next_probabilities = _law(
            city_config, city, walks, visit_counts, last_items, user_idx, event_idx
        )
        anomaly_share = city_config.anomalies if event_position > 0 else 0.0
        best_probabilities[event_idx] = (1 - anomaly_share) * next_probabilities.max(
            axis=1
        ) + anomaly_share / city_config.n_items
        is_regular = ~walks.anomaly[event_idx]
        visit_counts[user_idx[is_regular], walks.item[event_idx[is_regular]]] += 1
        last_items[user_idx[is_regular]] = walks.item[event_idx[is_regular]]
    return best_probabilities


def _law(
    city_config: CityConfig,
    city: City,
    walks: Walks,
    visit_counts: Float64,
    last_items: np.ndarray[tuple[int], np.dtype[np.int32]],
    user_idx: Int64,
    event_idx: Int64,
) -> Float64:
    """P(j) of the next place, shape (len(who), n_items); each row adds up to 1."""
    event_times_s = walks.occurred_s[event_idx]
    utc_offsets = np.full(len(user_idx), city_config.utc_offset_min, dtype=np.int32)
    week_hours = hour_of_week(event_times_s, utc_offsets)
    is_opened = (event_times_s >= period_s(city_config)[1]).astype(np.int64)
    home_p, work_p = city.go_home[week_hours], city.go_work[week_hours]
    free_share = 1 - home_p - work_p
    n_past = visit_counts[user_idx].sum(axis=1)
    p_new = explore_probability(city_config, n_past.astype(np.int64))
    next_probabilities = (
        visit_counts[user_idx] * (free_share * (1 - p_new) / np.maximum(n_past, 1))[:, None]
    )
    row_idx = np.arange(len(user_idx))
    np.add.at(
        next_probabilities,
        (row_idx[:, None], city.slots[is_opened, last_items[user_idx]]),
        (free_share * p_new / N_SLOTS)[:, None],
    )
    next_probabilities[row_idx, walks.home[user_idx]] += home_p
    next_probabilities[row_idx, walks.work[user_idx]] += work_p
    result: Float64 = next_probabilities
    return result
