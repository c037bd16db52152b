"""Spans of the log that belong to targets: the history and the basket of each one.

The log is read in blocks of whole users, and only where there are targets, so that the memory of
positions does not grow with the log.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Int64

_BLOCK_EVENTS: Final = 1 << 20
"""Events of a block, about; a user with more of them is one block."""


class TargetSpans(NamedTuple):
    """Positions that bound the history and the basket of each target, shape (n_targets,) each.

    Attributes:
        user_start: First event of the user.
        basket_start: First event of the basket.
        basket_end: After the last event of the basket.
    """

    user_start: Int64
    basket_start: Int64
    basket_end: Int64

    @classmethod
    def of(cls, log: EventLog, positions: Int64) -> Self:
        """Bounds of the spans of some targets.

        Args:
            log: All events.
            positions: Target events, shape (n_targets,).
        """
        target_bounds = np.empty((3, len(positions)), np.int64)
        for block in _target_blocks(log, positions):
            basket_start = block.user_log.basket_start()
            block_bounds = (
                block.user_log.user_start(),
                basket_start,
                basket_ends(block.user_log, basket_start),
            )
            block_rows = positions[block.targets] - block.first_row
            target_bounds[:, block.targets] = [
                bound[block_rows] + block.first_row for bound in block_bounds
            ]
        return cls(*target_bounds)

    @property
    def n_history(self) -> Int64:
        """Number of events of each history, shape (n_targets,)."""
        return self.basket_start - self.user_start

    def take(self, row_idx: Int64) -> Self:
        """Spans of some of the targets."""
        return type(self)(*(bound[row_idx] for bound in self))


class FirstEvents(NamedTuple):
    """First event of each user with each item.

    Attributes:
        is_first: Whether an event is the first of its user and item, shape (n_events,); only
            for users of targets, False for others.
        of_target: Position of the first event of each target's user and item, shape (n_targets,).
    """

    is_first: npt.NDArray[np.bool_]
    of_target: Int64

    @classmethod
    def of(cls, log: EventLog, positions: Int64) -> Self:
        """First events of the users of some targets.

        Args:
            log: All events.
            positions: Target events, shape (n_targets,).
        """
        is_first = np.zeros(len(log), np.bool_)
        of_target = np.empty(len(positions), np.int64)
        for block in _target_blocks(log, positions):
            first_rows = _first_of_pair(block.user_log)
            end_row = block.first_row + len(first_rows)
            is_first[block.first_row : end_row] = first_rows == np.arange(len(first_rows))
            block_rows = positions[block.targets] - block.first_row
            of_target[block.targets] = first_rows[block_rows] + block.first_row
        return cls(is_first, of_target)


def basket_ends(log: EventLog, basket_start: Int64) -> Int64:
    """Position after the last event of each event's basket, shape (n_events,).

    Args:
        log: All events.
        basket_start: Position of the first event of each event's basket, shape (n_events,).
    """
    is_start = basket_start == np.arange(len(log))
    basket_ends_at = np.append(np.flatnonzero(is_start)[1:], len(log))
    return np.asarray(basket_ends_at[np.cumsum(is_start) - 1])


class _TargetBlock(NamedTuple):
    """All events of some consecutive users, and the targets among them.

    Attributes:
        first_row: Position of the first event.
        user_log: The events.
        targets: Numbers of the targets, shape (n_block_targets,).
    """

    first_row: int
    user_log: EventLog
    targets: Int64


def _target_blocks(log: EventLog, positions: Int64) -> Iterator[_TargetBlock]:
    """Blocks of the log that contain all events of the targets' users."""
    target_order = np.argsort(positions, kind="stable")
    sorted_positions = positions[target_order]
    n_done = 0
    while n_done < len(target_order):
        first_user = log.user_idx[sorted_positions[n_done]]
        first_row = int(np.searchsorted(log.user_idx, first_user))
        last_row = min(first_row + _BLOCK_EVENTS, len(log)) - 1
        end_row = int(np.searchsorted(log.user_idx, log.user_idx[last_row], side="right"))
        n_next = int(np.searchsorted(sorted_positions, end_row))
        block_rows = log.take(slice(first_row, end_row))
        yield _TargetBlock(first_row, block_rows, target_order[n_done:n_next])
        n_done = n_next


def _first_of_pair(log: EventLog) -> Int64:
    """Position of the first event of each event's (user, item) pair, shape (n_events,)."""
    pair_order = np.lexsort((log.item_idx, log.user_idx))  # stable: positions increase in a pair
    user_idx, item_idx = log.user_idx[pair_order], log.item_idx[pair_order]
    is_new_pair = np.ones(len(log), dtype=np.bool_)
    is_new_pair[1:] = (user_idx[1:] != user_idx[:-1]) | (item_idx[1:] != item_idx[:-1])
    first_position = np.empty(len(log), dtype=np.int64)
    first_position[pair_order] = pair_order[np.flatnonzero(is_new_pair)[np.cumsum(is_new_pair) - 1]]
    return first_position
