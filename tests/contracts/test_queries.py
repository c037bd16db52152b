"""A query holds what was knowable before its target, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at

ROWS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=20)
WIDTH = st.none() | st.integers(1, 5)


def log_of(rows: list[tuple[int, int]]) -> EventLog:
    users, times = zip(*rows, strict=True)
    items = np.arange(1, len(rows) + 1)
    return EventLog.sorted(
        user_idx=users, item_idx=items, occurred_s=times, place_idx=items, utc_offset_min=items
    )


def naive_history(log: EventLog, target: int) -> list[int]:
    """Every event of the same user that happened strictly earlier, one by one."""
    return [
        int(log.item_idx[row])
        for row in range(len(log))
        if log.user_idx[row] == log.user_idx[target]
        and log.occurred_s[row] < log.occurred_s[target]
    ]


@given(ROWS, WIDTH, st.booleans())
def test_a_history_is_the_strict_past(
    rows: list[tuple[int, int]], width: int | None, time_given: bool
) -> None:
    log = log_of(rows)
    asked = queries_at(log, np.arange(len(log)), history_len=width, time_given=time_given)
    for target in range(len(log)):
        past = naive_history(log, target)
        expected = past if width is None else past[-width:]
        padding = [0] * (asked.item_idx.shape[1] - len(expected))
        assert asked.item_idx[target].tolist() == padding + expected


@given(ROWS, WIDTH)
def test_a_hidden_time_is_the_time_of_the_last_event(
    rows: list[tuple[int, int]], width: int | None
) -> None:
    log = log_of(rows)
    asked = queries_at(log, np.arange(len(log)), history_len=width, time_given=False)
    known = asked.item_idx[:, -1] > 0
    assert (asked.request_s[known] == asked.occurred_s[known, -1]).all()
    assert (asked.request_s[known] < log.occurred_s[known]).all()


@given(ROWS, st.integers(0, 19))
def test_changing_the_future_changes_no_query(rows: list[tuple[int, int]], pick: int) -> None:
    log = log_of(rows)
    target = pick % len(log)
    kept = (log.occurred_s < log.occurred_s[target]) | (np.arange(len(log)) == target)
    past = log.take(kept)
    row = int(kept[:target].sum())
    whole = queries_at(log, np.array([target]), history_len=4, time_given=True)
    alone = queries_at(past, np.array([row]), history_len=4, time_given=True)
    for name in ("item_idx", "occurred_s", "place_idx", "request_s", "request_offset_min"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(alone, name))


@pytest.mark.parametrize(("place_given", "expected"), [(True, 2), (False, 0)])
def test_the_place_is_told_only_when_asked(place_given: bool, expected: int) -> None:
    log = log_of([(1, 1), (1, 2)])
    asked = queries_at(log, np.array([1]), history_len=1, time_given=True, place_given=place_given)
    assert asked.request_place_idx.tolist() == [expected]


def test_the_first_event_of_a_user_has_only_padding() -> None:
    log = log_of([(1, 1), (2, 5)])
    asked = queries_at(log, np.array([1]), history_len=3, time_given=True)
    assert not asked.item_idx.any()
    assert not asked.occurred_s.any()
    assert asked.item_idx.shape[0] == 1
