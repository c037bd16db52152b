"""Splits with a gap for the delay of labels."""

import numpy as np
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.splitting.label_delay import DAY_S, DelayedSplit, weekly_splits

DAYS = np.arange(30)
TIME_S = DAYS * DAY_S + 3600
USER = DAYS % 3


def test_labels_that_arrive_until_a_day_remove_their_users() -> None:
    split = DelayedSplit(start_day=2, train_days=7, delay_days=7, test_days=7)
    is_fraud = np.isin(DAYS, (1, 4, 11)).astype(float)  # users 1, 1 and 2; day 1 is too early
    assert split.train_rows(TIME_S).tolist() == list(range(2, 9))
    rows = split.test_rows(TIME_S, USER, is_fraud)
    # user 1 is known from training; user 2 becomes known on day 11 + 8
    assert rows.tolist() == [day for day in range(16, 23) if day % 3 == 0 or day == 17]


def test_splits_end_with_the_log() -> None:
    splits = weekly_splits(TIME_S, 2, train_days=7, delay_days=3, test_days=5)
    assert [split.start_day for split in splits] == [10, 15]
    assert [split.test_start_day for split in splits] == [20, 25]
    with pytest.raises(ConfigError, match="do not fit"):
        weekly_splits(TIME_S, 5, train_days=7, delay_days=7, test_days=7)
