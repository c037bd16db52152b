"""Damaged files of training runs, and damaged feature snapshots."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import BackupFolder, Damage
from chronotope.contracts.errors import ChronotopeError
from chronotope.runtime.durable_files import read_json

_NETWORKS: Final = {".pt", ".ckpt"}


def run_damages(root: Path) -> Iterator[Damage]:
    """Empty or damaged files of training runs, one damage per run.

    Args:
        root: Project root.
    """
    for run_dir in sorted((root / "data" / "runs").glob("*/*")):
        damaged_paths = [
            file_path
            for file_path in sorted(run_dir.rglob("*"))
            if file_path.is_file() and _is_damaged(file_path)
        ]
        if not damaged_paths:
            continue
        are_step_files = all(_is_step(file_path, run_dir) for file_path in damaged_paths)
        file_names = ", ".join(
            str(file_path.relative_to(run_dir)) for file_path in damaged_paths[:3]
        )
        yield Damage(
            f"run {run_dir.parent.name}/{run_dir.name}",
            f"{len(damaged_paths)} files are empty or damaged: {file_names}",
            "move them aside; their steps run again"
            if are_step_files
            else "move the whole run aside; all its steps run again",
            partial(_move_aside, tuple(damaged_paths) if are_step_files else (run_dir,)),
        )


def snapshot_damages(root: Path) -> Iterator[Damage]:
    """Feature snapshots that cannot be read.

    Args:
        root: Project root.
    """
    snapshot_dirs = sorted((root / "data" / "features").glob("*/[!.]*"))
    for snapshot_dir in filter(Path.is_dir, snapshot_dirs):
        problem_text = _snapshot_problem(snapshot_dir)
        if problem_text:
            yield Damage(
                f"features {snapshot_dir.parent.name}/{snapshot_dir.name}",
                problem_text,
                "move it aside; the next ingestion rebuilds it",
                partial(_move_aside, (snapshot_dir,)),
            )


def _snapshot_problem(snapshot_dir: Path) -> str:
    from chronotope.features.build import read_ref
    from chronotope.features.snapshot import load_features

    try:
        read_ref(snapshot_dir)
        load_features(snapshot_dir, shares_columns=False)
    except ChronotopeError as error:
        return "" if isinstance(error.__cause__, PermissionError) else error.problem
    except PermissionError:  # missing permission is not damage
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {error}"
    return ""


def _is_damaged(file_path: Path) -> bool:
    try:
        if file_path.suffix == ".json":
            read_json(file_path, subject="A file of a run", way_out="")
        elif file_path.suffix in _NETWORKS:
            with zipfile.ZipFile(file_path) as zip_file:
                return zip_file.testzip() is not None
    except ChronotopeError as error:  # a file without read permission is not damaged
        return not isinstance(error.__cause__, OSError)
    except (zipfile.BadZipFile, EOFError):
        return True
    except OSError:  # a file without read permission is not damaged
        return False
    return False


def _is_step(file_path: Path, run_dir: Path) -> bool:
    """Whether a file is the result of a step or of a part of it, which runs again without it."""
    relative_parts = file_path.relative_to(run_dir).parts
    if relative_parts[0] in {"candidates", "measured"}:
        return file_path.suffix == ".json"
    return (
        len(relative_parts) == 1 and file_path.suffix == ".json" and file_path.stem not in _NO_STEPS
    )


_NO_STEPS: Final = {"frozen_folds", "settings", "ingested", "item_context"}
"""JSON files that a step writes in addition to its result; they cannot be recreated alone."""


def _move_aside(damaged_paths: tuple[Path, ...], backup_folder: BackupFolder) -> str:
    for file_path in damaged_paths:
        backup_folder.move(file_path)
    return f"moved to {backup_folder.folder}"
