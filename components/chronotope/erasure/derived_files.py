"""Files that were made from the rows of users: they are removed and made again when needed."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import StoreError
from chronotope.erasure.certificate import StoreErasure
from chronotope.runtime.workspace import Workspace

_CHUNK_BYTES: Final = 1 << 20
_MIN_SEARCHED_CHARS: Final = 5
"""Shorter ids are words of any text, such as the number of an epoch."""


def remove_derived_files(workspace: Workspace, dataset: str) -> Iterator[StoreErasure]:
    """Remove everything below the root that holds rows of the dataset and can be made again.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.

    Raises:
        StoreError: A file cannot be removed.
    """
    notes = {
        workspace.features(dataset): "Snapshots; the next ingestion builds one",
        workspace.runs(dataset): "Steps of trainings, finished or not; registered models stay",
        workspace.federation(dataset): "Snapshots of a client of federations; made again",
        workspace.scoring(dataset): "Blocks of unfinished batch predictions",
        workspace.backfills(dataset): "Replayed periods",
        workspace.root / "data" / "docs" / dataset: "Validation results; made by each ingestion",
    }
    for folder, note in notes.items():
        yield StoreErasure(
            store=str(folder.relative_to(workspace.root)),
            n_removed=_remove(folder),
            unit="files",
            note=note,
        )


def remove_files_that_name(workspace: Workspace, user_ids: Sequence[str]) -> StoreErasure:
    """Remove logs, reports and repaired files in which an id stands as a whole word.

    Args:
        workspace: Folders of the installation.
        user_ids: Ids of the users.
    """
    data = workspace.root / "data"
    folders = (data / "logs", data / "reports", data / "monitoring", data / "repaired")
    named_files = list(files_that_name(folders, user_ids))
    for path in named_files:
        path.unlink(missing_ok=True)
    return StoreErasure(
        store="data/logs, data/reports, data/monitoring, data/repaired",
        n_removed=len(named_files),
        unit="files",
        note=f"Those that hold an id of {_MIN_SEARCHED_CHARS} characters or more as a word",
    )


def require_unnamed(workspace: Workspace, lake_root: Path | None, user_ids: Sequence[str]) -> int:
    """Number of files of the installation, none of which holds one of the ids.

    Args:
        workspace: Folders of the installation.
        lake_root: Folder of the dataset's lake; None if it is in an object store.
        user_ids: Ids of the users.

    Raises:
        StoreError: A file still holds an id.
    """
    data = workspace.root / "data"
    folders = [folder for folder in (lake_root, data / "interactions", data / "logs") if folder]
    folders += [data / "reports", data / "monitoring", workspace.mlruns]
    named = list(files_that_name(folders, user_ids))
    if named:
        raise StoreError(
            "Files still hold the id of an erased user",
            received=", ".join(str(path) for path in named[:5]),
            way_out="Stop the services of this dataset, remove these files, and run again",
        )
    return sum(1 for _ in _files(folders))


def files_that_name(folders: Iterable[Path], user_ids: Sequence[str]) -> Iterator[Path]:
    """Files that hold one of the ids as a whole word, in UTF-8.

    Args:
        folders: Folders to search, with all folders below them.
        user_ids: Ids; those of fewer than five characters are not looked for.
    """
    searched_ids = [user_id for user_id in user_ids if len(user_id) >= _MIN_SEARCHED_CHARS]
    if not searched_ids:
        return
    alternatives = b"|".join(re.escape(user_id.encode()) for user_id in searched_ids)
    pattern = re.compile(rb"(?<![0-9A-Za-z_-])(?:" + alternatives + rb")(?![0-9A-Za-z_-])")
    overlap = max(len(user_id.encode()) for user_id in searched_ids) + 2
    for path in _files(folders):
        if _holds(path, pattern, overlap):
            yield path


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _holds(path: Path, pattern: re.Pattern[bytes], overlap: int) -> bool:
    """Whether a file holds a match; read in chunks that overlap."""
    try:
        with path.open("rb") as file:
            rest = b""
            while chunk := file.read(_CHUNK_BYTES):
                if pattern.search(rest + chunk):
                    return True
                rest = chunk[-overlap:]
    except FileNotFoundError:  # a draft that its writer has renamed
        return False
    return False


def _remove(folder: Path) -> int:
    """Remove a folder; returns the number of its files."""
    if not folder.exists():
        return 0
    n_files = sum(1 for _ in _files([folder]))
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(
            "Files made from rows of an erased user cannot be removed",
            received=f"{folder}: {error}",
            way_out="Stop what uses them, check their permissions, and run again",
        ) from error
    return n_files
