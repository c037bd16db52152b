"""What luck alone can reach."""

import math

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog

DOUBT = 1e-3
"""Probability with which an honest predictor passes one of these bounds."""


def luck(n: int) -> float:
    """How far n hits may lie above their mean probability, in one of 1 / DOUBT cases.

    Hits minus their probabilities given the past are martingale differences within an
    interval of length 1, so that (Azuma, Hoeffding) P(excess >= t) <= exp(-2 n t^2).
    """
    return math.sqrt(math.log(1 / DOUBT) / (2 * n))


def best_of_noise(item_idx: npt.NDArray[np.integer], k: int) -> float:
    """Mass of the k commonest items: nobody hits more often what is drawn from them."""
    counts = np.sort(np.bincount(item_idx))
    return float(counts[-k:].sum() / counts.sum())


def best_without_order(log: EventLog, positions: npt.NDArray[np.integer]) -> float:
    """Mean Acc@1 of who knows what a user will still do, but not in which order."""
    end = np.searchsorted(log.user_idx, log.user_idx[positions], side="right")
    left = zip(positions.tolist(), end.tolist(), strict=True)
    return float(np.mean([best_of_noise(log.item_idx[a:b], 1) for a, b in left]))
