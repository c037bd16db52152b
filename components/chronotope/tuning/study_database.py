"""Database of Optuna studies."""

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import StoreError
from chronotope.runtime.store_urls import OPTUNA_URL, mask_password, redact_password


@contextmanager
def open_study_database(url: str) -> Iterator[RDBStorage]:
    """Open a database of studies, creating its tables when new; closed after the block.

    Args:
        url: SQLAlchemy address.

    Raises:
        StoreError: It cannot be opened.
    """
    try:
        storage = RDBStorage(url)
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise StoreError(
            "The database of studies cannot be opened",
            received=f"{mask_password(url)}: {redact_password(str(error), url)}",
            way_out=f"Check that it runs and takes this user; {OPTUNA_URL} names it",
        ) from None  # the original error contains the password
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
