"""Numeric columns derived from rows of the predictions table, to which expectations apply."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts import predictions as p
from chronotope.contracts.event_log import Float64, Int64

_SUM_TOLERANCE = 1e-4  # probabilities are sums of float32 numbers


def derive_prediction_columns(
    rows: pa.Table, known_items: pa.Array, *, is_reranked: bool = False
) -> pa.Table:
    """Compute the numeric columns of the suite of predictions.

    Columns: ``row`` (position), ``rank``, ``probability`` (null with an item index; NaN becomes
    infinity and so is out of range), ``probability_total`` (sum over the user's list),
    ``probability_rise`` (probability minus that of the rank before; null where lists are ranked
    by something else), ``rank_gap`` (rank minus the one that is due: 0 if the ranks of each user
    are 1, 2, ...), ``user_repeated`` (1 if the user has an earlier, separate list),
    ``item_repeated`` (1 if the user's list has the item already), ``item_known`` (1 if the item
    is in the model's catalogue), ``user_id_length``, ``item_id_length``, ``next_event_median_h``,
    ``interval_is_ordered`` (1 if the median lies within the interval, null without a forecast)
    and ``place_probability_total``.

    Args:
        rows: Rows of the table, ordered by user and rank.
        known_items: Item ids of the model.
        is_reranked: Whether the lists are not ordered by probability alone.

    Returns:
        One row for each row of the table.
    """
    n_rows = len(rows)
    user_codes = pc.dictionary_encode(rows[c.USER_ID].combine_chunks()).indices.to_numpy()
    starts_list = np.ones(n_rows, np.bool_)
    starts_list[1:] = user_codes[1:] != user_codes[:-1]
    list_idx = np.cumsum(starts_list) - 1  # (n_rows,)
    first_rows = np.flatnonzero(starts_list)  # (n_lists,)
    rank = rows[p.RANK].to_numpy().astype(np.int64)
    probability = _numbers(rows[p.PROBABILITY])
    list_total = np.bincount(list_idx, weights=np.nan_to_num(probability))
    is_repeated_list = ~_is_first(user_codes[first_rows])
    pair_keys = user_codes.astype(np.int64) * (n_rows + 1) + _codes(rows[c.ITEM_ID])
    derived = {
        "row": np.arange(n_rows),
        p.RANK: rank,
        p.PROBABILITY: np.where(
            rows[p.PROBABILITY].is_valid().to_numpy() & np.isnan(probability), np.inf, probability
        ),
        "probability_total": list_total[list_idx] - _SUM_TOLERANCE,
        "probability_rise": np.full(n_rows, np.nan)
        if is_reranked
        else np.where(starts_list, -1.0, np.diff(probability, prepend=np.nan)),
        "rank_gap": rank - 1 - (np.arange(n_rows) - first_rows[list_idx]),
        "user_repeated": is_repeated_list[list_idx].astype(np.int64),
        "item_repeated": (~_is_first(pair_keys)).astype(np.int64),
        "interval_is_ordered": _interval_is_ordered(rows),
        p.MEDIAN_H: _numbers(rows[p.MEDIAN_H]),
        "place_probability_total": _place_totals(rows) - _SUM_TOLERANCE,
    }
    return pa.table(
        {name: pa.array(values, from_pandas=True) for name, values in derived.items()}
        | {
            "user_id_length": _lengths(rows[c.USER_ID]),
            "item_id_length": _lengths(rows[c.ITEM_ID]),
            "item_known": pc.is_in(rows[c.ITEM_ID], value_set=known_items).cast(pa.int64()),
        }
    )


def _numbers(column: pa.ChunkedArray) -> Float64:
    """Values of a column, NaN for null, shape (n,)."""
    return np.asarray(column.to_numpy(), np.float64)


def _lengths(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_length(column).cast(pa.int64())


def _codes(column: pa.ChunkedArray) -> Int64:
    codes = pc.dictionary_encode(column.combine_chunks()).indices
    return np.asarray(codes.to_numpy(), np.int64)


def _is_first(keys: Int64) -> npt.NDArray[np.bool_]:
    """Whether each key occurs for the first time, shape (n,)."""
    is_first = np.zeros(len(keys), np.bool_)
    is_first[np.unique(keys, return_index=True)[1]] = True
    return is_first


def _interval_is_ordered(rows: pa.Table) -> Float64:
    """1 if low <= median <= high, 0 if not or if one is missing, NaN if all are missing."""
    low, median, high = (_numbers(rows[name]) for name in (p.LOW_H, p.MEDIAN_H, p.HIGH_H))
    is_ordered = (low <= median) & (median <= high)
    has_none = np.isnan(low) & np.isnan(median) & np.isnan(high)
    return np.where(has_none, np.nan, is_ordered.astype(np.float64))


def _place_totals(rows: pa.Table) -> Float64:
    """Sum of the probabilities of each row's places, shape (n,)."""
    places = rows[p.PLACES].combine_chunks()
    parents = pc.list_parent_indices(places).to_numpy()
    weights = pc.list_flatten(places).field("probability").to_numpy(zero_copy_only=False)
    return np.bincount(parents, weights=weights, minlength=len(rows)).astype(np.float64)
