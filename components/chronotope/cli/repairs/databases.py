"""Damaged SQLite files, and such that others may read although they hold user ids."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import Aside, Damage
from chronotope.contracts.errors import StoreError
from chronotope.runtime.workspace import Workspace

_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class _Kind:
    """One database of an installation.

    Attributes:
        path: The file.
        tables: Tables without which it is worth nothing.
        loss: What is lost if nothing of it can be carried over.
    """

    path: Path
    tables: tuple[str, ...]
    loss: str


def database_damages(root: Path) -> Iterator[Damage]:
    """Databases that cannot be read.

    Args:
        root: Project root.
    """
    database_kinds = _kinds(root)
    if not any(database_kind.path.is_file() for database_kind in database_kinds):
        return
    from chronotope.registry.database_repair import database_problem

    for database_kind in database_kinds:
        problem_text = database_problem(database_kind.path, database_kind.tables)
        if problem_text:
            yield Damage(
                f"database {database_kind.path.name}",
                problem_text,
                "move it aside and carry over what can be read",
                partial(_mend, database_kind, root),
            )


def permission_damages(root: Path) -> Iterator[Damage]:
    """Databases with user ids that others than their owner may read or write.

    Args:
        root: Project root.
    """
    for path in sorted((root / "data" / "interactions").glob("*/interactions.db*")):
        file_mode = path.stat().st_mode & 0o777
        if file_mode & 0o077:
            yield Damage(
                f"rights {path.parent.name}/{path.name}",
                f"holds user ids and can be read by others ({file_mode:04o})",
                f"set its rights to {_PRIVATE:04o}",
                partial(_make_private, path),
                needed=False,
            )


def _kinds(root: Path) -> list[_Kind]:
    mlruns = Workspace(root).mlruns
    log_paths = sorted((root / "data" / "interactions").glob("*/interactions.db"))
    return [
        _Kind(
            mlruns / "mlflow.db",
            ("alembic_version", "experiments", "runs"),
            "runs and versions are lost: restore a backup, or train again",
        ),
        _Kind(
            mlruns / "promotions.db",
            ("promotions",),
            "the history is lost; champions are those of MLflow's aliases",
        ),
        _Kind(
            mlruns / "optuna.db",
            ("studies", "trials"),
            "finished trials are lost: they are repeated",
        ),
        *(
            _Kind(path, ("interactions",), "feedback not yet taken in is lost")
            for path in log_paths
        ),
    ]


def _mend(database_kind: _Kind, root: Path, moved_aside: Aside) -> str:
    from chronotope.registry.database_repair import carry_over, complete_journal

    holder_pids = _holders(database_kind.path)
    if holder_pids:
        raise StoreError(
            "A damaged database is still open in another process",
            received=f"{database_kind.path}: {', '.join(map(str, holder_pids))}",
            way_out="Stop it (the number is its process id), and repair again",
        )
    rows_by_table = carry_over(database_kind.path, database_kind.tables, moved_aside.move)
    if rows_by_table is None:
        outcome_text = (
            f"nothing could be read, so it was moved to {moved_aside.folder}; {database_kind.loss}"
        )
    else:
        n_rows = sum(rows_by_table[name] for name in database_kind.tables)
        outcome_text = f"{n_rows:,} rows of {', '.join(database_kind.tables)} were carried over"
    mlruns = Workspace(root).mlruns
    if database_kind.path.name == "promotions.db" and (mlruns / "mlflow.db").is_file():
        n_completed = complete_journal(mlruns)
        outcome_text += f"; from MLflow's aliases: {', '.join(n_completed)}" if n_completed else ""
    return outcome_text


def _make_private(path: Path, _: Aside) -> str:
    path.chmod(_PRIVATE)
    return f"its rights are {_PRIVATE:04o}"


def _holders(path: Path) -> list[int]:
    """Other processes that have a file open, as far as Linux tells."""
    file_target, holding_pids = str(path.resolve()), set[int]()
    for fd_link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(fd_link.readlink()) == file_target:
                holding_pids.add(int(fd_link.parts[2]))
        except OSError:  # gone by now, or not ours
            continue
    return sorted(holding_pids - {os.getpid()})
