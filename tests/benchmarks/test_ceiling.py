"""Trees over candidates: features read the past alone, and ranks are those of the scores."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ceiling import __main__ as ceiling
from benchmarks.ceiling.basket_history import BasketHistory
from benchmarks.ceiling.candidates import GROUPS, CandidateTable, candidate_table
from benchmarks.ceiling.item_statistics import DAY_S, ItemStatistics
from benchmarks.ceiling.windows import BasketTargets, window_targets
from chronotope.contracts.event_log import EventLog
from chronotope.models.baselines.tifu_knn import TifuKnn
from chronotope.models.baselines.user_counts import UserCounts
from chronotope.testing.recommender_suite import sample_catalog, sample_log

NOON_S = 1_500_033_600
"""A noon, UTC."""


def weekly_log(*, later_item: int = 3) -> EventLog:
    """Item 1 every seventh day for four weeks, item 2 once with the first, then another basket."""
    days = np.array([0, 0, 7, 14, 21, 28])
    items = [1, 2, 1, 1, 1, later_item]
    return EventLog.sorted(user_idx=[1] * 6, item_idx=items, occurred_s=NOON_S + DAY_S * days)


def table_of(log: EventLog) -> tuple[BasketTargets, CandidateTable]:
    """Candidates of the sample log's development window, without a network."""
    catalog = sample_catalog()
    targets = window_targets(log, "development", max_baskets=40, seed=0)
    past = log.before(targets.train_end_s)
    models = [TifuKnn().fit(past, catalog), UserCounts().fit(past, catalog)]
    return targets, candidate_table(log, catalog, targets, models)


def test_features_of_a_weekly_item() -> None:
    log, category = weekly_log(), np.array([0, 1, 1, 2])
    own = BasketHistory.before(log, 0, 5, category)
    columns = own.own_columns(ItemStatistics.count(log, NOON_S + 28 * DAY_S, category))
    assert own.own_items.tolist() == [1, 2]
    assert columns["own.count"].tolist() == [4, 1]
    assert columns["own.age"].tolist() == [7, 28]
    assert columns["baskets.share"].tolist() == [1.0, 0.25]
    assert columns["baskets.ago"].tolist() == [0, 3]
    assert columns["interval.mean"][0] == 7
    assert columns["interval.overdue"][0] == 0
    assert np.isnan(columns["interval.mean"][1])
    assert columns["interval.cycle_7d"][0] == pytest.approx(1.0)
    assert own.category_columns(np.array([1, 2]), 3)["category.interval"][0] == 7


def test_live_counts_end_before_the_moment() -> None:
    log, category = weekly_log(), np.array([0, 1, 1, 2])
    statistics = ItemStatistics.count(log, NOON_S + DAY_S, category)
    columns = statistics.live_columns(np.array([1]), NOON_S + 21 * DAY_S)
    assert columns["live.count_7d"][0] == 1  # that of the second week; that of the moment is not
    assert columns["live.count_28d"][0] == 3
    assert np.expm1(statistics.log_popularity[1]) == pytest.approx(1.0)


def test_features_do_not_read_the_targets() -> None:
    log = sample_log()
    targets, table = table_of(log)
    later_items = log.item_idx.copy()
    for position, end in zip(targets.basket_position, targets.basket_end, strict=True):
        later_items[position:end] = 1
    _, changed = table_of(replace(log, item_idx=later_items))
    first = int(np.argmin(log.occurred_s[targets.basket_position]))  # no target is in its past
    rows, changed_rows = table.basket == first, changed.basket == first
    np.testing.assert_array_equal(table.features[rows], changed.features[changed_rows])
    assert table.is_bought[rows].tolist() != changed.is_bought[changed_rows].tolist()


def test_every_group_has_a_feature_and_can_be_left_out() -> None:
    _, table = table_of(sample_log())
    assert {name.split(".")[0] for name in table.names} == set(GROUPS)
    n_own = sum(name.startswith("own.") for name in table.names)
    assert table.without(["own"]).shape[1] == len(table.names) - n_own


def test_ranks_are_within_the_basket_of_the_target() -> None:
    table = CandidateTable(
        names=("x",),
        features=np.zeros((4, 1), np.float32),
        basket=np.array([0, 0, 1, 1]),
        item_idx=np.array([2, 5, 2, 7]),
        is_bought=np.zeros(4, np.bool_),
    )
    targets = BasketTargets(
        train_end_s=0,
        basket_position=np.array([0, 3]),
        basket_end=np.array([1, 5]),
        target_basket=np.array([0, 1, 1]),
        target_item_idx=np.array([5, 2, 9], np.int32),
        target_user_idx=np.array([1, 1, 1], np.int32),
    )
    ranks = ceiling.target_ranks(table, np.array([3.0, 1.0, 0.0, 2.0]), targets)
    assert ranks.tolist() == [2.0, 2.0, np.inf]


def test_rows_are_of_models_and_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "N_TREES", 3)
    targets, table = table_of(sample_log())
    rows = ceiling.measure(table, table, targets, ["live"], 0)
    assert [row["model"] for row in rows] == [
        "tifu_knn",
        "chronotope",
        "trees",
        "trees without scores",
        "trees without live",
    ]
    assert rows[0]["tifu_ratio"] == 1.0
    assert rows[1]["difference"] == "+0.0000 [+0.0000, +0.0000]"
    assert all(0 < row["ndcg_10"] <= 1 for row in rows)
