"""Rate limit of feedback: rows of a user who sends far more than the others are refused.

It keeps a single user from dominating the training data.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.datasets.normalise import REFUSED
from chronotope.feedback.config import FeedbackConfig
from chronotope.ingestion import IngestBatch

FLOOD: Final = "flood"
"""Quarantine reason of rows beyond the rate limit of a user."""

MIN_USERS: Final = 5
"""Minimum number of users to use the median: with fewer, it may be that of the flooding user."""


def quarantine_excess(ingest_batch: IngestBatch, feedback_config: FeedbackConfig) -> IngestBatch:
    """Refuse the rows of each user beyond the rate limit; the first rows are kept.

    The limit is ``rate_limit_rows``, or ``rate_limit_factor`` times the median number of rows of
    a user if that is more. With fewer than ``MIN_USERS`` users the median is taken as 1.

    Args:
        ingest_batch: Events of one batch.
        feedback_config: Rate limits.
    """
    encoded_users = ingest_batch.rows.column(c.USER_ID).combine_chunks().dictionary_encode()
    user_codes = np.asarray(encoded_users.indices.to_numpy(), dtype=np.int64)
    user_counts = np.bincount(user_codes, minlength=1)
    median_count = float(np.median(user_counts)) if len(user_counts) >= MIN_USERS else 1.0
    max_count = max(
        feedback_config.rate_limit_rows, feedback_config.rate_limit_factor * median_count
    )
    is_excess = _occurrence_number(user_codes) >= max_count
    if not is_excess.any():
        return ingest_batch
    excess_rows = ingest_batch.row_positions[is_excess]
    reason_column = pa.array([[FLOOD]] * len(excess_rows), pa.list_(pa.string()))
    excess_table = pa.table([pa.array(excess_rows), reason_column], schema=REFUSED)
    all_refused = pa.concat_tables(
        [ingest_batch.refused, excess_table], promote_options="permissive"
    )
    good_rows = ingest_batch.rows.filter(pa.array(~is_excess))
    return replace(
        ingest_batch,
        rows=good_rows,
        row_positions=ingest_batch.row_positions[~is_excess],
        refused=all_refused,
    )


def _occurrence_number(user_codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of earlier elements with the same code, shape (n,).

    Example:
        >>> _occurrence_number(np.array([5, 7, 5, 5])).tolist()
        [0, 0, 1, 2]
    """
    sort_order = np.argsort(user_codes, kind="stable")
    sorted_codes = user_codes[sort_order]
    is_first = (
        np.r_[True, sorted_codes[1:] != sorted_codes[:-1]]
        if len(user_codes)
        else np.empty(0, np.bool_)
    )
    group_starts = np.maximum.accumulate(np.where(is_first, np.arange(len(user_codes)), 0))
    occurrence = np.empty(len(user_codes), dtype=np.int64)
    occurrence[sort_order] = np.arange(len(user_codes)) - group_starts
    return occurrence
