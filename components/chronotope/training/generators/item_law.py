"""What: the next item of a user, a mixture of the own past, transitions and popularity.

A return, with a probability given by the number of events and the gap, goes to an item of the own
past (``return_choice``). A new item is one the user never had, from a mixture of what is popular at
this hour, what is popular this week, what follows the last item among all users, what lies within
five events of one of the user's latest items, and what is popular near the last item.

The shares of the mixture are fitted by expectation maximisation on users whose events are in none
of the counts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.training.generators.item_tables import ItemCounts, count_items
from chronotope.training.generators.return_choice import (
    HISTORY_LEN,
    Past,
    choice_shares,
    fit_choice,
    own_items,
)

N_PARTS: Final = 5
_HOUR_S, _DAY_S = 3_600, 86_400
_N_LENGTHS: Final = 10
_N_GAPS: Final = 3
_N_RETURNS: Final = 4_000
_N_NEW: Final = 6_000
_N_ROUNDS: Final = 40
_N_TRIES: Final = 40
_AGE_DECAY: Final = 0.8


@dataclass(frozen=True, slots=True)
class Moment:
    """When the next item is chosen.

    Attributes:
        local_s: Local time, seconds.
        occurred_s: UTC seconds.
        gap_s: Seconds since the last event.
    """

    local_s: int
    occurred_s: int
    gap_s: int


@dataclass(frozen=True, slots=True)
class ItemLaw:
    """Distribution of the next item.

    Attributes:
        p_return: Probability of an item of the own past, by number of past events (log scale) and
            gap, shape (10, 3).
        return_weights: Weights of the features of the own items, shape (9,).
        new_shares: Shares of the parts of the mixture of new items, shape (5,).
        tables: Counts over all users.
    """

    p_return: Float64
    return_weights: Float64
    new_shares: Float64
    tables: ItemCounts

    def draw(self, past: Past, n_past: int, event_moment: Moment, rng: np.random.Generator) -> int:
        """The next item of a user.

        Args:
            past: The user's latest events.
            n_past: Number of all past events.
            event_moment: When the item is chosen.
            rng: Source of the draws.
        """
        if n_past:
            p_return = self.p_return[_length_bin(n_past), _gap_bin(event_moment.gap_s)]
            if rng.random() < p_return:
                own_choice = own_items(past, event_moment.local_s)
                shares = choice_shares(own_choice, self.return_weights)
                return int(own_choice.items[_draw(np.cumsum(shares), rng)])
        item_idx, had = 0, set(past.items.tolist())
        for _ in range(_N_TRIES):
            item_idx = self._new_item(past, event_moment, rng)
            if item_idx not in had:
                break
        return item_idx

    def _new_item(self, past: Past, event_moment: Moment, rng: np.random.Generator) -> int:
        """One draw of the mixture; parts that know nothing of the last item give way."""
        part_idx = _draw(np.cumsum(self.new_shares), rng)
        n_past, item_idx = len(past.items), -1
        if part_idx == 2 and n_past:
            item_idx = _draw_row(self.tables.transitions, int(past.items[-1]), rng)
        elif part_idx == 3 and n_past:
            age = min(int(rng.geometric(1 - _AGE_DECAY)) - 1, n_past - 1)
            item_idx = _draw_row(self.tables.together, int(past.items[-1 - age]), rng)
        elif part_idx == 4 and n_past and self.tables.near_share.shape[1]:
            last_item = int(past.items[-1])
            column = _draw(np.cumsum(self.tables.near_share[last_item]), rng)
            item_idx = int(self.tables.near_items[last_item, column])
        if item_idx >= 0:
            return item_idx
        if part_idx == 0:
            return _draw(self.tables.hourly[event_moment.local_s % _DAY_S // _HOUR_S], rng)
        return _draw(self.tables.weekly[self.tables.week_of(event_moment.occurred_s)], rng)


def fit_item_law(log: EventLog, catalog: Catalog, *, min_users: int, seed: int) -> ItemLaw:
    """Fit the law on a log.

    Args:
        log: The log.
        catalog: Coordinates of the items.
        min_users: Items and transitions of fewer users are left out.
        seed: Seed of the sampled events.
    """
    random_generator = np.random.default_rng(seed)
    user_list = np.unique(log.user_idx)
    is_fitted = np.isin(
        log.user_idx, random_generator.permutation(user_list)[: max(1, len(user_list) // 4)]
    )
    counted = count_items(log.take(~is_fitted), catalog, min_users=min_users)
    user_starts, is_return = log.user_start(), _is_return(log)
    local_s = log.occurred_s + 60 * log.utc_offset_min.astype(np.int64)
    has_past = np.arange(len(log)) > user_starts
    return_rows = _sample(is_return & has_past, _N_RETURNS, random_generator)
    new_rows = _sample(~is_return & has_past & is_fitted, _N_NEW, random_generator)
    return ItemLaw(
        p_return=_return_rates(log, user_starts, is_return),
        return_weights=_fit_returns(log, local_s, user_starts, return_rows),
        new_shares=_mixture_shares(_new_likelihoods(log, local_s, user_starts, counted, new_rows)),
        tables=count_items(log, catalog, min_users=min_users),
    )


def _sample(
    is_chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], n_most: int, rng: np.random.Generator
) -> Int64:
    event_rows = np.flatnonzero(is_chosen)
    return np.sort(rng.choice(event_rows, min(n_most, len(event_rows)), replace=False))


def _fit_returns(log: EventLog, local_s: Int64, user_starts: Int64, event_rows: Int64) -> Float64:
    """Weights of the features of returns."""
    choices, chosen = [], []
    for event_row in event_rows.tolist():
        past_rows = slice(max(int(user_starts[event_row]), event_row - HISTORY_LEN), event_row)
        past = Past(log.item_idx[past_rows].astype(np.int64), local_s[past_rows])
        own_choice = own_items(past, int(local_s[event_row]))
        position = int(np.searchsorted(own_choice.items, log.item_idx[event_row]))
        if (
            position < len(own_choice.items)
            and own_choice.items[position] == log.item_idx[event_row]
        ):
            choices.append(own_choice)
            chosen.append(position)
    return fit_choice(choices, chosen)


def _new_likelihoods(
    log: EventLog, local_s: Int64, user_starts: Int64, tables: ItemCounts, event_rows: Int64
) -> Float64:
    """Probability of each new item under each part of the mixture, shape (n_rows, 5)."""
    item_idx, last_item = (
        log.item_idx[event_rows].astype(np.int64),
        log.item_idx[event_rows - 1].astype(np.int64),
    )
    likelihoods = np.zeros((len(event_rows), N_PARTS))
    hourly = np.diff(tables.hourly, axis=1, prepend=0.0)
    weekly = np.diff(tables.weekly, axis=1, prepend=0.0)
    local_hours = local_s[event_rows] % _DAY_S // _HOUR_S
    weeks = np.array(
        [tables.week_of(int(event_moment)) for event_moment in log.occurred_s[event_rows]], np.int64
    )
    likelihoods[:, 0] = hourly[local_hours, item_idx]
    likelihoods[:, 1] = weekly[weeks, item_idx]
    likelihoods[:, 2] = _entries(tables.transitions, last_item, item_idx)
    for age in range(20):
        age_rows = np.maximum(event_rows - 1 - age, user_starts[event_rows])
        ages = _entries(tables.together, log.item_idx[age_rows].astype(np.int64), item_idx)
        likelihoods[:, 3] += (1 - _AGE_DECAY) * _AGE_DECAY**age * ages
    if tables.near_share.shape[1]:
        is_near = tables.near_items[last_item] == item_idx[:, None]
        likelihoods[:, 4] = (tables.near_share[last_item] * is_near).sum(axis=1)
    return likelihoods


def _entries(matrix: sparse.csr_matrix, event_rows: Int64, columns: Int64) -> Float64:
    return np.asarray(matrix[event_rows, columns], dtype=np.float64).ravel()


def _mixture_shares(likelihoods: Float64) -> Float64:
    """Shares of the parts by expectation maximisation, shape (n_parts,)."""
    n_parts = likelihoods.shape[1]
    shares: Float64 = np.full(n_parts, 1 / n_parts)
    usable = likelihoods[likelihoods.sum(axis=1) > 0]
    for _ in range(_N_ROUNDS if len(usable) else 0):
        responsibilities = shares * usable
        responsibilities /= responsibilities.sum(axis=1, keepdims=True)
        shares = responsibilities.mean(axis=0)
    return shares


def _is_return(log: EventLog) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether the user had the item before, shape (n_events,)."""
    order = np.lexsort((np.arange(len(log)), log.item_idx, log.user_idx))
    is_again = np.zeros(len(log), np.bool_)
    same = (np.diff(log.user_idx[order]) == 0) & (np.diff(log.item_idx[order]) == 0)
    is_again[order[1:]] = same
    return is_again


