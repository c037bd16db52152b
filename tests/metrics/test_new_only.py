"""Ranks among items that the user never had, against a brute-force ranking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.event_log import EventLog
from chronotope.metrics import evaluate, expected_rank

N_ITEMS = 7


class CoarseScores:
    """Few distinct scores, so that ties occur; reads one event only."""

    name = "coarse"
    history_len = 1

    def fit(self, log, catalog):
        return self

    def observe(self, log):
        """Nothing to count."""

    def scores(self, queries):
        items = np.arange(N_ITEMS)
        return (3.0 * items + queries.item_idx[:, -1:] + queries.user_idx[:, None]) % 4


def make_log(events):
    user, item, second = zip(*events, strict=True)
    return EventLog.sorted(user_idx=user, item_idx=item, occurred_s=second)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, N_ITEMS - 1), st.integers(0, 12)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 8),
)
def test_rank_equals_that_of_the_catalogue_without_the_owned_items(events, batch_size):
    log = make_log(events)
    positions = np.arange(len(log))
    model = CoarseScores()
    result = evaluate(
        model, log, positions, n_items=N_ITEMS, time_given=True, batch_size=batch_size
    )
    for position in positions:
        before = (log.user_idx == log.user_idx[position]) & (
            log.occurred_s < log.occurred_s[position]
        )
        owned, target = set(log.item_idx[before].tolist()), int(log.item_idx[position])
        if target in owned:
            assert np.isnan(result.new_only_rank[position])
            assert result.is_return[position]
            continue
        last = log.item_idx[before][-1] if before.any() else 0
        scores = (3.0 * np.arange(N_ITEMS) + last + log.user_idx[position]) % 4
        new_items = [item for item in range(1, N_ITEMS) if item not in owned]
        expected = expected_rank(
            np.array([[0.0, *scores[new_items]]]), np.array([1 + new_items.index(target)])
        )
        assert result.new_only_rank[position] == expected[0]


def test_a_first_event_competes_with_all_items():
    result = evaluate(
        CoarseScores(), make_log([(1, 2, 0)]), np.array([0]), n_items=N_ITEMS, time_given=False
    )
    assert result.new_only_rank[0] == pytest.approx(result.rank[0])
