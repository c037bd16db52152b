import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import EventLog
from chronotope.splitting.targets import global_split, leave_one_out, targets_between

EVENT = st.tuples(st.integers(1, 4), st.integers(0, 9))


def log_of(events):
    user, when = zip(*sorted(events), strict=True)
    return EventLog.sorted(user_idx=user, item_idx=[1] * len(user), occurred_s=when)


@given(st.lists(EVENT, min_size=1, max_size=30), st.integers(0, 9), st.integers(1, 9))
def test_targets_lie_in_the_window_and_have_a_past(events, start, length):
    rows = sorted(events)
    expected = [
        at
        for at, (user, when) in enumerate(rows)
        if start <= when < start + length and any(u == user and t < when for u, t in rows)
    ]
    assert targets_between(log_of(events), start, start + length).tolist() == expected


def test_a_subsample_keeps_the_shares_of_users_and_time():
    log = log_of([(1, t) for t in range(9001)] + [(2, t) for t in range(0, 9001, 9)])
    positions = targets_between(log, 0, 9001, max_targets=2000, seed=3)
    assert len(np.unique(positions)) == 2000
    assert (np.diff(positions) > 0).all()
    assert np.mean(log.user_idx[positions] == 2) == pytest.approx(0.1, abs=0.025)
    assert log.occurred_s[positions].mean() == pytest.approx(4500, abs=180)


def test_a_subsample_depends_on_the_seed_alone():
    log = log_of([(1, t) for t in range(100)])
    one, same, other = (targets_between(log, 0, 100, max_targets=9, seed=s) for s in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()


def test_events_after_the_window_change_no_target():
    past = [(1, 0), (1, 5), (2, 3), (2, 7)]
    log, longer = log_of(past), log_of([*past, (1, 50), (3, 60)])
    before, after = targets_between(log, 4, 9), targets_between(longer, 4, 9)
    assert log.occurred_s[before].tolist() == longer.occurred_s[after].tolist() == [5, 7]


def test_leave_one_out_takes_each_last_event_with_a_past():
    log = log_of([(1, 0), (1, 5), (2, 3), (3, 1), (3, 1), (4, 1), (4, 2), (4, 2)])
    assert leave_one_out(log).tolist() == [1, 7]


def test_global_split_takes_last_events_after_one_cut():
    log = log_of([(1, t) for t in range(9)] + [(2, 0), (2, 8), (3, 8)])
    split = global_split(log, 0.8)
    assert split.cut_s == 8
    assert split.positions.tolist() == [8, 10]
    assert len(log.before(split.cut_s)) == 9


def test_empty_windows_and_logs_are_refused():
    log = log_of([(1, 0)])
    with pytest.raises(ConfigError, match="end after"):
        targets_between(log, 5, 5)
    with pytest.raises(ConfigError, match="quantile"):
        global_split(log, 1.0)
