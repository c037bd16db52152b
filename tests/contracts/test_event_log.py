"""The numeric log: order, baskets, selections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import EventLog

ROWS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=25)


def log_of(rows: list[tuple[int, int]]) -> EventLog:
    users, times = zip(*rows, strict=True)
    return EventLog.sorted(user_idx=users, item_idx=np.arange(1, len(rows) + 1), occurred_s=times)


def test_rows_out_of_order_are_refused_with_the_way_out() -> None:
    log = log_of([(1, 10), (1, 20)])
    flipped = np.array([1, 0])
    with pytest.raises(DataError, match=r"EventLog\.sorted"):
        log.take(flipped)


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"context\.rain"):
        EventLog.sorted(
            user_idx=[1, 1],
            item_idx=[1, 2],
            occurred_s=[0, 1],
            context={"rain": np.zeros((2, 2))},
        )


@given(ROWS)
def test_sorting_keeps_rows_whole_and_ties_in_their_order(rows: list[tuple[int, int]]) -> None:
    log = log_of(rows)
    expected = sorted((user, when, row) for row, (user, when) in enumerate(rows, start=1))
    got = zip(log.user_idx.tolist(), log.occurred_s.tolist(), log.item_idx.tolist(), strict=True)
    assert list(got) == expected


@given(ROWS)
def test_starts_are_the_first_of_their_run(rows: list[tuple[int, int]]) -> None:
    ordered = sorted(rows)
    users = [user for user, _ in ordered]
    log = log_of(rows)
    assert log.user_start().tolist() == [users.index(user) for user in users]
    assert log.basket_start().tolist() == [ordered.index(row) for row in ordered]


def test_before_is_strict() -> None:
    log = log_of([(1, 10), (1, 20), (2, 10), (2, 19)])
    assert log.before(20).occurred_s.tolist() == [10, 10, 19]


def test_absent_columns_are_unknown() -> None:
    log = log_of([(1, 10), (2, 10)])
    assert log.place_idx.tolist() == log.session_idx.tolist() == [0, 0]
    assert np.isnan(log.value).all()
