"""One account that sends far more than the others must not teach the model its wishes."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.datasets.normalise import REFUSED
from chronotope.feedback.config import FeedbackConfig
from chronotope.ingestion import IngestBatch

FLOOD: Final = "flood"
"""Reason of rows beyond an account's share."""

MIN_ACCOUNTS: Final = 5
"""With fewer accounts the median may be the flood's own."""


def quarantine_excess(batch: IngestBatch, config: FeedbackConfig) -> IngestBatch:
    """Refuse what an account sent beyond its share; its first rows and all others stay.

    An account may send ``flood_rows``, or ``flood_factor`` times the median account's rows
    if that is more. With fewer than five accounts there is no median to trust.

    Args:
        batch: A whole delivery.
        config: The share.
    """
    users = batch.rows.column(c.USER_ID).combine_chunks().dictionary_encode()
    codes = np.asarray(users.indices.to_numpy(), dtype=np.int64)
    counts = np.bincount(codes, minlength=1)
    typical = float(np.median(counts)) if len(counts) >= MIN_ACCOUNTS else 1.0
    flood = _nth(codes) >= max(config.flood_rows, config.flood_factor * typical)
    if not flood.any():
        return batch
    keep, at = pa.array(~flood), batch.kept[flood]
    reasons = pa.array([[FLOOD]] * len(at), pa.list_(pa.string()))
    more = pa.table([pa.array(at), reasons], schema=REFUSED)
    refused = pa.concat_tables([batch.refused, more], promote_options="permissive")
    return IngestBatch(batch.raw, batch.rows.filter(keep), batch.kept[~flood], refused)


def _nth(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many earlier elements are equal, shape (n,).

    Example:
        >>> _nth(np.array([5, 7, 5, 5])).tolist()
        [0, 0, 1, 2]
    """
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    is_new = np.r_[True, ordered[1:] != ordered[:-1]] if len(codes) else np.empty(0, np.bool_)
    starts = np.maximum.accumulate(np.where(is_new, np.arange(len(codes)), 0))
    nth = np.empty(len(codes), dtype=np.int64)
    nth[order] = np.arange(len(codes)) - starts
    return nth
