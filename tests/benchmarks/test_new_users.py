"""Folds, rivals and rows of the benchmark of new users, on a small log."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import new_users
from benchmarks.new_users import POPULARITY, Rules, day_batches, fold_of_users, make_fold, rows_of
from chronotope.contracts.errors import SourceError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.user_attributes import AttributeColumn, UserAttributes
from chronotope.testing.recommender_suite import N_USERS, sample_catalog, sample_log
from chronotope.training.config import TrainingConfig

RULES = Rules(TrainingConfig(max_epochs=1, n_rounds=2), kernel_len=8)


def catalog() -> Catalog:
    columns = (AttributeColumn(name="sex", first=1, levels=("f", "m")),)
    codes = np.r_[0, 1 + np.arange(N_USERS) % 2][:, None].astype(np.int32)
    return replace(sample_catalog(), user_attributes=UserAttributes(columns, codes))


def test_users_of_the_test_fold_have_no_event_in_the_training() -> None:
    folds, log = fold_of_users(N_USERS + 1), sample_log()
    assert folds[0] == -1
    assert set(folds[1:]) == set(range(new_users.N_FOLDS))
    task = make_fold(log, catalog(), 2, (0, 2))
    assert set(folds[task.train.user_idx]) == {0, 1, 3, 4}
    assert len(task.train) == (folds[log.user_idx] != 2).sum()
    for queries in task.queries.values():
        assert set(folds[queries.queries.user_idx]) == {2}
        assert (queries.queries.request_place_idx == 0).all()  # the item is the place


def test_a_batch_is_of_one_day_and_every_query_is_in_one() -> None:
    queries = make_fold(sample_log(), catalog(), 2, (0,)).queries[0].queries
    batches = list(day_batches(queries))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(queries)))
    for rows in batches:
        assert len(np.unique(queries.request_s[rows] // new_users.DAY_S)) == 1


def test_every_model_has_a_row_for_every_number_of_events() -> None:
    task = make_fold(sample_log(), catalog(), 2, (0, 1))
    rows = rows_of("small", new_users.measure_fold(task, new_users.MODELS, RULES, seed=0))
    assert {(row["n_events"], row["model"]) for row in rows} == {
        (n_events, model) for n_events in (0, 1) for model in new_users.MODELS
    }
    for row in rows:
        assert 0.0 <= row["low"] <= row["ndcg_10"] <= row["high"] <= 1.0
        assert row["n_targets"] == len(task.queries[row["n_events"]].row)
        if row["model"] == POPULARITY:
            assert row["x_popularity"] == 1.0


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="movielens_100k"):
        new_users.main(["--data", str(tmp_path), "--work", str(tmp_path)])
