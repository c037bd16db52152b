"""Sequence packing: overlapping histories of one user are stored, and encoded, once."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.models.backbones.event_inputs import PackedSequences


def pack_sequences(
    log: EventLog, first_position: Int64, end_position: Int64, *, window_len: int
) -> PackedSequences:
    """Pack the histories of B queries; consecutive queries of one user share a row.

    Args:
        log: The whole log.
        first_position: Position of the first event of each query's history, shape (B,).
        end_position: Position after its last event, shape (B,). Queries in the order of the
            log share the most; any order is correct.
        window_len: Events that each query reads, fewer where its history is shorter.

    Returns:
        R <= B rows, none wider than twice ``window_len``.
    """
    block_idx = end_position // window_len  # limits the width of a row
    is_row_start = np.ones(len(end_position), dtype=np.bool_)
    is_row_start[1:] = (
        (np.diff(first_position) != 0) | (np.diff(block_idx) != 0) | (np.diff(end_position) < 0)
    )
    row_idx, row_starts = np.cumsum(is_row_start) - 1, np.flatnonzero(is_row_start)
    row_low = np.maximum(first_position, end_position - window_len)[row_starts]
    row_high = np.maximum.reduceat(end_position, row_starts)
    width = max(1, int((row_high - row_low).max()))
    positions = row_high[:, None] - width + np.arange(width)  # (R, W)
    is_inside = positions >= row_low[:, None]
    positions = np.where(is_inside, positions, 0)

    def gather(values: npt.NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(np.where(is_inside, values[positions], 0).astype(np.int64))

    return PackedSequences(
        item_idx=gather(log.item_idx),
        occurred_s=gather(log.occurred_s),
        utc_offset_min=gather(log.utc_offset_min),
        row=torch.from_numpy(row_idx),
        column=torch.from_numpy(width - 1 - (row_high[row_idx] - end_position)),
    )


def select_sequences(packed_sequences: PackedSequences, query_idx: Tensor) -> PackedSequences:
    """Packed sequences of some of the queries.

    Args:
        packed_sequences: Packed sequences of B queries.
        query_idx: Positions of the chosen queries, int64, shape (C,).
    """
    used_rows, row_idx = torch.unique(packed_sequences.row[query_idx], return_inverse=True)
    return PackedSequences(
        item_idx=packed_sequences.item_idx[used_rows],
        occurred_s=packed_sequences.occurred_s[used_rows],
        utc_offset_min=packed_sequences.utc_offset_min[used_rows],
        row=row_idx,
        column=packed_sequences.column[query_idx],
    )
