"""SQL conditions of a Delta merge (source ``s``, target ``t``), and retries after conflicts."""

from collections.abc import Callable, Sequence
from typing import Final

from deltalake.exceptions import CommitFailedError

_ATTEMPTS: Final = 10


def retry_commit(write_table: Callable[[], int]) -> int:
    """Result of a write, repeated up to 10 times if another process commits at the same time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return write_table()
        except CommitFailedError:
            continue
    return write_table()


def equality_condition(key_columns: Sequence[str]) -> str:
    """SQL condition that source and target rows have equal keys."""
    return " AND ".join(f't."{column_name}" = s."{column_name}"' for column_name in key_columns)


def change_condition(column_name: str, is_known: bool) -> str:
    """SQL condition that a column differs; a new column differs if its value is not null."""
    return (
        f'(t."{column_name}" IS DISTINCT FROM s."{column_name}")'
        if is_known
        else f'(s."{column_name}" IS NOT NULL)'
    )
