"""Selection of target events for evaluation; positions are increasing row positions in the log."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import EventLog, Int64


@dataclass(frozen=True, slots=True)
class GlobalSplit:
    """Global temporal split of the log.

    Attributes:
        cut_s: Train on events before this instant, UTC seconds.
        positions: Each user's last event at or after the cut, if it has a history.
    """

    cut_s: int
    positions: Int64


def targets_between(
    log: EventLog, start_s: int, end_s: int, *, max_targets: int | None = None, seed: int = 0
) -> Int64:
    """Target events of a window whose users have an earlier history.

    An event has a history if its user has an event before its basket, in the window or
    earlier. A subsample is drawn uniformly over events, so users and hours keep their
    shares.

    Args:
        log: All events.
        start_s: First instant of the window, UTC seconds.
        end_s: End of the window, exclusive.
        max_targets: Most targets to return; None returns all.
        seed: Seed of the subsample.

    Returns:
        Positions in the log, increasing.

    Raises:
        ConfigError: The window is empty or ``max_targets`` is below 1.
    """
    if end_s <= start_s or (max_targets is not None and max_targets < 1):
        raise ConfigError(
            "A window must end after it starts and keep at least one target",
            received=f"start {start_s}, end {end_s}, max_targets {max_targets}",
        )
    in_window = (log.occurred_s >= start_s) & (log.occurred_s < end_s)
    positions = np.flatnonzero(in_window & _has_past(log)).astype(np.int64)
    if max_targets is None or len(positions) <= max_targets:
        return positions
    chosen = np.random.default_rng(seed).choice(len(positions), max_targets, replace=False)
    return positions[np.sort(chosen)]


def leave_one_out(log: EventLog) -> Int64:
    """Leave-one-out targets: each user's last event, if it has a history.

    For comparison with papers only: other users' events after a target are in the
    training data, so the future leaks.
    """
    return np.flatnonzero(_is_last(log) & _has_past(log)).astype(np.int64)


def global_split(log: EventLog, quantile: float = 0.9) -> GlobalSplit:
    """Global temporal split: each user's last event after one cut is a target.

    Args:
        log: All events.
        quantile: Quantile of event times where the cut lies.

    Returns:
        The cut and the targets.

    Raises:
        ConfigError: The quantile is not between 0 and 1, or the log is empty.
    """
    if not 0 < quantile < 1 or len(log) == 0:
        raise ConfigError(
            "A global split needs events and a quantile between 0 and 1",
            received=f"{len(log)} events, quantile {quantile}",
        )
    cut_s = int(np.quantile(log.occurred_s, quantile, method="higher"))
    chosen = _is_last(log) & _has_past(log) & (log.occurred_s >= cut_s)
    return GlobalSplit(cut_s, np.flatnonzero(chosen).astype(np.int64))


def _has_past(log: EventLog) -> npt.NDArray[np.bool_]:
    return np.asarray(log.basket_start() > log.user_start(), dtype=np.bool_)


def _is_last(log: EventLog) -> npt.NDArray[np.bool_]:
    is_last = np.ones(len(log), dtype=np.bool_)
    is_last[:-1] = log.user_idx[1:] != log.user_idx[:-1]
    return is_last
