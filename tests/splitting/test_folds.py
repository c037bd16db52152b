import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chronotope.contracts.errors import DataError, NotEnoughData, SourceError
from chronotope.contracts.event_log import EventLog
from chronotope.splitting.folds import Fold, FoldsConfig, load_folds, rolling_origin, save_folds


def log_of(times):
    return EventLog.sorted(user_idx=[1] * len(times), item_idx=[1] * len(times), occurred_s=times)


def test_folds_by_hand():
    config = FoldsConfig(k=2, embargo_s=5, min_train_share=0.5, holdout_quantile=0.9)
    folds = rolling_origin(log_of(np.arange(0, 1010, 10)), config)
    spans = [tuple(f.model_dump().values()) for f in (*folds.folds, folds.holdout)]
    assert spans == [(495, 500, 700), (695, 700, 900), (895, 900, 1001)]


TIMES = st.lists(st.integers(0, 10**6), min_size=20, max_size=80, unique=True)


@given(TIMES, st.integers(1, 4), st.integers(0, 1000))
def test_windows_adjoin_grow_and_never_reach_back(times, k, embargo_s):
    try:
        made = rolling_origin(log_of(times), FoldsConfig(k=k, embargo_s=embargo_s))
    except NotEnoughData:
        return
    chain = [*made.folds, made.holdout]
    assert [f.test_end_s for f in chain[:-1]] == [f.test_start_s for f in chain[1:]]
    assert all(f.test_start_s - f.train_end_s == embargo_s for f in chain)
    assert all(min(times) < f.train_end_s for f in chain)
    assert made.holdout.test_end_s == max(times) + 1


def test_when_the_holdout_happens_does_not_move_the_folds():
    times = np.arange(1000)
    later = np.where(times > 900, times + 10**6, times)
    config = FoldsConfig(k=3)
    assert (
        rolling_origin(log_of(times), config).folds == rolling_origin(log_of(later), config).folds
    )


@pytest.mark.parametrize("times", [[], [7] * 50, [1, 2]])
def test_too_short_a_log_is_refused(times):
    with pytest.raises(NotEnoughData):
        rolling_origin(log_of(times), FoldsConfig(k=3))


def test_an_embargo_longer_than_the_training_is_refused():
    with pytest.raises(NotEnoughData, match="shorter embargo"):
        rolling_origin(log_of(range(100)), FoldsConfig(k=2, embargo_s=50))


def test_stored_folds_come_back(tmp_path):
    folds = rolling_origin(log_of(range(100)), FoldsConfig(k=2))
    path = tmp_path / "study" / "folds.json"
    assert save_folds(folds, path) == folds.digest
    assert load_folds(path) == folds
    assert [p.name for p in path.parent.iterdir()] == ["folds.json"]


def test_edited_folds_are_refused(tmp_path):
    path = tmp_path / "folds.json"
    save_folds(rolling_origin(log_of(range(100)), FoldsConfig(k=2)), path)
    content = json.loads(path.read_text())
    content["folds"]["holdout"]["test_end_s"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="digest"):
        load_folds(path)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"folds": {}, "digest": ""}'])
def test_unreadable_folds_are_refused(tmp_path, text):
    path = tmp_path / "folds.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SourceError, match="rolling_origin"):
        load_folds(path)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"min_train_share": 0.95}, {"folds": 3}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        FoldsConfig(**wrong)


def test_a_fold_that_trains_on_its_own_test_window_is_refused():
    with pytest.raises(ValidationError, match="train_end_s"):
        Fold(train_end_s=5, test_start_s=4, test_end_s=9)
