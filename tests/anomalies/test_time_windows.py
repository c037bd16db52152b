"""Counts and sums in windows, beside a loop over all pairs of events."""

import numpy as np
import pytest

from chronotope.anomalies.time_windows import KeyedEvents

RNG = np.random.default_rng(1)
KEY = RNG.integers(0, 4, 120)
TIME_S = np.sort(RNG.integers(0, 400, 120)) + 1_000
VALUES = RNG.normal(size=120)
EVENTS = KeyedEvents.by(KEY, TIME_S)


def is_earlier(row: int) -> np.ndarray:
    return (KEY[row] == KEY) & (np.arange(120) < row)


@pytest.mark.parametrize("window_s", [1, 50, 10_000])
def test_windows_hold_the_earlier_events_of_the_key(window_s: int) -> None:
    inside = [is_earlier(row) & (TIME_S[row] - window_s <= TIME_S) for row in range(120)]
    assert EVENTS.count_before(window_s).tolist() == [int(rows.sum()) for rows in inside]
    sums = [VALUES[rows].sum() for rows in inside]
    np.testing.assert_allclose(EVENTS.sum_before(VALUES, window_s), sums, atol=1e-9)


def test_all_earlier_events_and_the_previous_one() -> None:
    assert EVENTS.n_before().tolist() == [int(is_earlier(row).sum()) for row in range(120)]
    for row in range(120):
        earlier = np.flatnonzero(is_earlier(row))
        gap_s, value = EVENTS.seconds_since_last()[row], EVENTS.previous(VALUES)[row]
        if len(earlier):
            assert (gap_s, value) == (TIME_S[row] - TIME_S[earlier[-1]], VALUES[earlier[-1]])
        else:
            assert np.isnan([gap_s, value]).all()


def test_values_count_once_their_delay_has_passed() -> None:
    sums = EVENTS.sum_until(VALUES, delay_s=30, window_s=60)
    for row in range(120):
        age_s = TIME_S[row] - TIME_S
        inside = (KEY[row] == KEY) & (age_s >= 30) & (age_s < 90)
        np.testing.assert_allclose(sums[row], VALUES[inside].sum(), atol=1e-9)


def test_latest_and_oldest_known_events() -> None:
    means = EVENTS.latest_mean(VALUES, delay_s=30, n_events=2)
    ages = EVENTS.oldest_age_s(VALUES > 0, delay_s=30, window_s=60)
    for row in range(120):
        age_s = TIME_S[row] - TIME_S
        is_known = (KEY[row] == KEY) & (age_s >= 30)
        known = VALUES[is_known][-2:]
        np.testing.assert_allclose(means[row], known.mean() if len(known) else 0, atol=1e-9)
        assert ages[row] == age_s[is_known & (age_s < 90) & (VALUES > 0)].max(initial=0)


def test_no_events_have_no_windows() -> None:
    empty = KeyedEvents.by(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert len(empty) == len(empty.count_before(60)) == 0
