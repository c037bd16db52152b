"""Live counts against hand-made ones, and the strongest EASE weights against the dense matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.event_log import EventLog
from chronotope.models.baselines.ease import Ease, EaseConfig
from chronotope.models.discovery_counts import (
    ACTIVITY_NAMES,
    DAY_S,
    MAX_AFFINE_ITEMS,
    N_AFFINE,
    ActivityCounter,
    count_activity,
    count_affinity,
)
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog, sample_log

CATALOG = sample_catalog()


def row(activity: torch.Tensor, name: str) -> np.ndarray:
    return activity[ACTIVITY_NAMES.index(name)].numpy()


def test_windows_and_first_events_by_hand() -> None:
    log = EventLog.sorted(
        user_idx=[1, 1, 1, 2, 2],
        item_idx=[3, 3, 4, 3, 5],
        occurred_s=[0, 20 * DAY_S, 27 * DAY_S, 26 * DAY_S, 28 * DAY_S],
    )
    activity = ActivityCounter(log, CATALOG).at(28 * DAY_S)  # the last event is not counted

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
    whole, part = (ActivityCounter(each, CATALOG).at(moment_s) for each in (log, before))
    torch.testing.assert_close(whole, part)
    assert torch.isfinite(whole).all()
    counts = np.bincount(
        before.item_idx[before.occurred_s >= moment_s - DAY_S], minlength=N_ITEMS + 1
    )
    np.testing.assert_allclose(
        row(whole, "events_1d")[: N_ITEMS + 1], np.log1p(2.0 * counts), rtol=1e-6
    )


def test_an_empty_log_counts_nothing() -> None:
    activity = count_activity(sample_log().before(0), CATALOG)
    assert torch.isfinite(activity).all()
    assert not activity[: ACTIVITY_NAMES.index("users_left")].any()


def test_affine_items_are_the_strongest_positive_weights() -> None:
    log = sample_log()
    items, weights = count_affinity(log, CATALOG)
    assert items.shape == weights.shape == (CATALOG.n_items, N_AFFINE)
    ease = Ease(EaseConfig(max_items=MAX_AFFINE_ITEMS)).fit(log, CATALOG)
    fitted_items, dense = ease.fitted_weights()
    for position, item in enumerate(fitted_items.tolist()):
        expected = torch.zeros(CATALOG.n_items)
        expected[fitted_items] = dense[position].clamp(min=0.0)
        stored = torch.zeros(CATALOG.n_items).scatter_add(0, items[item], weights[item])
        torch.testing.assert_close(stored, expected)  # fewer items than columns: all are stored
