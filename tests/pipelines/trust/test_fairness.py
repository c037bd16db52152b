"""Groups by attribute or activity, with enough users; exposure of a model's lists."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import AttributeColumn, UserAttributes
from chronotope.pipelines.trust.fairness import (
    evaluate_fairness,
    group_levels,
    recommend_lists,
    tail_shares,
)
from tests.pipelines.trust.test_membership_audit import N_ITEMS, N_USERS, city


class Fixed:
    """The same order of the items for everybody; the first has a probability of a half."""

    name, history_len = "fixed", None

    def __init__(self, order: list[int]) -> None:
        self.order = order

    def fit(self, log: EventLog, catalog: Catalog) -> "Fixed":
        return self

    def observe(self, log: EventLog) -> None:
        pass

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        scores = np.full((len(queries), N_ITEMS + 1), -np.inf)
        scores[:, self.order] = np.log(0.5 ** np.arange(1, len(self.order) + 1))
        return scores


def with_ages(catalog: Catalog, n_old: int) -> Catalog:
    column = AttributeColumn(name="age", first=1, levels=("old", "young"))
    codes = np.where(np.arange(N_USERS + 1) <= n_old, 1, 2)[:, None].astype(np.int32)
    codes[0] = 0
    return replace(catalog, user_attributes=UserAttributes((column,), codes))


def targets_of(log: EventLog) -> npt.NDArray[np.int64]:
    later = log.occurred_s >= np.quantile(log.occurred_s, 0.5)
    return np.flatnonzero(later & (log.basket_start() > log.user_start())).astype(np.int64)


def test_groups_are_levels_with_enough_users() -> None:
    log, catalog = city()
    targets = targets_of(log)
    catalog = with_ages(catalog, n_old=15)
    is_old = log.user_idx[targets] <= 15
    ndcg_values = np.where(is_old, 0.2, 0.5)
    model = Fixed([3, 1, 2])
    shown = evaluate_fairness(model, log, targets, ndcg_values, catalog, min_group_users=10)
    assert [(group.level, group.ndcg_10.value) for group in shown.groups] == [
        ("old", pytest.approx(0.2)),
        ("young", pytest.approx(0.5)),
    ]
    assert shown.accuracy_gaps() == {"age": pytest.approx(0.3)}
    hits = (log.item_idx[targets] == 3)[is_old].mean()
    assert shown.groups[0].overconfidence.value == pytest.approx(0.5 / 0.875 - hits)
    few = evaluate_fairness(model, log, targets, ndcg_values, catalog, min_group_users=20)
    assert [group.level for group in few.groups] == ["young"]
    levels = group_levels(catalog, log, targets, min_group_users=20)
    assert set(levels["age"][is_old]) == {-1}
    assert set(levels["age"][~is_old]) == {1}


def test_without_attributes_groups_are_thirds_by_activity() -> None:
    log, catalog = city()
    targets = targets_of(log)
    shown = evaluate_fairness(
        Fixed([1]), log, targets, np.zeros(len(targets)), catalog, min_group_users=1
    )
    assert [group.level for group in shown.groups] == ["low", "medium", "high"]
    assert sum(group.n_targets for group in shown.groups) == len(targets)


def test_lists_and_their_tail() -> None:
    log, catalog = city()
    targets = targets_of(log)
    n_events = np.bincount(log.before(int(log.occurred_s[targets].min())).item_idx)
    order = (1 + np.argsort(-n_events[1:], kind="stable")).tolist()
    lists = recommend_lists(Fixed(order), log, targets)
    assert (lists.items == order[:10]).all()
    popular, users = tail_shares(Fixed(order), log, targets, catalog)
    rare, _ = tail_shares(Fixed(order[::-1]), log, targets, catalog)
    assert len(users) == len(popular) == len(targets)
    assert 0 < popular.mean() < 1
    assert rare.mean() == pytest.approx(1.0)
