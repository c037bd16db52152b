"""Validation of batches with Great Expectations suites, and drift of whole deliveries."""

from chronotope.validation.batch_drift import BatchProfile, profile_rows
from chronotope.validation.data_docs import build_docs
from chronotope.validation.suite import check_events, check_table, event_type_shares

__all__ = [
    "BatchProfile",
    "build_docs",
    "check_events",
    "check_table",
    "event_type_shares",
    "profile_rows",
]
