"""Every baseline keeps the suite's promises and scores what its formula says."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.baselines import (
    Ease,
    EaseConfig,
    FirstOrderMarkov,
    GfCf,
    GfCfConfig,
    Popularity,
    PopularityLastDays,
    TifuKnn,
    TifuKnnConfig,
    UpCf,
    UpCfConfig,
    UserCounts,
    baselines,
)
from chronotope.testing.recommender_suite import (
    N_ITEMS,
    RecommenderSuite,
    sample_catalog,
    sample_log,
)

DAY_S = 24 * 60 * 60


class TestPopularity(RecommenderSuite):
    """Popularity in the suite."""

    def model(self) -> Recommender:
        return Popularity()


class TestPopularityLastDays(RecommenderSuite):
    """Popularity of the last days in the suite."""

    def model(self) -> Recommender:
        return PopularityLastDays(days=7)


class TestUserCounts(RecommenderSuite):
    """User counts in the suite."""

    def model(self) -> Recommender:
        return UserCounts()


class TestTifuKnn(RecommenderSuite):
    """TIFU-KNN in the suite."""

    def model(self) -> Recommender:
        return TifuKnn(TifuKnnConfig(n_neighbours=3))


class TestUpCf(RecommenderSuite):
    """UP-CF in the suite."""

    def model(self) -> Recommender:
        return UpCf()


class TestFirstOrderMarkov(RecommenderSuite):
    """First-order Markov in the suite."""

    def model(self) -> Recommender:
        return FirstOrderMarkov()


class TestEase(RecommenderSuite):
    """EASE in the suite."""

    has_state = False

    def model(self) -> Recommender:
        return Ease(EaseConfig(l2=5.0))


class TestEaseOfPopularItems(RecommenderSuite):
    """EASE restricted to some of the items, fitted over many blocks of users."""

    has_state = False

    def model(self) -> Recommender:
        return Ease(EaseConfig(l2=5.0, max_items=6, users_at_once=5))


class TestGfCf(RecommenderSuite):
    """GF-CF in the suite."""

    has_state = False

    def model(self) -> Recommender:
        return GfCf()


def log_of(items: list[int], *, when_s: list[int] | None = None) -> EventLog:
    """One user's events, a day apart unless told otherwise."""
    days = [DAY_S * n for n in range(len(items))]
    return EventLog.sorted(
        user_idx=[1] * len(items), item_idx=items, occurred_s=when_s or days, place_idx=items
    )


def asked(model: Recommender, log: EventLog) -> Queries:
    """The question at the last event of a log."""
    last = np.array([len(log) - 1])
    return queries_at(log, last, history_len=model.history_len, time_given=False)


def test_popularity_counts_events() -> None:
    log = log_of([3, 3, 5, 0, 3])
    scores = Popularity().fit(log, sample_catalog()).scores(asked(Popularity(), log))
    assert {i: s for i, s in enumerate(scores[0]) if s} == {3: 3.0, 5: 1.0}


def test_recent_popularity_forgets_what_is_older_than_the_window() -> None:
    log = log_of([1, 1, 2, 3], when_s=[0, 1, 2 * DAY_S, 9 * DAY_S - 1])
    model = PopularityLastDays(days=7).fit(log, sample_catalog())
    assert {i: s for i, s in enumerate(model.scores(asked(model, log))[0]) if s} == {2: 1, 3: 1}


def test_user_counts_count_only_what_came_before() -> None:
    log = log_of([4, 2, 4, 0, 7])
    model = UserCounts().fit(log, sample_catalog())
    counts = np.floor(model.scores(asked(model, log))[0])
    assert {i: s for i, s in enumerate(counts) if s} == {4: 2, 2: 1}


def test_user_counts_break_ties_by_popularity() -> None:
    log = log_of([1, 6, 2, 6, 6, 3])
    model = UserCounts().fit(log, sample_catalog())
    once_each = replace(asked(model, log), item_idx=np.array([[2, 6, 5, 5]], np.int32))
    assert np.argsort(-model.scores(once_each)[0])[:3].tolist() == [5, 6, 2]


