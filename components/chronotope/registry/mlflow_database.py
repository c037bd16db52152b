"""A new MLflow database on the disk: whole or not at all."""

import os
from pathlib import Path
from typing import Final

from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from chronotope.runtime.durable_files import sync_folder
from chronotope.runtime.private_files import close_to_others
from chronotope.runtime.temp_dirs import temporary_folder

_DRAFTS: Final = ".new-database-"
_CONNECT_S: Final = 10
"""Seconds that a server has to answer in."""


def create_database(url: str) -> None:
    """Make the SQLite file of an address, if it is one of a file that is not there.

    MLflow makes tables and then migrates them one step after the other; a file that was left by
    a process killed in between opens never again. So it is made aside and then given its name.

    Args:
        url: Address of MLflow's database; one of a server or of files is left alone.
    """
    path = _file_of(url)
    if path is None or path.exists():
        return
    with temporary_folder(path.parent, _DRAFTS) as folder:
        draft = folder / path.name
        engine = create_sqlalchemy_engine_with_retry(f"sqlite:///{draft}")  # type: ignore[no-untyped-call]
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        engine.dispose()
        close_to_others(draft)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first
        except OSError:  # no links on this disk
            draft.replace(path)
    sync_folder(path.parent)


def require_answer(url: str) -> None:
    """Ask a database server once: MLflow itself goes on asking for minutes.

    Args:
        url: Address of MLflow's database; only one of a server is asked.

    Raises:
        SQLAlchemyError: It does not answer, or refuses.
    """
    if not url.startswith("postgresql"):
        return
    engine = create_engine(url, connect_args={"connect_timeout": _CONNECT_S})
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _file_of(url: str) -> Path | None:
    if not url.startswith("sqlite:"):
        return None
    name = make_url(url).database
    return None if name in (None, "", ":memory:") else Path(str(name))
