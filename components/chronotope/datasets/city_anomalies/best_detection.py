"""Best detection of planted anomalies: likelihood ratios under the law of the simulator.

The filter knows every law and its parameters: homes, works, rates, lengths. It learns of events
one by one and gives each the probability of every kind by Bayes' rule, from the events up to it.
The user's past that the law of places reads is cleaned of anomalies, so the filter is a bound
rather than a detector: one that has to learn the laws does worse.

States of a user are *own*, *stolen* and *bot*; floods, teleports and misplaced events are single
events between them. Floods that overlap at one place are taken as one.

Source: the forward algorithm; Neyman and Pearson (1933) for the ratio as the best score.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int32, Int64
from chronotope.datasets.city import City, CityConfig, build_city
from chronotope.datasets.city_anomalies.place_law import EventLaw, event_law, popular_share
from chronotope.datasets.city_anomalies.rates import (
    BOT_EVENTS,
    BOT_GAP_S,
    BOT_GAP_SD_S,
    FLOOD_EVENTS,
    FLOOD_S,
    PLANTED,
    TAKEOVER_EVENTS,
    TELEPORT_GAP_S,
    TELEPORT_KM,
    AnomalyKind,
)
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.datasets.simulation import MISPLACED_GAP_S, simulate_walks
from chronotope.spacetime.distances import haversine_km

FALSE_ALARMS: Final = 0.01
"""Share of regular events that are flagged at the reported recall."""
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Detectability:
    """Best reachable recall of one kind of anomaly.

    Attributes:
        kind: The kind.
        n_events: Number of its events.
        recall: Share of them above the threshold that flags 1 % of the regular events, of a filter
            that knows everything.
        recall_without_tables: The same of a filter that does not know which 64 places explorers
            choose from where they are, which no log shows; it takes the popular ones instead.
    """

    kind: AnomalyKind
    n_events: int
    recall: float
    recall_without_tables: float


def best_detection(city_config: CityConfig) -> tuple[Detectability, ...]:
    """Recall at 1 % false alarms of the best detector, for each kind that is planted.

    Args:
        city_config: The city and the rates of its anomalies.
    """
    city = build_city(city_config)
    blocks = list(simulate_walks(city_config, city))
    kinds = np.concatenate([block_walks.kind for block_walks in blocks])
    with_tables, without_tables = (
        np.concatenate(
            [
                log_ratios(city_config, city, block_walks, knows_tables=is_known)
                for block_walks in blocks
            ]
        )
        for is_known in (True, False)
    )
    return tuple(
        Detectability(
            kind,
            int(np.sum(kinds == kind)),
            _recall(with_tables[:, column], kinds, kind),
            _recall(without_tables[:, column], kinds, kind),
        )
        for column, kind in enumerate(PLANTED)
        if (kinds == kind).any()
    )


def _recall(scores: Float64, kinds: Int32, kind: AnomalyKind) -> float:
    """Recall of a kind at the threshold that flags 1 % of the regular events."""
    threshold = np.quantile(scores[kinds == 0], 1 - FALSE_ALARMS)
    return float(np.mean(scores[kinds == kind] > threshold))


def log_ratios(
    city_config: CityConfig, city: City, block_walks: Walks, *, knows_tables: bool = True
) -> Float64:
    """Log odds of each planted kind against a regular event, shape (n_events, 4).

    Args:
        city_config: Rates.
        city: The city.
        block_walks: Events of a block of users.
        knows_tables: Whether the exploration tables of the places are known.
    """
    user_law = event_law(city_config, city, block_walks, knows_tables=knows_tables)
    own = user_law.rate * np.exp(user_law.log_survival) * user_law.place
    emissions = _Emissions(
        own=own,
        stolen=user_law.rate
        * np.exp(user_law.log_survival)
        * popular_share(city_config, city, block_walks),
        bot=_normal_density(user_law.gap_s) / city_config.n_items,
        flood=_flood_density(city_config, block_walks) * np.exp(user_law.log_survival),
        teleport=city_config.planted.teleport * _teleport_density(city, block_walks, user_law),
        misplaced=city_config.anomalies * (user_law.gap_s == MISPLACED_GAP_S) / city_config.n_items,
    )
    return _filter(city_config, block_walks.length, emissions)


@dataclass(frozen=True, slots=True)
class _Emissions:
    """Densities of each event under each kind, shape (n_events,) each."""

    own: Float64
    stolen: Float64
    bot: Float64
    flood: Float64
    teleport: Float64
    misplaced: Float64


def _filter(city_config: CityConfig, user_lengths: Int64, emissions: _Emissions) -> Float64:
    """Forward filter over the events of each user, all users side by side."""
    planted = city_config.planted
    start = np.array([0.0, planted.takeover / TAKEOVER_EVENTS, planted.bot / BOT_EVENTS])
    start[0] = 1 - start.sum()
    stays = np.array([1.0, 1 - 1 / TAKEOVER_EVENTS, 1 - 1 / BOT_EVENTS])
    densities = np.stack([emissions.own, emissions.stolen, emissions.bot], axis=1)
    singles = emissions.flood + emissions.teleport + emissions.misplaced
    ratios = np.empty((len(singles), len(PLANTED)))
    user_starts = np.cumsum(user_lengths) - user_lengths
    state = np.tile([1.0, 0.0, 0.0], (len(user_lengths), 1))
    for position in range(int(user_lengths.max(initial=0))):
        users = np.flatnonzero(user_lengths > position)
        event_rows, before = user_starts[users] + position, state[users]
        leaves = before[:, 1:] * (1 - stays[1:])
        prior = before[:, :1] * start  # (U, 3)
        prior[:, 1:] += before[:, 1:] * stays[1:]
        prior[:, 0] += leaves.sum(axis=1)
        weights = prior * densities[event_rows]
        log_own = np.log(weights[:, 0] + _TINY)
        for column, weight in enumerate(
            (
                weights[:, 1],
                weights[:, 2],
                emissions.flood[event_rows],
                emissions.teleport[event_rows],
            )
        ):
            ratios[event_rows, column] = np.log(weight + _TINY) - log_own
        after = weights + singles[event_rows, None] * before
        total = after.sum(axis=1, keepdims=True)
        state[users] = np.where(total > 0, after / np.maximum(total, _TINY), before)
    return ratios


def _normal_density(gap_s: Float64) -> Float64:
    """Density of the gap of a bot, 1/s."""
    with np.errstate(over="ignore"):
        density = np.exp(-0.5 * ((gap_s - BOT_GAP_S) / BOT_GAP_SD_S) ** 2)
    return np.asarray(density / (BOT_GAP_SD_S * np.sqrt(2 * np.pi)))


def _teleport_density(city: City, block_walks: Walks, user_law: EventLaw) -> Float64:
    """Density of gap and place of an impossible trip from the user's last event, shape (n,)."""
    low_s, high_s = TELEPORT_GAP_S
    event_rows = np.flatnonzero((user_law.gap_s >= low_s) & (user_law.gap_s < high_s))
    density = np.zeros(len(block_walks.item))
    here, there = block_walks.item[event_rows - 1], block_walks.item[event_rows]
    km = haversine_km(
        lat=city.lat[here], lon=city.lon[here], to_lat=city.lat[there], to_lon=city.lon[there]
    )
    places, place_row = np.unique(here, return_inverse=True)
    n_far = np.array([_n_far(city, place) for place in places.tolist()])
    if len(event_rows):
        density[event_rows] = (km >= TELEPORT_KM) / (
            np.maximum(n_far, 1)[place_row] * (high_s - low_s)
        )
    return density


