"""How well the best of all predictors would do in a simulated city."""

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.datasets.city import N_SLOTS, City, CityConfig, build_city
from chronotope.datasets.simulation import Walks, explore_probability, period_s, simulate_walks
from chronotope.spacetime.clock import hour_of_week


def best_reachable_accuracy(
    config: CityConfig, *, n_users: int = 300, since_s: int | None = None
) -> float:
    """Acc@1 of the Bayes-optimal predictor: the mean over events of max_j P(j).

    P is the law of ``city``, given the moment and the person's past, home and work. No
    predictor does better on average, one that has to learn the law less so.

    Args:
        config: The city.
        n_users: People to average over; all events of the first so many are replayed.
        since_s: Average over events from this UTC second on; None takes all.

    Returns:
        A share in (0, 1]; its error is sampling over people, about 0.01 for 300.
    """
    city = build_city(config)
    total, n_events, left = 0.0, 0, n_users
    for walks in simulate_walks(config, city):
        best = _best_probabilities(config, city, walks, min(left, len(walks.length)))
        if since_s is not None:
            best = best[walks.occurred_s[: len(best)] >= since_s]
        total, n_events = total + float(best.sum()), n_events + len(best)
        left -= len(walks.length)
        if left <= 0:
            break
    return total / n_events


def _best_probabilities(config: CityConfig, city: City, walks: Walks, n_users: int) -> Float64:
    """max_j P(j) at every event of the first people of a block, shape (n_events,)."""
    length = walks.length[:n_users]
    start = np.cumsum(length) - length
    best = np.empty(int(length.sum()))
    counts = np.zeros((n_users, config.n_items))
    last = walks.home[:n_users].copy()
    for k in range(int(length.max(initial=0))):
        who = np.flatnonzero(length > k)
        at = start[who] + k
        law = _law(config, city, walks, counts, last, who, at)
        chance = config.anomalies if k > 0 else 0.0
        best[at] = (1 - chance) * law.max(axis=1) + chance / config.n_items
        stay = ~walks.anomaly[at]
        counts[who[stay], walks.item[at[stay]]] += 1
        last[who[stay]] = walks.item[at[stay]]
    return best


def _law(
    config: CityConfig,
    city: City,
    walks: Walks,
    counts: Float64,
    last: np.ndarray[tuple[int], np.dtype[np.int32]],
    who: Int64,
    at: Int64,
) -> Float64:
    """P(j) of the next place, shape (len(who), n_items); each row adds up to 1."""
    moment = walks.occurred_s[at]
    offset = np.full(len(who), config.utc_offset_min, dtype=np.int32)
    week = hour_of_week(moment, offset)
    opened = (moment >= period_s(config)[1]).astype(np.int64)
    home_p, work_p = city.go_home[week], city.go_work[week]
    rest = 1 - home_p - work_p
    n_past = counts[who].sum(axis=1)
    p_new = explore_probability(config, n_past.astype(np.int64))
    law = counts[who] * (rest * (1 - p_new) / np.maximum(n_past, 1))[:, None]
    rows = np.arange(len(who))
    np.add.at(
        law, (rows[:, None], city.slots[opened, last[who]]), (rest * p_new / N_SLOTS)[:, None]
    )
    law[rows, walks.home[who]] += home_p
    law[rows, walks.work[who]] += work_p
    result: Float64 = law
    return result