def _return_rates(
    log: EventLog, user_starts: Int64, is_return: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> Float64:
    """Share of returns by number of past events and gap, shape (10, 3)."""
    event_rows = np.flatnonzero(np.arange(len(log)) > user_starts)
    n_past = event_rows - user_starts[event_rows]
    gap_s = log.occurred_s[event_rows] - log.occurred_s[event_rows - 1]
    bins = (
        np.log2(n_past).astype(np.int64).clip(max=_N_LENGTHS - 1),
        (gap_s > 0).astype(np.int64) + (gap_s > _HOUR_S),
    )
    event_counts, n_returns = np.zeros((2, _N_LENGTHS, _N_GAPS))
    np.add.at(event_counts, bins, 1.0)
    np.add.at(n_returns, bins, is_return[event_rows].astype(np.float64))
    overall = n_returns.sum(axis=1, keepdims=True) / np.maximum(
        event_counts.sum(1, keepdims=True), 1
    )
    rates: Float64 = (n_returns + 5 * overall) / (event_counts + 5)
    return rates


def _length_bin(n_past: int) -> int:
    return min(max(n_past, 1).bit_length() - 1, _N_LENGTHS - 1)


def _gap_bin(gap_s: int) -> int:
    return int(gap_s > 0) + int(gap_s > _HOUR_S)


def _draw(cumulative_share: Float64, rng: np.random.Generator) -> int:
    """Position of a draw from cumulative weights."""
    point = rng.random() * cumulative_share[-1]
    return min(
        int(np.searchsorted(cumulative_share, point, side="right")), len(cumulative_share) - 1
    )


def _draw_row(matrix: sparse.csr_matrix, event_row: int, rng: np.random.Generator) -> int:
    """Column of a draw from a row of shares; -1 from an empty row."""
    start, end = matrix.indptr[event_row], matrix.indptr[event_row + 1]
    if start == end:
        return -1
    return int(matrix.indices[start + _draw(np.cumsum(matrix.data[start:end]), rng)])