def test_markov_leads_from_before_a_basket_into_all_of_it() -> None:
    log = log_of([1, 2, 3, 1], when_s=[0, DAY_S, DAY_S, 2 * DAY_S])
    model = FirstOrderMarkov().fit(log, sample_catalog())
    asks_after_1 = replace(asked(model, log), item_idx=np.array([[1]], np.int32))
    assert np.floor(model.scores(asks_after_1)[0]).nonzero()[0].tolist() == [2, 3]


def test_markov_breaks_ties_by_popularity() -> None:
    log = log_of([1, 6, 2, 6, 3])
    model = FirstOrderMarkov().fit(log, sample_catalog())
    nothing_known = replace(asked(model, log), item_idx=np.array([[15]], np.int32))
    scores = model.scores(nothing_known)[0]
    assert scores.argmax() == 6
    assert scores.max() < 1.0


def test_ease_solves_the_constrained_regression() -> None:
    log = sample_log()
    x = np.zeros((13, N_ITEMS + 1))
    x[log.user_idx, log.item_idx] = 1.0
    model = Ease(EaseConfig(l2=5.0)).fit(log, sample_catalog())
    weights = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):  # ridge of column j on all others, one at a time
        others = [k for k in range(N_ITEMS) if k != j]
        a, b = x[:, 1:][:, others], x[:, 1 + j]
        weights[others, j] = np.linalg.solve(a.T @ a + 5.0 * np.eye(N_ITEMS - 1), a.T @ b)
    queries = queries_at(log, np.array([399]), history_len=None, time_given=False)
    seen = np.isin(np.arange(1, N_ITEMS + 1), queries.item_idx)
    np.testing.assert_allclose(model.scores(queries)[0, 1:], seen @ weights, rtol=1e-3, atol=1e-4)


def test_ease_ties_left_out_items_with_the_least_likely() -> None:
    log = sample_log()
    model = Ease(EaseConfig(l2=5.0, max_items=4)).fit(log, sample_catalog())
    scores = model.scores(asked(model, log))[0]
    assert (scores == scores.min()).sum() >= N_ITEMS + 1 - 4
    assert len(np.unique(scores)) > 1


def test_gfcf_is_the_filter_of_the_paper() -> None:
    log = sample_log()
    r = np.zeros((12, N_ITEMS))
    r[log.user_idx - 1, log.item_idx - 1] = 1.0
    of_user, of_item = np.diag(r.sum(1) ** -0.5), np.diag(np.maximum(r.sum(0), 1e-300) ** -0.5)
    n = of_user @ r @ (of_item * (r.sum(0) > 0))
    v = np.linalg.svd(n)[2][:3].T
    whole = n.T @ n + 0.7 * of_item @ v @ v.T @ np.diag(r.sum(0) ** 0.5)
    model = GfCf(GfCfConfig(alpha=0.7, n_factors=3)).fit(log, sample_catalog())
    queries = queries_at(log, np.array([30, 399]), history_len=None, time_given=False)
    seen = np.stack([np.isin(np.arange(1, N_ITEMS + 1), row) for row in queries.item_idx])
    np.testing.assert_allclose(model.scores(queries)[:, 1:], seen @ whole, rtol=1e-6, atol=1e-9)


def test_gfcf_of_one_user_has_no_spectrum_and_still_answers() -> None:
    log = log_of([4, 2, 4, 7])
    scores = GfCf().fit(log, sample_catalog()).scores(asked(GfCf(), log))[0]
    np.testing.assert_allclose(scores[[2, 4, 7]], 2 / 3)
    assert np.delete(scores, [2, 4, 7]).tolist() == [0.0] * (N_ITEMS - 2)


def three_users() -> EventLog:
    """User 1 shares item 1 with user 2 and nothing with user 3; baskets a day apart."""
    return EventLog.sorted(
        user_idx=[1, 1, 1, 2, 2, 3],
        item_idx=[1, 2, 1, 1, 5, 7],
        occurred_s=np.array([0, 1, 1, 0, 1, 1]) * DAY_S,
    )


def next_of_user_1(log: EventLog) -> Queries:
    longer = EventLog.sorted(
        user_idx=np.append(log.user_idx, 1),
        item_idx=np.append(log.item_idx, 9),
        occurred_s=np.append(log.occurred_s, 2 * DAY_S),
    )
    return queries_at(longer, np.array([3]), history_len=None, time_given=True)


