"""Protocol by time: what is late, what is ranked, and rivals that rank by hand-made content."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import cold_by_time
from benchmarks.cold_by_time import category_popularity, dropout_net, item_knn, late_items
from chronotope.testing.recommender_suite import sample_catalog
from tests.training.test_cold_start import N_KINDS, tastes


@pytest.fixture(scope="module")
def task() -> cold_by_time.LateItems:
    """Users who want one kind of item; the last items of each kind have their first event late."""
    log, catalog = tastes()
    is_new = log.item_idx > catalog.n_items - 1 - 3 * N_KINDS
    middle = np.quantile(log.occurred_s, 0.85)
    return late_items(log.take(~is_new | (log.occurred_s >= middle)), catalog, quantile=0.8)


def test_late_items_have_no_event_before_the_cut(task: cold_by_time.LateItems) -> None:
    assert task.is_late.sum() == 3 * N_KINDS
    assert not task.is_late[task.train.item_idx].any()
    assert task.is_late[task.log.item_idx[task.targets]].all()
    assert (task.log.occurred_s[task.every_target] > task.train.occurred_s.max()).all()
    assert set(task.targets.tolist()) <= set(range(len(task.log)))


def test_content_ranks_late_items_and_popularity_cannot(task: cold_by_time.LateItems) -> None:
    ndcg = {
        name: cold_by_time._metrics(task, fit(task), ranks_all=False)["ndcg_10"]
        for name, fit in {
            "popularity": category_popularity,
            "knn": item_knn,
            "dropout": dropout_net,
        }.items()
    }
    assert ndcg["popularity"] < 0.5  # all of one category: ties are expected ranks
    assert 1 >= ndcg["knn"] > 0.6
    assert 1 >= ndcg["dropout"] > ndcg["popularity"]


def test_a_rank_is_expected_over_ties(task: cold_by_time.LateItems) -> None:
    among_late, among_all = cold_by_time.target_ranks(
        task, task.targets[:5], lambda queries: np.zeros((len(queries), task.catalog.n_items))
    )
    assert (among_late <= (task.is_late.sum() - 1) / 2).all()
    assert (among_all >= among_late).all()


def test_a_catalogue_without_content_is_named(task: cold_by_time.LateItems) -> None:
    with pytest.raises(ValueError, match="no content"):
        item_knn(replace(task, catalog=replace(sample_catalog(), content=None)))
