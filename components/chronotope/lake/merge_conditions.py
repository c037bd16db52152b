"""Conditions of a Delta merge (source ``s``, target ``t``), and its retry after another commit."""

from collections.abc import Callable, Sequence
from typing import Final

from deltalake.exceptions import CommitFailedError

_ATTEMPTS: Final = 10


def retry_commit(write_table: Callable[[], int]) -> int:
    """Write again on top of what another process committed meanwhile, a few times."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return write_table()
        except CommitFailedError:
            continue
    return write_table()


def equality_condition(key_columns: Sequence[str]) -> str:
    """SQL condition that source and target have the same key."""
    return " AND ".join(f't."{column_name}" = s."{column_name}"' for column_name in key_columns)


def change_condition(column_name: str, is_known: bool) -> str:
    """SQL condition that a column differs; a new column differs where it has a value."""
    return (
        f'(t."{column_name}" IS DISTINCT FROM s."{column_name}")'
        if is_known
        else f'(s."{column_name}" IS NOT NULL)'
    )
