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
    kinds = _kinds(root)
    if not any(kind.path.is_file() for kind in kinds):
        return
    from chronotope.registry.database_repair import database_problem

    for kind in kinds:
        problem = database_problem(kind.path, kind.tables)
        if problem:
            yield Damage(
                f"database {kind.path.name}",
                problem,
                "move it aside and carry over what can be read",
                partial(_mend, kind, root),
            )


def permission_damages(root: Path) -> Iterator[Damage]:
    """Databases with user ids that others than their owner may read or write.

    Args:
        root: Project root.
    """
    for path in sorted((root / "data" / "interactions").glob("*/interactions.db*")):
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            yield Damage(
                f"rights {path.parent.name}/{path.name}",
                f"holds user ids and can be read by others ({mode:04o})",
                f"set its rights to {_PRIVATE:04o}",
                partial(_make_private, path),
                needed=False,
            )


def _kinds(root: Path) -> list[_Kind]:
    mlruns = Workspace(root).mlruns
    logs = sorted((root / "data" / "interactions").glob("*/interactions.db"))
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
        *(_Kind(path, ("interactions",), "feedback not yet taken in is lost") for path in logs),
    ]


def _mend(kind: _Kind, root: Path, aside: Aside) -> str:
    from chronotope.registry.database_repair import carry_over, complete_journal

    holders = _holders(kind.path)
    if holders:
        raise StoreError(
            "A damaged database is still open in another process",
            received=f"{kind.path}: {', '.join(map(str, holders))}",
            way_out="Stop it (the number is its process id), and repair again",
        )
    counts = carry_over(kind.path, kind.tables, aside.move)
    if counts is None:
        done = f"nothing could be read, so it was moved to {aside.folder}; {kind.loss}"
    else:
        rows = sum(counts[name] for name in kind.tables)
        done = f"{rows:,} rows of {', '.join(kind.tables)} were carried over"
    mlruns = Workspace(root).mlruns
    if kind.path.name == "promotions.db" and (mlruns / "mlflow.db").is_file():
        completed = complete_journal(mlruns)
        done += f"; from MLflow's aliases: {', '.join(completed)}" if completed else ""
    return done


def _make_private(path: Path, _: Aside) -> str:
    path.chmod(_PRIVATE)
    return f"its rights are {_PRIVATE:04o}"


def _holders(path: Path) -> list[int]:
    """Other processes that have a file open, as far as Linux tells."""
    target, pids = str(path.resolve()), set[int]()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == target:
                pids.add(int(link.parts[2]))
        except OSError:  # gone by now, or not ours
            continue
    return sorted(pids - {os.getpid()})
