"""Population shift: the distribution of new events compared with that of earlier ones."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.validation.divergence import first_window, stability_index

SHIFT_COLUMNS: Final = (
    c.EVENT_ID,
    c.USER_ID,
    c.ITEM_ID,
    c.EVENT_TYPE,
    c.OCCURRED_AT,
    c.UTC_OFFSET_MIN,
)
"""Columns of the events that ``measure_shift`` needs."""

MAX_ITEM_BINS: Final = 20
"""Number of values with a bin of their own, the most frequent ones; the others share a bin."""

MIN_HOURS_SPAN_S: Final = 2 * 86_400
"""Time span of new events from which local hours are compared, s: less is not representative."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PopulationShift:
    """New events compared with earlier ones.

    Attributes:
        n_new: Number of new events.
        n_returning: Number of new events of users with a history, which a model can train on.
        new_user_share: Share of new users among the users of the new events.
        new_item_share: Share of new items among the items of the new events.
        psi: Population stability index of event types, items and local hours; empty with too
            few new events, without local hours if they span less than two days.
    """

    n_new: int
    n_returning: int
    new_user_share: float
    new_item_share: float
    psi: dict[str, float]


def measure_shift(
    events: pa.Table, is_new: BoolArray, *, min_compared_rows: int
) -> PopulationShift:
    """Compare new events with all earlier ones.

    Args:
        events: New and earlier events, columns ``SHIFT_COLUMNS``.
        is_new: Mask of the new events, shape (n_events,).
        min_compared_rows: Minimum number of new events to compare distributions.
    """
    user_codes, item_codes = (
        _encode(events.column(column_name)) for column_name in (c.USER_ID, c.ITEM_ID)
    )
    n_new = int(is_new.sum())
    n_new_users, new_user_share = _count_new_codes(user_codes, is_new)
    _, new_item_share = _count_new_codes(item_codes, is_new)
    is_comparable = min_compared_rows <= n_new < len(events)
    return PopulationShift(
        n_new=n_new,
        n_returning=n_new - n_new_users,
        new_user_share=new_user_share,
        new_item_share=new_item_share,
        psi=_column_psi(events, item_codes, is_new) if is_comparable else {},
    )


def _count_new_codes(value_codes: IntArray, is_new: BoolArray) -> tuple[int, float]:
    """Number of codes that occur in new events only, and their share of the codes of new events."""
    n_new_codes = int((first_window(value_codes, is_new.astype(np.int64)) == 1).sum())
    return n_new_codes, n_new_codes / max(1, len(np.unique(value_codes[is_new])))


def _column_psi(events: pa.Table, item_codes: IntArray, is_new: BoolArray) -> dict[str, float]:
    column_codes = {"event types": _encode(events.column(c.EVENT_TYPE)), "items": item_codes}
    event_times_s = events.column(c.OCCURRED_AT).cast(pa.int64()).to_numpy() // 1_000_000
    if np.ptp(event_times_s[is_new]) >= MIN_HOURS_SPAN_S:
        offsets_min = events.column(c.UTC_OFFSET_MIN).cast(pa.int64()).fill_null(0).to_numpy()
        column_codes["local hours"] = (event_times_s + 60 * offsets_min) // 3600 % 24
    return {
        column_name: _psi(value_codes, is_new) for column_name, value_codes in column_codes.items()
    }


def _psi(value_codes: IntArray, is_new: BoolArray) -> float:
    """Population stability index over the most frequent codes, with one bin for all others."""
    n_codes = int(value_codes.max(initial=0)) + 1
    new_shares, old_shares = (
        _code_shares(value_codes[row_mask], n_codes) for row_mask in (is_new, ~is_new)
    )
    top_codes = np.argsort(-np.maximum(new_shares, old_shares), kind="stable")[:MAX_ITEM_BINS]
    new_bins, old_bins = (
        np.append(code_shares[top_codes], max(0.0, 1 - code_shares[top_codes].sum()))
        for code_shares in (new_shares, old_shares)
    )
    return float(stability_index(new_bins, old_bins))


def _code_shares(value_codes: IntArray, n_codes: int) -> FloatArray:
    return np.asarray(np.bincount(value_codes, minlength=n_codes) / max(1, len(value_codes)))


def _encode(text_column: pa.ChunkedArray) -> IntArray:
    encoded_column = pc.fill_null(text_column, "").combine_chunks().dictionary_encode()
    return np.asarray(encoded_column.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
