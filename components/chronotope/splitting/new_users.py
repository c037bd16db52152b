"""Queries of new users: the first events of a user as history, the next ones as targets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Int32, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries, queries_at

N_TARGETS = 10
"""Next events of a user that are targets of one query."""


@dataclass(frozen=True, slots=True)
class NewUserQueries:
    """One query a user, and its targets.

    Attributes:
        queries: Queries of B users, in the order of the log.
        row: Query of each target, shape (n_targets,), increasing.
        item_idx: Item of each target, the distinct ones of a user, shape (n_targets,).
    """

    queries: Queries
    row: Int64
    item_idx: Int32


def new_user_queries(
    log: EventLog, is_chosen: npt.NDArray[np.bool_], n_events: int, *, place_given: bool
) -> NewUserQueries:
    """Queries of users of whom a number of events is known.

    The history holds a user's first ``n_events`` events. Targets are the first ``N_TARGETS`` events
    after the time of the last of these, however many the log holds between them; the request is
    at the time of the first target. Users without a target are left out.

    Args:
        log: Events of all users; no later event of a user enters a history.
        is_chosen: Users to query, bool, shape (n_users,).
        n_events: Events of a history, 0 for none.
        place_given: Whether the query contains the place of the first target; not for a log in
            which the item is the place.
    """
    user_start = log.user_start()
    first = np.flatnonzero((user_start == np.arange(len(log))) & is_chosen[log.user_idx])
    end = np.searchsorted(log.user_idx, log.user_idx[first], side="right")
    target = _first_targets(log, first, end, n_events)
    has_target = target < end
    first, end, target = first[has_target], end[has_target], target[has_target]
    rows = np.concatenate([first + event for event in range(n_events)] + [target])
    order = np.argsort(rows, kind="stable")
    positions = np.flatnonzero(order >= n_events * len(first))
    return NewUserQueries(
        queries_at(
            log.take(rows[order]),
            positions,
            history_len=None,
            time_given=True,
            place_given=place_given,
        ),
        *_distinct_items(log, target, np.minimum(target + N_TARGETS, end)),
    )


def _first_targets(log: EventLog, first: Int64, end: Int64, n_events: int) -> Int64:
    """Position of each user's first event after the history's last instant; ``end`` if none."""
    if n_events == 0:
        return first
    target = np.minimum(first + n_events, end)
    last_s = log.occurred_s[np.minimum(first + n_events - 1, len(log) - 1)]
    for query_idx, (begin, stop) in enumerate(zip(target, end, strict=True)):
        later = np.searchsorted(log.occurred_s[begin:stop], last_s[query_idx], side="right")
        target[query_idx] = begin + later
    return target


def _distinct_items(log: EventLog, begin: Int64, end: Int64) -> tuple[Int64, Int32]:
    """Query and item of each target, known items alone and each once a query."""
    row = np.repeat(np.arange(len(begin)), end - begin)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
    item_idx = log.item_idx[begin[row] + offset]
    pairs = np.unique(np.stack([row, item_idx.astype(np.int64)], axis=1), axis=0)
    pairs = pairs[pairs[:, 1] != UNKNOWN]
    return pairs[:, 0], pairs[:, 1].astype(np.int32)
