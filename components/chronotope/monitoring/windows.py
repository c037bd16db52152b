"""Monitoring windows: consecutive periods of equal length that end with the last event."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Int64
from chronotope.monitoring.config import MonitorConfig

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows 0 .. n - 1 in the order of time; the last one is the current window.

    Attributes:
        end_s: End of the current window, UTC seconds, exclusive.
        length_s: Length of a window, seconds.
        n: Number of windows, at least 1.
    """

    end_s: int
    length_s: int
    n: int

    @classmethod
    def over(cls, occurred_s: Int64, monitor_config: MonitorConfig) -> Self:
        """Windows of an event log: all complete ones, up to the number that is compared.

        Args:
            occurred_s: Times of the events, UTC seconds, shape (n_events,), n_events > 0.
            monitor_config: Length and numbers of windows.
        """
        end_s, length_s = int(occurred_s.max()) + 1, monitor_config.window_days * _DAY_S
        n_full_windows = (end_s - int(occurred_s.min())) // length_s
        max_windows = monitor_config.history_windows + monitor_config.reference_windows + 1
        return cls(end_s, length_s, int(np.clip(n_full_windows, 1, max_windows)))

    def of(self, at_s: npt.NDArray[np.int64]) -> Int64:
        """Window of each time, -1 before the first window; later times are in the current one.

        Args:
            at_s: Times, UTC seconds, shape (n,).
        """
        windows_back = np.maximum(self.end_s - 1 - at_s, 0) // self.length_s
        return np.asarray(np.maximum(self.n - 1 - windows_back, -1), dtype=np.int64)

    def start_s(self, window_idx: int) -> int:
        """Start of a window, UTC seconds."""
        return self.end_s - (self.n - window_idx) * self.length_s

    def span(self, window_idx: int) -> tuple[datetime, datetime]:
        """Start and end (exclusive) of a window, in UTC."""
        window_start_s = self.start_s(window_idx)
        window_ends = (window_start_s, window_start_s + self.length_s)
        first_instant, last_instant = (
            datetime.fromtimestamp(instant_s, UTC) for instant_s in window_ends
        )
        return first_instant, last_instant

    def counts(
        self, window_idx: Int64, value_codes: Int64, n_codes: int
    ) -> npt.NDArray[np.float64]:
        """Count the codes of a column in each window.

        Args:
            window_idx: Window of each row; rows with -1 are not counted.
            value_codes: Code of each row; rows with -1 are not counted.
            n_codes: Number of codes.

        Returns:
            Counts, shape (n, n_codes).
        """
        is_valid = (window_idx >= 0) & (value_codes >= 0)
        flat_counts = np.bincount(
            window_idx[is_valid] * n_codes + value_codes[is_valid], minlength=self.n * n_codes
        )
        return flat_counts.reshape(self.n, n_codes).astype(np.float64)
