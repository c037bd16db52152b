"""Time cut into windows of one length, the newest ending with the last event."""

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
    """Windows 0 .. n - 1, the last one the current.

    Attributes:
        end_s: End of the current window, UTC seconds, exclusive.
        length_s: Seconds of each.
        n: How many; at least the current one.
    """

    end_s: int
    length_s: int
    n: int

    @classmethod
    def over(cls, occurred_s: Int64, config: MonitorConfig) -> Self:
        """As many whole windows as a log has, and no more than are compared.

        Args:
            occurred_s: UTC seconds of the events, at least one.
            config: Length and numbers.
        """
        end, length = int(occurred_s.max()) + 1, config.window_days * _DAY_S
        whole = (end - int(occurred_s.min())) // length
        most = config.history_windows + config.reference_windows + 1
        return cls(end, length, int(np.clip(whole, 1, most)))

    def of(self, at_s: npt.NDArray[np.int64]) -> Int64:
        """Window of each instant, -1 before the first; later ones count to the current."""
        back = np.maximum(self.end_s - 1 - at_s, 0) // self.length_s
        return np.asarray(np.maximum(self.n - 1 - back, -1), dtype=np.int64)

    def start_s(self, window: int) -> int:
        """First second of a window."""
        return self.end_s - (self.n - window) * self.length_s

    def span(self, window: int) -> tuple[datetime, datetime]:
        """Start and end of a window."""
        start = self.start_s(window)
        ends = (start, start + self.length_s)
        first, last = (datetime.fromtimestamp(s, UTC) for s in ends)
        return first, last

    def counts(self, window: Int64, codes: Int64, n_codes: int) -> npt.NDArray[np.float64]:
        """How often each code occurs in each window, shape (n, n_codes).

        Args:
            window: Of each row; -1 is left out.
            codes: Of each row; -1 is left out.
            n_codes: Number of codes.
        """
        kept = (window >= 0) & (codes >= 0)
        flat = np.bincount(window[kept] * n_codes + codes[kept], minlength=self.n * n_codes)
        return flat.reshape(self.n, n_codes).astype(np.float64)
