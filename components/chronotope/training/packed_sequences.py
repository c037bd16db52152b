"""Histories of one user's queries overlap: laid out once, a backbone reads them once."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.models.backbones.event_inputs import PackedSequences


def pack_sequences(log: EventLog, first: Int64, end: Int64, *, length: int) -> PackedSequences:
    """Lay out the histories of B queries, those of one user beside each other once.

    Args:
        log: The whole log.
        first: Position of the first event of each query's history, shape (B,).
        end: Position after its last one, shape (B,); queries in the order of the log share
            most, and any order is right.
        length: Events a query needs at least, as far as there are so many.

    Returns:
        R <= B rows, none wider than twice ``length``.
    """
    block = end // length  # bounds how far a row can reach
    is_new = np.ones(len(end), dtype=np.bool_)
    is_new[1:] = (np.diff(first) != 0) | (np.diff(block) != 0) | (np.diff(end) < 0)
    row, at_new = np.cumsum(is_new) - 1, np.flatnonzero(is_new)
    low = np.maximum(first, end - length)[at_new]
    high = np.maximum.reduceat(end, at_new)
    width = max(1, int((high - low).max()))
    at = high[:, None] - width + np.arange(width)  # (R, W)
    inside = at >= low[:, None]
    at = np.where(inside, at, 0)

    def gathered(column: npt.NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(np.where(inside, column[at], 0).astype(np.int64))

    return PackedSequences(
        item_idx=gathered(log.item_idx),
        occurred_s=gathered(log.occurred_s),
        utc_offset_min=gathered(log.utc_offset_min),
        row=torch.from_numpy(row),
        column=torch.from_numpy(width - 1 - (high[row] - end)),
    )


def select_sequences(stretches: PackedSequences, queries: Tensor) -> PackedSequences:
    """The stretches of some of the queries, and no others.

    Args:
        stretches: Of B queries.
        queries: Which, int64, shape (C,).
    """
    used, row = torch.unique(stretches.row[queries], return_inverse=True)
    return PackedSequences(
        item_idx=stretches.item_idx[used],
        occurred_s=stretches.occurred_s[used],
        utc_offset_min=stretches.utc_offset_min[used],
        row=row,
        column=stretches.column[queries],
    )
