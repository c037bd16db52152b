"""Calibration of scores: how rare a score is among the events a detector was fitted on."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from chronotope.contracts.event_log import Float64

N_QUANTILES: Final = 1001
_TAIL_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class ScoreTail:
    """Quantiles of the training scores, and an exponential tail beyond the highest percent.

    Ranks alone would call all scores above the largest training score equal.

    Attributes:
        quantiles: Scores at evenly spaced shares, increasing, shape (N_QUANTILES,).
        mean_excess: Mean excess over the quantile of 99 %.
    """

    quantiles: Float64
    mean_excess: float

    @classmethod
    def of(cls, scores: Float64) -> "ScoreTail":
        """Calibrate on the scores of training events, shape (n,)."""
        quantiles = np.quantile(scores, np.linspace(0, 1, N_QUANTILES))
        tail_start = float(np.quantile(scores, 1 - _TAIL_SHARE))
        tail_excess = scores[scores > tail_start] - tail_start
        return cls(quantiles, max(float(tail_excess.mean()) if len(tail_excess) else 0.0, 1e-9))

    def surprise(self, scores: Float64) -> Float64:
        """-log p, p the share of training events with such a score or a higher one, shape (n,)."""
        n_below = np.searchsorted(self.quantiles, scores, side="left")
        rank_share = 1 - n_below / (N_QUANTILES + 1)
        tail_start = self.quantiles[round((1 - _TAIL_SHARE) * (N_QUANTILES - 1))]
        tail_surprise = -np.log(_TAIL_SHARE) + (scores - tail_start) / self.mean_excess
        surprise: Float64 = np.where(scores > tail_start, tail_surprise, -np.log(rank_share))
        return surprise
