"""Validation of batches with Great Expectations suites, and drift of whole deliveries."""

from chronotope.validation.batch_drift import BatchProfile, profile_rows
from chronotope.validation.data_docs import build_docs
from chronotope.validation.item_context_columns import derive_item_context_columns
from chronotope.validation.shared_check import SharedCheck, write_item_ids
from chronotope.validation.suite import check_events, check_table, event_type_shares
from chronotope.validation.suite_folder import find_suites_folder

__all__ = [
    "BatchProfile",
    "SharedCheck",
    "build_docs",
    "check_events",
    "check_table",
    "derive_item_context_columns",
    "event_type_shares",
    "find_suites_folder",
    "profile_rows",
    "write_item_ids",
]
