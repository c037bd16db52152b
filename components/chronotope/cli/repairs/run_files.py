"""Damaged files of trainings, and feature snapshots that cannot be read."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import Aside, Damage
from chronotope.contracts.errors import ChronotopeError
from chronotope.runtime.durable_files import read_json

_NETWORKS: Final = {".pt", ".ckpt"}


def run_damages(root: Path) -> Iterator[Damage]:
    """Files of trainings that are empty or damaged, one entry a run.

    Args:
        root: Project root.
    """
    for run in sorted((root / "data" / "runs").glob("*/*")):
        damaged = [path for path in sorted(run.rglob("*")) if path.is_file() and _is_damaged(path)]
        if not damaged:
            continue
        steps = all(_is_step(path, run) for path in damaged)
        names = ", ".join(str(path.relative_to(run)) for path in damaged[:3])
        yield Damage(
            f"run {run.parent.name}/{run.name}",
            f"{len(damaged)} files are empty or damaged: {names}",
            "move them aside; their steps are done again"
            if steps
            else "move the run aside; it is done again as a whole",
            partial(_mend, tuple(damaged) if steps else (run,)),
        )


def snapshot_damages(root: Path) -> Iterator[Damage]:
    """Feature snapshots that cannot be read.

    Args:
        root: Project root.
    """
    folders = sorted((root / "data" / "features").glob("*/[!.]*"))
    for folder in filter(Path.is_dir, folders):
        problem = _snapshot_problem(folder)
        if problem:
            yield Damage(
                f"features {folder.parent.name}/{folder.name}",
                problem,
                "move it aside; the next ingestion builds it again",
                partial(_mend, (folder,)),
            )


def _snapshot_problem(folder: Path) -> str:
    from chronotope.features.build import read_ref
    from chronotope.features.snapshot import load_features

    try:
        read_ref(folder)
        load_features(folder)
    except ChronotopeError as error:
        return "" if isinstance(error.__cause__, PermissionError) else error.what
    except PermissionError:  # that says nothing about the snapshot
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {error}"
    return ""


def _is_damaged(path: Path) -> bool:
    try:
        if path.suffix == ".json":
            read_json(path, what="A file of a run", way_out="")
        elif path.suffix in _NETWORKS:
            with zipfile.ZipFile(path) as file:
                return file.testzip() is not None
    except ChronotopeError as error:  # one that this user may not read is not damaged
        return not isinstance(error.__cause__, OSError)
    except (zipfile.BadZipFile, EOFError):
        return True
    except OSError:  # unreadable for this user: no damage
        return False
    return False


def _is_step(path: Path, run: Path) -> bool:
    """Whether a file is the result of a step, or of a part of one, that is then done again."""
    inside = path.relative_to(run).parts
    if inside[0] in {"candidates", "measured"}:
        return path.suffix == ".json"
    return len(inside) == 1 and path.suffix == ".json" and path.stem not in _NO_STEPS


_NO_STEPS: Final = {"frozen_folds", "settings", "ingested"}
"""JSON files that a step writes beside its result: they are not written again alone."""


def _mend(paths: tuple[Path, ...], aside: Aside) -> str:
    for path in paths:
        aside.move(path)
    return f"moved to {aside.folder}"
