"""Rate guard: refuses rows of a user who sends far more than the others.

A single user must not dominate the training data of a batch.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.datasets.normalise import REFUSED
from chronotope.feedback.config import FeedbackConfig
from chronotope.ingestion import IngestBatch

FLOOD: Final = "flood"
"""Quarantine reason of rows beyond a user's share."""

MIN_USERS: Final = 5
"""With fewer users the median may be that of the flooding user."""


def quarantine_excess(batch: IngestBatch, config: FeedbackConfig) -> IngestBatch:
    """Refuse the rows that a user sent beyond the share; the first ones and all others stay.

    A user may send ``rate_limit_rows``, or ``rate_limit_factor`` times the median user's
    rows if that is more. With fewer than five users the median counts as one.

    Args:
        batch: Events of one batch.
        config: Rate limits.
    """
    encoded_users = batch.rows.column(c.USER_ID).combine_chunks().dictionary_encode()
    user_codes = np.asarray(encoded_users.indices.to_numpy(), dtype=np.int64)
    user_counts = np.bincount(user_codes, minlength=1)
    median_count = float(np.median(user_counts)) if len(user_counts) >= MIN_USERS else 1.0
    max_count = max(config.rate_limit_rows, config.rate_limit_factor * median_count)
    is_excess = _occurrence_number(user_codes) >= max_count
    if not is_excess.any():
        return batch
    excess_rows = batch.row_positions[is_excess]
    reasons = pa.array([[FLOOD]] * len(excess_rows), pa.list_(pa.string()))
    excess_table = pa.table([pa.array(excess_rows), reasons], schema=REFUSED)
    refused = pa.concat_tables([batch.refused, excess_table], promote_options="permissive")
    good_rows = batch.rows.filter(pa.array(~is_excess))
    return IngestBatch(batch.raw, good_rows, batch.row_positions[~is_excess], refused)


def _occurrence_number(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of earlier elements with the same code, shape (n,).

    Example:
        >>> _occurrence_number(np.array([5, 7, 5, 5])).tolist()
        [0, 0, 1, 2]
    """
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    is_first = (
        np.r_[True, sorted_codes[1:] != sorted_codes[:-1]] if len(codes) else np.empty(0, np.bool_)
    )
    group_starts = np.maximum.accumulate(np.where(is_first, np.arange(len(codes)), 0))
    occurrence = np.empty(len(codes), dtype=np.int64)
    occurrence[order] = np.arange(len(codes)) - group_starts
    return occurrence
