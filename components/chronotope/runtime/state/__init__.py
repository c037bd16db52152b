"""State that services and workers share: SQLite and files below the root, or one Postgres.

``CHRONOTOPE_STATE_URL`` chooses. Callers name a store by its file below the root; the file exists
only without the variable, and is the name of a schema, a row or an advisory lock with it.
"""

from chronotope.runtime.state.connections import (
    StateConnection,
    StateCursor,
    open_existing,
    open_state,
    purging_deletes,
    state_exists,
    store_identity,
    write_transaction,
)
from chronotope.runtime.state.documents import (
    delete_document,
    document_exists,
    document_names,
    read_binary_document,
    read_checked_document,
    read_document,
    write_binary_document,
    write_checked_document,
    write_document,
    write_new_document,
)
from chronotope.runtime.state.locks import SharedLock

__all__ = [
    "SharedLock",
    "StateConnection",
    "StateCursor",
    "delete_document",
    "document_exists",
    "document_names",
    "open_existing",
    "open_state",
    "purging_deletes",
    "read_binary_document",
    "read_checked_document",
    "read_document",
    "state_exists",
    "store_identity",
    "write_binary_document",
    "write_checked_document",
    "write_document",
    "write_new_document",
    "write_transaction",
]
