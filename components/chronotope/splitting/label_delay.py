"""Splits by days, with a gap in which the labels of the latest events are unknown."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float64, Int64

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class DelayedSplit:
    """Days to train on, days until their labels are known, and days to test on.

    Attributes:
        start_day: First training day, since 1970.
        train_days: Number of training days.
        delay_days: Number of days between them and the test.
        test_days: Number of test days.
    """

    start_day: int
    train_days: int = 7
    delay_days: int = 7
    test_days: int = 7

    @property
    def test_start_day(self) -> int:
        """First test day."""
        return self.start_day + self.train_days + self.delay_days

    def train_rows(self, occurred_s: Int64) -> Int64:
        """Positions of the training events."""
        day = occurred_s // DAY_S
        is_training = (day >= self.start_day) & (day < self.start_day + self.train_days)
        return np.flatnonzero(is_training)

    def test_rows(self, occurred_s: Int64, user_idx: Int64, is_anomalous: Float64) -> Int64:
        """Positions of the test events of users that are not known as compromised by then.

        Known are the users of labelled anomalies in the training days, and on each test day those
        of the days whose labels have arrived.

        Source: Le Borgne et al., "Reproducible machine learning for credit card fraud detection:
        practical handbook", chapter 5.

        Args:
            occurred_s: UTC seconds of each event, shape (n,).
            user_idx: User of each event, shape (n,).
            is_anomalous: Outcome of each event, shape (n,).
        """
        day = occurred_s // DAY_S
        first_known_s = np.full(int(user_idx.max(initial=0)) + 1, np.iinfo(np.int64).max)
        is_after_start = (is_anomalous > 0) & (day >= self.start_day)
        np.minimum.at(first_known_s, user_idx[is_after_start], day[is_after_start])
        last_test_day = self.test_start_day + self.test_days
        is_test = (day >= self.test_start_day) & (day < last_test_day)
        is_known = first_known_s[user_idx] < day - self.delay_days
        return np.flatnonzero(is_test & ~is_known)


def weekly_splits(
    occurred_s: Int64, n_splits: int, *, train_days: int, delay_days: int, test_days: int
) -> tuple[DelayedSplit, ...]:
    """The last splits that fit a log, a test period apart, earliest first.

    Args:
        occurred_s: UTC seconds of each event, shape (n,).
        n_splits: Number of splits.
        train_days: Days of training.
        delay_days: Days until labels are known.
        test_days: Days of a test.

    Raises:
        ConfigError: The log is too short.
    """
    first_day, end_day = int(occurred_s.min()) // DAY_S, int(occurred_s.max()) // DAY_S + 1
    span = train_days + delay_days + test_days
    last_start = end_day - span
    starts = [last_start - test_days * age for age in reversed(range(n_splits))]
    if starts[0] < first_day:
        raise ConfigError(
            f"{n_splits} tests of {test_days} days do not fit the log",
            received=f"{end_day - first_day} days of events",
            way_out=f"At least {span + test_days * (n_splits - 1)} days are needed: choose fewer "
            "tests or shorter periods",
        )
    return tuple(DelayedSplit(start, train_days, delay_days, test_days) for start in starts)
