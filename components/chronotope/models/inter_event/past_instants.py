"""Latest instants of a history and the gaps between them.

The events of a basket share one instant. They count as one, since the gap to the next event
begins with the basket, and gaps of zero hours within it say nothing of when a user returns.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday

N_GAPS = 64
"""Latest gaps looked at: memory and cost are linear in it."""


class PastInstants(NamedTuple):
    """The latest N_GAPS + 1 instants and the gaps between them, padded on the left.

    Attributes:
        item_idx: Last item of the instant, int64, shape (B, N_GAPS + 1).
        occurred_s: int64, shape (B, N_GAPS + 1).
        hour: Local, shape (B, N_GAPS + 1).
        weekday: Local, int64, shape (B, N_GAPS + 1).
        is_event: 0 in padding, shape (B, N_GAPS + 1).
        n_events: Events of the instant, 0 in padding, shape (B, N_GAPS + 1).
        gap_h: Hours from each instant to the one after it, shape (B, N_GAPS).
        log_gap: Its log, shape (B, N_GAPS).
        is_gap: 0 in padding, shape (B, N_GAPS).
    """

    item_idx: Tensor
    occurred_s: Tensor
    hour: Tensor
    weekday: Tensor
    is_event: Tensor
    n_events: Tensor
    gap_h: Tensor
    log_gap: Tensor
    is_gap: Tensor


def past_instants(batch: Batch) -> PastInstants:
    """The latest N_GAPS + 1 instants of each history.

    Args:
        batch: B queries; only their histories are read.
    """
    next_s = nn.functional.pad(batch.occurred_s[:, 1:], (0, 1), value=-1)
    is_last = (batch.item_idx > 0) & (batch.occurred_s != next_s)
    column = _columns_of_instants(is_last)  # (B, H)
    last_column = torch.where(is_last, column, 0)
    empty = torch.zeros_like(batch.item_idx[:, :1]).expand(-1, N_GAPS + 2)

    def latest(values: Tensor) -> Tensor:
        return empty.scatter(1, last_column, values)[:, 1:]  # column 0 collects what is left out

    item_idx, occurred_s = latest(batch.item_idx), latest(batch.occurred_s)
    offset_min = latest(batch.utc_offset_min)
    is_event = (item_idx > 0).float()
    gap_h = hours_between(occurred_s[:, 1:], occurred_s[:, :-1]) * is_event[:, :-1]
    return PastInstants(
        item_idx=item_idx,
        occurred_s=occurred_s,
        hour=local_hour(occurred_s, offset_min),
        weekday=local_weekday(occurred_s, offset_min),
        is_event=is_event,
        n_events=empty.scatter_add(1, column, (batch.item_idx > 0).long())[:, 1:].float(),
        gap_h=gap_h,
        log_gap=torch.log(gap_h + 0.01),
        is_gap=is_event[:, :-1],
    )


def _columns_of_instants(is_last: Tensor) -> Tensor:
    """Column of the instant of each event, 1 to N_GAPS + 1, or 0 if it is too old, (B, H).

    Args:
        is_last: Whether an event is the last of its instant, shape (B, H).
    """
    n_until = is_last.long().cumsum(1)
    n_before = n_until - is_last.long()
    return (N_GAPS + 2 - (n_until[:, -1:] - n_before)).clamp(0, N_GAPS + 1)
