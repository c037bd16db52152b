"""Lengths to which the histories of a batch are padded before a graph reads them.

A graph costs what its histories are long, so a batch is cut to its longest history, and padded to
one of a few lengths, for which ONNX Runtime then has its memory at hand.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from chronotope.contracts.queries import Queries

HISTORY_LENGTHS: Final = "history_lengths"
"""Key of a graph's metadata with its lengths, in ascending order, separated by blanks."""


def format_lengths(lengths: Sequence[int]) -> str:
    """Lengths as they are stored in a graph's metadata.

    >>> format_lengths([16, 32])
    '16 32'
    """
    return " ".join(map(str, lengths))


def parse_lengths(stored_lengths: str) -> tuple[int, ...]:
    """Lengths stored in a graph's metadata.

    >>> parse_lengths('16 32')
    (16, 32)
    """
    return tuple(map(int, stored_lengths.split()))


def padded_length(queries: Queries, lengths: Sequence[int]) -> int:
    """The smallest length that holds every history of a batch; else the largest.

    Args:
        queries: The batch; histories are right-aligned, padding is zero.
        lengths: Lengths that the graph reads, in ascending order.
    """
    is_event = (queries.occurred_s != 0) | (queries.item_idx != 0)  # (B, H)
    n_columns = is_event.shape[1]
    used_columns = np.flatnonzero(is_event.any(axis=0))
    n_events = n_columns - int(used_columns[0]) if len(used_columns) else 0
    return next((length for length in lengths if length >= n_events), lengths[-1])
