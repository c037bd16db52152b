"""Live counts against hand-made ones."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.event_log import EventLog
from chronotope.features.activity_counts import ACTIVITY_NAMES, DAY_S, ActivityCounter
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog, sample_log

CATALOG = sample_catalog()


def counter(log: EventLog) -> ActivityCounter:
    return ActivityCounter(log.user_idx, log.item_idx, log.occurred_s, CATALOG.item_category)


def row(activity: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    return activity[ACTIVITY_NAMES.index(name)]


def test_windows_and_first_events_by_hand() -> None:
    log = EventLog.sorted(
        user_idx=[1, 1, 1, 2, 2],
        item_idx=[3, 3, 4, 3, 5],
        occurred_s=[0, 20 * DAY_S, 27 * DAY_S, 26 * DAY_S, 28 * DAY_S],
    )
    activity = counter(log).at(28 * DAY_S)  # the last event is not counted

    def counts(name: str, items: list[int]) -> list[float]:
        return (np.expm1(row(activity, name))[items] / 2.0).tolist()

    assert counts("events_7d", [3, 4, 5]) == pytest.approx([1.0, 1.0, 0.0])
    assert counts("events_28d", [3, 4, 5]) == pytest.approx([3.0, 1.0, 0.0])
    assert counts("first_events_7d", [3]) == pytest.approx([1.0])  # of user 2
    assert counts("first_events", [3, 4]) == pytest.approx([2.0, 1.0])
    assert np.exp(row(activity, "users_left"))[[3, 4, 5]] == pytest.approx([0.02, 0.5, 1.0])
    assert np.expm1(row(activity, "age"))[[3, 5]] == pytest.approx([4.0, 0.0])


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, N_ITEMS), st.integers(0, 60 * DAY_S)),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 61 * DAY_S),
)
def test_a_counter_reads_nothing_from_the_moment_on(
    events: list[tuple[int, int, int]], moment_s: int
) -> None:
    user, item, second = zip(*events, strict=True)
    log = EventLog.sorted(user_idx=user, item_idx=item, occurred_s=second)
    before = log.before(moment_s)
    whole, part = (counter(each).at(moment_s) for each in (log, before))
    np.testing.assert_array_equal(whole, part)
    assert np.isfinite(whole).all()
    counts = np.bincount(
        before.item_idx[before.occurred_s >= moment_s - DAY_S], minlength=N_ITEMS + 1
    )
    np.testing.assert_allclose(
        row(whole, "events_1d")[: N_ITEMS + 1], np.log1p(2.0 * counts), rtol=1e-6
    )


def test_an_empty_log_counts_nothing() -> None:
    activity = counter(sample_log().before(0)).at(1)
    assert np.isfinite(activity).all()
    assert not activity[: ACTIVITY_NAMES.index("users_left")].any()