def _n_far(city: City, place: int) -> int:
    """Number of places that are far from a place."""
    km = haversine_km(lat=city.lat[place], lon=city.lon[place], to_lat=city.lat, to_lon=city.lon)
    return int(np.sum(km >= TELEPORT_KM))


def _flood_density(city_config: CityConfig, block_walks: Walks) -> Float64:
    """Density of each event as one of a flood: P(flood at the place) times its rate a user."""
    density = np.zeros(len(block_walks.item))
    if not city_config.planted.flood:
        return density
    period = max(1, int(np.ptp(block_walks.occurred_s)))
    n_floods = city_config.planted.flood * len(block_walks.item) / FLOOD_EVENTS
    hazard = n_floods / city_config.n_items / period
    flood_rate = FLOOD_EVENTS / FLOOD_S
    n_users = max(1, int(np.sum(block_walks.length > 0)))
    time_order = np.lexsort((block_walks.occurred_s, block_walks.item))
    ends = np.flatnonzero(np.diff(block_walks.item[time_order], append=-1)) + 1
    starts = np.concatenate([[0], ends[:-1]])
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        event_rows = time_order[start:end]
        n_own = max(1, int(np.sum(block_walks.kind[event_rows] == 0)))
        odds = _flood_odds(block_walks.occurred_s[event_rows], n_own / period, flood_rate, hazard)
        density[event_rows] = odds / (1 + odds) * flood_rate / n_users
    return density


def _flood_odds(
    times_s: Int64, usual_rate: float, flood_rate: float, hazard: float
) -> npt.NDArray[np.float64]:
    """Odds of a flood just before each event of a place, from the events before it.

    The odds sum over all starts s within the last half hour the hazard times the likelihood
    ratio of the events since s, ((flood + usual) / usual)^n exp(-flood (t - s)).
    """
    odds = np.empty(len(times_s))
    first = np.searchsorted(times_s, times_s - FLOOD_S, side="right")
    log_gain = np.log1p(flood_rate / usual_rate)
    for row, (begin, now) in enumerate(zip(first.tolist(), times_s.tolist(), strict=True)):
        edges = np.concatenate([[now - FLOOD_S], times_s[begin:row], [now]]).astype(np.float64)
        decay = np.exp(-flood_rate * (now - edges))  # of a start at each edge
        n_since = np.arange(row - begin, -1, -1)  # events since a start within each interval
        gains = np.exp(np.minimum(n_since * log_gain, 600.0))
        odds[row] = hazard * float(np.sum(np.diff(decay) / flood_rate * gains))
    return odds
