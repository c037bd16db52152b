"""Detection and repair of all damage below a project root."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import BackupFolder, Damage
from chronotope.cli.repairs.databases import database_damages, permission_damages
from chronotope.cli.repairs.lake_tables import table_damages
from chronotope.cli.repairs.leftovers import draft_damages, orphan_damages
from chronotope.cli.repairs.run_files import run_damages, snapshot_damages
from chronotope.contracts.errors import ChronotopeError
from chronotope.runtime.workspace import Workspace

_ROUNDS: Final = 5
"""Maximum number of rounds: a repair can reveal further damage, such as missing data files that
only a readable log lists."""


@dataclass(frozen=True, slots=True)
class RepairResult:
    """Result of one repair.

    Attributes:
        name: Damaged object.
        problem: Description of the damage.
        done: What was done, the error of a failed repair, or the planned repair of a dry run.
        ok: Whether the damage is repaired.
    """

    name: str
    problem: str
    done: str
    ok: bool


def damages(root: Path) -> Iterator[Damage]:
    """All damages below a project root; nothing is written.

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


def repair(root: Path, *, dry_run: bool) -> list[RepairResult]:
    """Repair all damages; nothing is deleted, and flows are locked out meanwhile.

    Args:
        root: Project root.
        dry_run: Describe the repairs, but change nothing.

    Raises:
        StoreError: A flow is running.
    """
    if dry_run:
        return [
            RepairResult(damage.name, damage.problem, damage.remedy, ok=False)
            for damage in damages(root)
        ]
    backup_folder = BackupFolder.of_now(root)
    repair_results: list[RepairResult] = []
    with ExitStack() as exit_stack:
        _hold_all(root, exit_stack)
        for _ in range(_ROUNDS):
            tried_keys = {(result.name, result.problem) for result in repair_results}
            untried_damages = [
                damage
                for damage in damages(root)
                if (damage.name, damage.problem) not in tried_keys
            ]
            if not untried_damages:
                break
            repair_results += [_repair_one(damage, backup_folder) for damage in untried_damages]
    return repair_results


def _repair_one(damage: Damage, backup_folder: BackupFolder) -> RepairResult:
    try:
        done, ok = damage.repair(backup_folder), True
    except ChronotopeError as error:
        done, ok = str(error), False
    return RepairResult(damage.name, damage.problem, done, ok)


def _hold_all(root: Path, exit_stack: ExitStack) -> None:
    """Hold the lock of every dataset, so that no flow writes during the repair."""
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
    """Lakes on a local disk; lakes in an object store are not checked."""
    try:
        lake_location = Workspace(root).lakes()
    except ChronotopeError:  # reported by the check of the lake
        return []
    return sorted(lake_location.glob("[!.]*")) if isinstance(lake_location, Path) else []
