"""Damaged SQLite files, and SQLite files with user ids that other users can read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import BackupFolder, Damage
from chronotope.contracts.errors import StoreError
from chronotope.runtime.workspace import Workspace

_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class _Database:
    """SQLite database of an installation.

    Attributes:
        path: The file.
        tables: Required tables.
        loss: Description of what is lost if no row can be recovered.
    """

    path: Path
    tables: tuple[str, ...]
    loss: str


def database_damages(root: Path) -> Iterator[Damage]:
    """Damages of the databases.

    Args:
        root: Project root.
    """
    databases = _databases(root)
    if not any(database.path.is_file() for database in databases):
        return
    from chronotope.registry.database_repair import database_problem

    for database in databases:
        problem_text = database_problem(database.path, database.tables)
        if problem_text:
            yield Damage(
                f"database {database.path.name}",
                problem_text,
                "move it aside and copy the readable rows to a new file",
                partial(_recover, database, root),
            )


def permission_damages(root: Path) -> Iterator[Damage]:
    """Databases with user ids that other users can read or write.

    Args:
        root: Project root.
    """
    for path in sorted((root / "data" / "interactions").glob("*/interactions.db*")):
        file_mode = path.stat().st_mode & 0o777
        if file_mode & 0o077:
            yield Damage(
                f"permissions {path.parent.name}/{path.name}",
                f"contains user ids and is accessible to other users ({file_mode:04o})",
                f"set its permissions to {_PRIVATE:04o}",
                partial(_make_private, path),
                needed=False,
            )


def _databases(root: Path) -> list[_Database]:
    mlruns = Workspace(root).mlruns
    log_paths = sorted((root / "data" / "interactions").glob("*/interactions.db"))
    return [
        _Database(
            mlruns / "mlflow.db",
            ("alembic_version", "experiments", "runs"),
            "runs and versions are lost: restore a backup, or train again",
        ),
        _Database(
            mlruns / "promotions.db",
            ("promotions",),
            "the history is lost; champions are restored from MLflow's aliases",
        ),
        _Database(
            mlruns / "optuna.db",
            ("studies", "trials"),
            "finished trials are lost and will be repeated",
        ),
        *(
            _Database(path, ("interactions",), "interactions not yet collected are lost")
            for path in log_paths
        ),
    ]


def _recover(database: _Database, root: Path, backup_folder: BackupFolder) -> str:
    from chronotope.registry.database_repair import carry_over, complete_journal

    holder_pids = _holders(database.path)
    if holder_pids:
        raise StoreError(
            "A damaged database is open in another process",
            received=f"{database.path}, process ids {', '.join(map(str, holder_pids))}",
            way_out="Stop the process, and repair again",
        )
    rows_by_table = carry_over(database.path, database.tables, backup_folder.move)
    if rows_by_table is None:
        outcome_text = (
            f"no rows could be read, so it was moved to {backup_folder.folder}; {database.loss}"
        )
    else:
        n_rows = sum(rows_by_table[name] for name in database.tables)
        outcome_text = f"{n_rows:,} rows of {', '.join(database.tables)} were copied"
    mlruns = Workspace(root).mlruns
    if database.path.name == "promotions.db" and (mlruns / "mlflow.db").is_file():
        restored_models = complete_journal(mlruns)
        if restored_models:
            outcome_text += f"; restored from MLflow's aliases: {', '.join(restored_models)}"
    return outcome_text


def _make_private(path: Path, _: BackupFolder) -> str:
    path.chmod(_PRIVATE)
    return f"its permissions are {_PRIVATE:04o}"


def _holders(path: Path) -> list[int]:
    """Ids of other processes that have a file open; Linux only."""
    file_target, holding_pids = str(path.resolve()), set[int]()
    for fd_link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(fd_link.readlink()) == file_target:
                holding_pids.add(int(fd_link.parts[2]))
        except OSError:  # the process has ended, or belongs to another user
            continue
    return sorted(holding_pids - {os.getpid()})
