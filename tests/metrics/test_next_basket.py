"""Metrics of whole baskets, against a ranking by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.event_log import EventLog
from chronotope.metrics import BASKET_METRICS, evaluate, has_baskets, summarise_metrics, top_items
from chronotope.metrics.target_spans import basket_ends

N_ITEMS = 30


class DistinctScores:
    """A fixed ranking of the items, another for each user."""

    name = "distinct"
    history_len = 1

    def fit(self, log, catalog):
        return self

    def observe(self, log):
        """Nothing to count."""

    def scores(self, queries):
        items = np.arange(N_ITEMS)
        return (7.0 * items * queries.user_idx[:, None]) % 31


def ranked_items(user):
    return sorted(range(1, N_ITEMS), key=lambda item: -((7.0 * item * user) % 31))


def by_hand(ranked, basket, owned):
    def share(items, k):
        return len(items & set(ranked[:k])) / len(items) if items else math.nan

    gain = sum(1 / math.log2(r + 2) for r, item in enumerate(ranked[:10]) if item in basket)
    best = sum(1 / math.log2(r + 2) for r in range(min(10, len(basket))))
    repeats, new = basket & owned, basket - owned
    return [share(basket, 10), share(basket, 20), gain / best, share(repeats, 10), share(new, 10)]


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, N_ITEMS - 1), st.integers(0, 6)),
        min_size=1,
        max_size=60,
    )
)
def test_each_target_has_the_metrics_of_its_basket(events):
    user, item, second = zip(*events, strict=True)
    log = EventLog.sorted(user_idx=user, item_idx=item, occurred_s=second)
    result = evaluate(
        DistinctScores(), log, np.arange(len(log)), n_items=N_ITEMS, time_given=True, batch_size=7
    )
    for position in range(len(log)):
        is_user = log.user_idx == log.user_idx[position]
        instant = log.occurred_s[position]
        in_basket = is_user & (log.occurred_s == instant)
        basket = set(log.item_idx[in_basket].tolist())
        owned = set(log.item_idx[is_user & (log.occurred_s < instant)].tolist())
        expected = by_hand(ranked_items(int(log.user_idx[position])), basket, owned)
        np.testing.assert_allclose(result.next_basket[position], expected)
        assert result.basket_size[position] == in_basket.sum()


def test_a_large_basket_counts_as_much_as_a_small_one():
    # user 1: one event in one basket; user 2: nine events in another
    log = EventLog.sorted(
        user_idx=[1, *[2] * 9], item_idx=[ranked_items(1)[0], *ranked_items(2)[20:]],
        occurred_s=[0] * 10,
    )  # fmt: skip
    result = evaluate(DistinctScores(), log, np.arange(10), n_items=N_ITEMS, time_given=True)
    summary = summarise_metrics(result)
    assert summary["basket_size"] == 5.0
    assert summary["basket_recall_10"] == pytest.approx(0.5)  # all of one and none of the other
    assert math.isnan(summary["basket_repeat_recall_10"])


def test_events_that_stand_alone_have_no_basket_metrics():
    log = EventLog.sorted(user_idx=[1] * 9, item_idx=range(1, 10), occurred_s=range(9))
    result = evaluate(DistinctScores(), log, np.arange(9), n_items=N_ITEMS, time_given=True)
    assert not set(summarise_metrics(result)) & {*BASKET_METRICS, "basket_size"}
    assert not has_baskets(log, np.arange(9))
    pairs = EventLog.sorted(user_idx=[1] * 8, item_idx=range(1, 9), occurred_s=[0, 0, 1, 1] * 2)
    assert has_baskets(pairs, np.arange(8))
    assert basket_ends(pairs, pairs.basket_start()).tolist() == [4] * 4 + [8] * 4


@pytest.mark.parametrize(("n_items", "k"), [(3, 20), (50, 7), (5_000, 20), (9_999, 1)])
def test_the_top_items_are_those_of_a_full_sort(n_items, k):
    scores = np.random.default_rng(n_items).permuted(
        np.tile(np.arange(n_items) * 1.0, (5, 1)), axis=1
    )
    expected = np.argsort(-scores[:, 1:], axis=1)[:, :k] + 1
    np.testing.assert_array_equal(top_items(scores, k), expected)
