"""Queries of new users: the first events, nothing later, and the next ones as targets."""

from dataclasses import replace

import numpy as np

from chronotope.contracts.event_log import EventLog
from chronotope.splitting.new_users import new_user_queries

LOG = EventLog.sorted(
    user_idx=[1, 1, 1, 1, 1, 2, 2, 3],
    item_idx=[4, 5, 6, 4, 7, 8, 9, 3],
    occurred_s=[10, 20, 20, 30, 40, 50, 60, 70],
    place_idx=[1, 2, 2, 1, 1, 2, 2, 1],
)
ALL = np.ones(4, np.bool_)


def targets(n_events: int) -> list[list[int]]:
    new_users = new_user_queries(LOG, ALL, n_events, place_given=True)
    n_queries = len(new_users.queries)
    return [new_users.item_idx[new_users.row == row].tolist() for row in range(n_queries)]


def test_without_an_event_the_first_items_are_targets() -> None:
    queries = new_user_queries(LOG, ALL, 0, place_given=True).queries
    assert queries.item_idx.tolist() == [[0], [0], [0]]
    assert queries.request_s.tolist() == [10, 50, 70]
    assert queries.request_place_idx.tolist() == [1, 2, 1]
    assert targets(0) == [[4, 5, 6, 7], [8, 9], [3]]


def test_a_history_holds_exactly_so_many_events_and_targets_are_later() -> None:
    queries = new_user_queries(LOG, ALL, 2, place_given=False).queries
    assert queries.item_idx.tolist() == [[4, 5]]  # 6 is of the same instant, but no target either
    assert queries.request_s.tolist() == [30]
    assert queries.request_place_idx.tolist() == [0]
    assert targets(2) == [[4, 7]]
    assert targets(5) == []


def test_other_users_are_left_out() -> None:
    queries = new_user_queries(LOG, np.array([False, False, True, False]), 1, place_given=False)
    assert queries.queries.user_idx.tolist() == [2]
    assert queries.item_idx.tolist() == [9]


def test_no_later_event_changes_a_query() -> None:
    changed = replace(LOG, item_idx=np.r_[4, 5, 1, 1, 1, 8, 1, 3].astype(np.int32))
    for n_events in (0, 1, 2):
        before = new_user_queries(LOG, ALL, n_events, place_given=False).queries
        after = new_user_queries(changed, ALL, n_events, place_given=False).queries
        for name, values in before.arrays().items():
            np.testing.assert_array_equal(after.arrays()[name], values)
