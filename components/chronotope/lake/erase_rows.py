"""Erasure of rows from a Delta table, with the files and log entries of all earlier versions.

A deletion alone leaves the rows in the files of earlier versions, and texts of them in the log: the
smallest and largest value of each column of each file, and the condition of the deletion itself.
"""

import time
from collections.abc import Sequence
from typing import Final

from deltalake import DeltaTable

from chronotope.lake.merge_conditions import retry_commit
from chronotope.lake.staged_batch import NO_CLEANUP
from chronotope.lake.store import Lake
from chronotope.lake.store_errors import translate_store_errors

_LOG_RETENTION: Final = "delta.logRetentionDuration"
_FILE_RETENTION: Final = "delta.deletedFileRetentionDuration"
_CLEANUP: Final = "delta.enableExpiredLogCleanup"
_FORGETTING: Final = {
    _LOG_RETENTION: "interval 0 days",
    _FILE_RETENTION: "interval 0 days",
    _CLEANUP: "true",
}
_KEEPING: Final = {
    _LOG_RETENTION: "interval 36500 days",
    _FILE_RETENTION: "interval 7 days",
    _CLEANUP: "false",
}
"""Trainings refer to versions of a table, so its log is kept for good otherwise."""

_CLOCK_S: Final = 0.02
"""Log entries are compared with the clock in whole seconds."""


def erase_rows(lake: Lake, table_name: str, column: str, texts: Sequence[str]) -> int:
    """Delete the rows with one of some texts in a column; returns their number.

    Earlier versions of the table cannot be read afterwards, whether it had such rows or not: an
    earlier version may have some that the latest one has not.

    Args:
        lake: Lake of the dataset.
        table_name: Table to erase from; one that does not exist has no rows.
        column: Column of texts.
        texts: Texts whose rows are erased.

    Raises:
        StoreError: The lake cannot be written.
    """
    if not lake.exists(table_name):
        return 0
    with translate_store_errors(table_name):

        def delete() -> int:
            delta_table = DeltaTable(lake.address(table_name))
            metrics = delta_table.delete(
                text_condition(column, texts), post_commithook_properties=NO_CLEANUP
            )
            return int(metrics["num_deleted_rows"] or 0)

        n_deleted = retry_commit(delete) if texts else 0
        _forget_versions(lake.address(table_name))
    return n_deleted


def text_condition(column: str, texts: Sequence[str]) -> str:
    """SQL condition that a column holds one of some texts.

    Args:
        column: Column of texts.
        texts: The texts.

    Example:
        >>> text_condition("user_id", ["ann", "o'hara"])
        "user_id IN ('ann', 'o''hara')"
    """
    quoted_texts = ", ".join("'{}'".format(text.replace("'", "''")) for text in texts)
    return f"{column} IN ({quoted_texts})"


def _forget_versions(address: str) -> None:
    """Remove the files and the log entries of all versions but the latest."""
    DeltaTable(address).vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True
    )
    delta_table = DeltaTable(address)
    delta_table.alter.set_table_properties(_FORGETTING)
    time.sleep(_CLOCK_S)
    delta_table = DeltaTable(address)
    delta_table.create_checkpoint()
    delta_table.cleanup_metadata()
    delta_table.alter.set_table_properties(_KEEPING)
