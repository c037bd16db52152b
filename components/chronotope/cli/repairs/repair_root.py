"""Everything below a root looked at, and mended one thing after the other."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import Aside, Damage
from chronotope.cli.repairs.databases import database_damages, permission_damages
from chronotope.cli.repairs.lake_tables import table_damages
from chronotope.cli.repairs.leftovers import draft_damages, orphan_damages
from chronotope.cli.repairs.run_files import run_damages, snapshot_damages
from chronotope.contracts.errors import ChronotopeError
from chronotope.runtime.workspace import Workspace

_ROUNDS: Final = 5
"""What is mended may lay bare what lies behind it: a log that can be read names its files."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """One damage and what became of it.

    Attributes:
        name: What was damaged.
        problem: What was wrong.
        done: What was done, or would be done in a dry run.
        ok: Whether it is mended now.
    """

    name: str
    problem: str
    done: str
    ok: bool


def damages(root: Path) -> Iterator[Damage]:
    """All that is damaged below a root; nothing is written.

    Args:
        root: Project root.
    """
    for lake_dir in _local_lakes(root):
        yield from table_damages(lake_dir)
    yield from database_damages(root)
    yield from snapshot_damages(root)
    yield from run_damages(root)
    yield from draft_damages(root)
    yield from permission_damages(root)
    yield from orphan_damages(root)


def repair(root: Path, *, dry_run: bool) -> list[Repaired]:
    """Mend what is damaged; nothing is deleted, and no flow runs meanwhile.

    Args:
        root: Project root.
        dry_run: Say what would be done, and do nothing.

    Raises:
        StoreError: A flow is running.
    """
    if dry_run:
        return [
            Repaired(other_damage.name, other_damage.problem, other_damage.remedy, ok=False)
            for other_damage in damages(root)
        ]
    moved_aside = Aside.of_now(root)
    repair_results: list[Repaired] = []
    with ExitStack() as exit_stack:
        _hold_all(root, exit_stack)
        for _ in range(_ROUNDS):
            tried_keys = {
                (other_damage.name, other_damage.problem) for other_damage in repair_results
            }
            untried_damages = [
                other_damage
                for other_damage in damages(root)
                if (other_damage.name, other_damage.problem) not in tried_keys
            ]
            if not untried_damages:
                break
            repair_results += [
                _mended(other_damage, moved_aside) for other_damage in untried_damages
            ]
    return repair_results


def _mended(damage: Damage, moved_aside: Aside) -> Repaired:
    try:
        done, ok = damage.mend(moved_aside), True
    except ChronotopeError as error:
        done, ok = str(error), False
    return Repaired(damage.name, damage.problem, done, ok)


def _hold_all(root: Path, exit_stack: ExitStack) -> None:
    """Hold the lock of every dataset, so that no flow writes what is being mended."""
    from chronotope.runtime.dataset_lock import dataset_lock

    data_dirs = [root / "data" / dir_name for dir_name in ("lake", "runs", "features")]
    dataset_names = {
        path.name
        for dataset_dir in data_dirs
        for path in dataset_dir.glob("[!.]*")
        if path.is_dir()
    }
    for name in sorted(dataset_names):
        exit_stack.enter_context(dataset_lock(Workspace(root), name, patience_s=0))


def _local_lakes(root: Path) -> list[Path]:
    """Lakes on a disk; what lies in an object store is that store's to keep whole."""
    try:
        lake_location = Workspace(root).lakes()
    except ChronotopeError:  # the check of the lake tells
        return []
    return sorted(lake_location.glob("[!.]*")) if isinstance(lake_location, Path) else []
