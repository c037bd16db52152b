"""Batches of queries that were prepared one by one, as the service prepares them."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float32
from chronotope.contracts.queries import Queries

History = TypeVar("History", np.int32, np.int64)


def stack_queries(single_queries: Sequence[Queries], *, history_len: int) -> Queries:
    """One batch of queries of one row each; histories stay right-aligned.

    Args:
        single_queries: Queries of batch size 1, at least one.
        history_len: Latest events of a history to take: those that the graph reads.
    """
    longest_history = max(user_queries.item_idx.shape[1] for user_queries in single_queries)
    history_width = min(longest_history, history_len)
    return Queries(
        user_idx=np.concatenate([user_queries.user_idx for user_queries in single_queries]),
        item_idx=_right_aligned(
            [user_queries.item_idx[0] for user_queries in single_queries], history_width
        ),
        occurred_s=_right_aligned(
            [user_queries.occurred_s[0] for user_queries in single_queries], history_width
        ),
        utc_offset_min=_right_aligned(
            [user_queries.utc_offset_min[0] for user_queries in single_queries], history_width
        ),
        place_idx=_right_aligned(
            [user_queries.place_idx[0] for user_queries in single_queries], history_width
        ),
        request_s=np.concatenate([user_queries.request_s for user_queries in single_queries]),
        request_offset_min=np.concatenate(
            [user_queries.request_offset_min for user_queries in single_queries]
        ),
        request_place_idx=np.concatenate(
            [user_queries.request_place_idx for user_queries in single_queries]
        ),
        time_given=np.concatenate([user_queries.time_given for user_queries in single_queries]),
        context=_stack_context(single_queries),
        **_stack_item_context(single_queries),
    )


def _stack_item_context(single_queries: Sequence[Queries]) -> dict[str, npt.NDArray[np.int32]]:
    """Items and levels of the item context, padded to the longest; none without any."""
    levels = [each.context_levels for each in single_queries if each.context_levels is not None]
    if not levels:
        return {}
    width = max(rows.shape[1] for rows in levels)
    items = np.zeros((len(single_queries), width), np.int32)
    all_levels = np.zeros((len(single_queries), width, levels[0].shape[2]), np.int32)
    for row, single in enumerate(single_queries):
        if single.context_item_idx is not None and single.context_levels is not None:
            n_rows = single.context_item_idx.shape[1]
            items[row, :n_rows] = single.context_item_idx[0]
            all_levels[row, :n_rows] = single.context_levels[0]
    return {"context_item_idx": items, "context_levels": all_levels}


def _right_aligned(histories: Sequence[npt.NDArray[History]], width: int) -> npt.NDArray[History]:
    """The latest ``width`` values of each history, zeros before them, shape (B, width)."""
    padded_batch = np.zeros((len(histories), width), histories[0].dtype)
    for row, user_history in enumerate(histories):
        latest_events = user_history[-width:]
        padded_batch[row, width - len(latest_events) :] = latest_events
    return padded_batch


def _stack_context(single_queries: Sequence[Queries]) -> dict[str, Float32]:
    """Context columns of the batch, NaN where a query lacks one, shape (B,) each."""
    column_names = sorted(
        {name for user_queries in single_queries for name in user_queries.context}
    )
    unknown = np.full(1, np.nan, np.float32)
    return {
        name: np.concatenate(
            [user_queries.context.get(name, unknown) for user_queries in single_queries]
        )
        for name in column_names
    }