def test_tifu_knn_is_the_own_decayed_past_and_that_of_the_nearest_user() -> None:
    log = three_users()
    config = TifuKnnConfig(decay_days=2.0, n_neighbours=1, alpha=0.8)
    scores = TifuKnn(config).fit(log, sample_catalog()).scores(next_of_user_1(log))[0]
    older = np.exp(-0.5)
    own, other = np.array([1.0 + older, 1.0, 0.0]), np.array([older, 0.0, 1.0])  # items 1, 2, 5
    expected = 0.8 * own / np.linalg.norm(own) + 0.2 * other / np.linalg.norm(other)
    np.testing.assert_allclose(scores[[1, 2, 5]], expected, atol=1e-6)
    np.testing.assert_allclose(np.delete(scores, [1, 2, 5]), 0.0, atol=1e-6)


def test_up_cf_is_the_share_of_own_baskets_and_of_those_of_similar_users() -> None:
    log = three_users()
    config = UpCfConfig(n_baskets=2, asymmetry=0.5, locality=3.0)
    scores = UpCf(config).fit(log, sample_catalog()).scores(next_of_user_1(log))[0]
    weight = (1 / np.sqrt(2 * 2)) ** 3  # one common item, two items each
    np.testing.assert_allclose(scores[[1, 2, 5]], [1.0 + weight / 2, 0.5, weight / 2], atol=1e-6)
    np.testing.assert_allclose(np.delete(scores, [1, 2, 5]), 0.0, atol=1e-6)
    latest = UpCf(UpCfConfig(n_baskets=1, asymmetry=0.5, locality=3.0)).fit(log, sample_catalog())
    np.testing.assert_allclose(
        latest.scores(next_of_user_1(log))[0, [1, 2, 5]], [1.0, 1.0, weight], atol=1e-6
    )


@pytest.mark.parametrize(
    "model",
    [TifuKnn(TifuKnnConfig(max_users=2)), UpCf(UpCfConfig(max_users=2))],
    ids=["tifu_knn", "up_cf"],
)
def test_neighbours_are_sought_among_the_latest_users(model: TifuKnn | UpCf) -> None:
    early = EventLog.sorted(user_idx=[4, 4], item_idx=[1, 8], occurred_s=[0, 0])
    whole = EventLog.sorted(
        user_idx=np.append(early.user_idx, three_users().user_idx[3:]),
        item_idx=np.append(early.item_idx, three_users().item_idx[3:]),
        occurred_s=np.append(early.occurred_s, three_users().occurred_s[3:] + DAY_S),
    )
    scores = model.fit(whole, sample_catalog()).scores(next_of_user_1(three_users()))[0]
    assert scores[5] > 1e-6 > scores[8]


@pytest.mark.parametrize("model", [*baselines(), GfCf()], ids=lambda model: model.name)
def test_unfitted_model_says_so(model: Recommender) -> None:
    with pytest.raises(ConfigError, match="has not been fitted"):
        model.scores(asked(model, log_of([1, 2])))


def test_window_shorter_than_a_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one day"):
        PopularityLastDays(days=0)


def test_baselines_are_named_in_table_order() -> None:
    names = [model.name for model in baselines()]
    alone = ["popularity", "popularity_7d", "user_counts", "markov", "ease"]
    assert names == [*alone, "tifu_knn", "up_cf"]
    assert [model.name for model in baselines(has_baskets=False)] == alone


def test_user_counts_beat_popularity_on_faithful_users() -> None:
    log = EventLog.sorted(
        user_idx=np.repeat(np.arange(1, 11), 20),
        item_idx=np.repeat(np.arange(1, 11), 20),
        occurred_s=np.tile(np.arange(20) * DAY_S, 10),
    )
    last = np.arange(19, 200, 20)
    models = [model().fit(log, sample_catalog()) for model in (UserCounts, Popularity)]
    hits = [
        (m.scores(queries_at(log, last, history_len=None, time_given=False)).argmax(1))
        == log.item_idx[last]
        for m in models
    ]
    assert hits[0].mean() == 1.0
    assert hits[1].mean() <= 0.1
