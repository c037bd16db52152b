"""Progress of a scoring: users done and users a second."""

import time
from collections.abc import Callable
from typing import Final

from chronotope.scoring.config import ScoringProgress

ProgressListener = Callable[[ScoringProgress], None]

_REPORT_S: Final = 1.0
"""Seconds between two reports."""


class ProgressReporter:
    """Counter of scored users that reports to a listener, at most once a second.

    Attributes:
        n_resumed: Users that an earlier run has scored.
        users_per_s: Users a second of this run, as of the last report.
    """

    def __init__(self, n_users: int, n_resumed: int, on_progress: ProgressListener) -> None:
        """Start the clock.

        Args:
            n_users: Users to score.
            n_resumed: Of these, users that an earlier run has scored.
            on_progress: Receives the reports.
        """
        self.n_resumed, self._n_users, self._on_progress = n_resumed, n_users, on_progress
        self.users_per_s, self._n_scored = 0.0, 0
        self._start_s, self._reported_s = time.perf_counter(), 0.0

    def add(self, n_users: int) -> None:
        """Count scored users."""
        self._n_scored += n_users
        if time.perf_counter() - self._reported_s >= _REPORT_S:
            self.report()

    def report(self) -> None:
        """Report now."""
        self._reported_s = time.perf_counter()
        if self._n_scored:
            self.users_per_s = round(self._n_scored / (self._reported_s - self._start_s), 1)
        n_done = self.n_resumed + self._n_scored
        self._on_progress(
            ScoringProgress(n_done=n_done, n_users=self._n_users, users_per_s=self.users_per_s)
        )
