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
    first_position = np.flatnonzero((user_start == np.arange(len(log))) & is_chosen[log.user_idx])
    end_position = np.searchsorted(log.user_idx, log.user_idx[first_position], side="right")
    target_position = _first_targets(log, first_position, end_position, n_events)
    has_target = target_position < end_position
    first_position, end_position, target_position = (
        first_position[has_target],
        end_position[has_target],
        target_position[has_target],
    )
    row_idx = np.concatenate(
        [first_position + event for event in range(n_events)] + [target_position]
    )
    row_order = np.argsort(row_idx, kind="stable")
    positions = np.flatnonzero(row_order >= n_events * len(first_position))
    return NewUserQueries(
        queries_at(
            log.take(row_idx[row_order]),
            positions,
            history_len=None,
            time_given=True,
            place_given=place_given,
        ),
        *_distinct_items(
            log, target_position, np.minimum(target_position + N_TARGETS, end_position)
        ),
    )


def _first_targets(
    log: EventLog, first_position: Int64, end_position: Int64, n_events: int
) -> Int64:
    """Position of each user's first event after the history's last instant; the end if none."""
    if n_events == 0:
        return first_position
    target_position = np.minimum(first_position + n_events, end_position)
    last_s = log.occurred_s[np.minimum(first_position + n_events - 1, len(log) - 1)]
    for query_idx, (begin_position, stop) in enumerate(
        zip(target_position, end_position, strict=True)
    ):
        n_simultaneous = np.searchsorted(
            log.occurred_s[begin_position:stop], last_s[query_idx], side="right"
        )
        target_position[query_idx] = begin_position + n_simultaneous
    return target_position


def _distinct_items(
    log: EventLog, begin_position: Int64, end_position: Int64
) -> tuple[Int64, Int32]:
    """Query and item of each target, known items alone and each once a query."""
    row = np.repeat(np.arange(len(begin_position)), end_position - begin_position)
    offset = np.arange(len(row)) - np.repeat(
        np.cumsum(end_position - begin_position) - (end_position - begin_position),
        end_position - begin_position,
    )
    item_idx = log.item_idx[begin_position[row] + offset]
    query_items = np.unique(np.stack([row, item_idx.astype(np.int64)], axis=1), axis=0)
    query_items = query_items[query_items[:, 1] != UNKNOWN]
    return query_items[:, 0], query_items[:, 1].astype(np.int32)
