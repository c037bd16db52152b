"""Batch of queries as tensors, and local time derived from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.queries import Queries

DAY_S = 86_400


class Batch(NamedTuple):
    """Tensors of B queries with histories of H events, right-aligned.

    Attributes:
        item_idx, occurred_s, utc_offset_min, place_idx: int64, shape (B, H).
        request_s, request_offset_min, request_place_idx: int64, shape (B,).
        time_given: float32 0 or 1, shape (B,).
        context: Columns of the request's context, float32, NaN if unknown, shape (B, N).
        context_item_idx: Items whose item context differs from the defaults, int64, shape (B, P).
        context_levels: Levels of these items, int64, shape (B, P, n_columns).
    """

    item_idx: Tensor
    occurred_s: Tensor
    utc_offset_min: Tensor
    place_idx: Tensor
    request_s: Tensor
    request_offset_min: Tensor
    request_place_idx: Tensor
    time_given: Tensor
    context: Tensor
    context_item_idx: Tensor
    context_levels: Tensor


INPUT_NAMES = Batch._fields

HISTORY_NAMES = INPUT_NAMES[:4]
"""Fields of shape (B, H)."""


def to_batch(queries: Queries, history_len: int, columns: Sequence[str] = ()) -> Batch:
    """Convert queries to tensors.

    Args:
        queries: B queries.
        history_len: Length H to which histories are padded or cut.
        columns: Names of the N context columns, in this order.
    """

    def pad_history(name: str) -> Tensor:
        column = torch.from_numpy(getattr(queries, name)).long()[:, -history_len:]
        return torch.nn.functional.pad(column, (history_len - column.shape[1], 0))

    def to_long(name: str) -> Tensor:
        return torch.from_numpy(getattr(queries, name)).long()

    return Batch(
        item_idx=pad_history("item_idx"),
        occurred_s=pad_history("occurred_s"),
        utc_offset_min=pad_history("utc_offset_min"),
        place_idx=pad_history("place_idx"),
        request_s=to_long("request_s"),
        request_offset_min=to_long("request_offset_min"),
        request_place_idx=to_long("request_place_idx"),
        time_given=torch.from_numpy(queries.time_given).float(),
        context=_context(queries, columns),
        context_item_idx=_item_context(queries.context_item_idx, (len(queries), 0)),
        context_levels=_item_context(queries.context_levels, (len(queries), 0, 0)),
    )


def _item_context(values: npt.NDArray[np.int32] | None, empty_shape: tuple[int, ...]) -> Tensor:
    """Items or levels of the item context; without any a tensor without values."""
    if values is None:
        return torch.zeros(empty_shape, dtype=torch.int64)
    return torch.from_numpy(values).long()


def _context(queries: Queries, columns: Sequence[str]) -> Tensor:
    """Named context columns, NaN where unknown, (B, N)."""
    context_values = torch.full((len(queries), len(columns)), torch.nan)
    for column_idx, name in enumerate(columns):
        if name in queries.context:
            context_values[:, column_idx] = torch.from_numpy(queries.context[name])
    return context_values


def lookup(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` for a table of shape (n,); faster than advanced indexing on the CPU."""
    return table.index_select(0, index.reshape(-1)).view(index.shape)


def local_hour(instant_s: Tensor, offset_min: Tensor) -> Tensor:
    """Hour of the local day in [0, 24), float32, same shape."""
    local = instant_s + 60 * offset_min
    return torch.remainder(local, DAY_S).float() / 3600.0


def local_weekday(instant_s: Tensor, offset_min: Tensor) -> Tensor:
    """Local weekday, Monday = 0, int64, same shape. 1970-01-01 was a Thursday."""
    days = torch.div(instant_s + 60 * offset_min, DAY_S, rounding_mode="floor")
    return torch.remainder(days + 3, 7)


def hours_between(later_s: Tensor, earlier_s: Tensor) -> Tensor:
    """Non-negative hours from one instant to another, float32; exact before rounding."""
    return (later_s - earlier_s).clamp(min=0).float() / 3600.0


def hour_distance(hours: Tensor, reference_hour: Tensor) -> Tensor:
    """Circular distance between hours of the day, shape (B, L)."""
    distance = (hours - reference_hour).abs()
    return torch.minimum(distance, 24.0 - distance)
