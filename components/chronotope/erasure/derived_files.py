"""Files that were made from the rows of users: they are removed and made again when needed."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import StoreError
from chronotope.erasure.certificate import StoreErasure
from chronotope.lake import Lake
from chronotope.lake.staged_batch import remove_left_staging
from chronotope.lake.stored_objects import SCORING_PREFIX, StoredFolder, stored_objects
from chronotope.runtime.durable_files import replacing
from chronotope.runtime.state import delete_document, document_names, read_document
from chronotope.runtime.store_urls import state_url
from chronotope.runtime.workspace import Workspace

_CHUNK_BYTES: Final = 1 << 20
_DELIVERIES: Final = ("inbox", "feedback")
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
    for folder, note in derived_folders(workspace, dataset).items():
        yield StoreErasure(
            store=str(folder.relative_to(workspace.root)),
            n_removed=_remove(folder),
            unit="files",
            note=note,
        )
    lake_root = workspace.lake(dataset)
    yield StoreErasure(
        store="staged deliveries",
        n_removed=remove_left_staging(lake_root, workspace.staging()),
        unit="folders",
        note="Rows of killed ingestions, which the next one reads again",
    )
    if not isinstance(lake_root, Path):
        scoring_folder = StoredFolder(f"{lake_root}/{SCORING_PREFIX}")
        n_objects = len(scoring_folder.object_names())
        scoring_folder.clear_objects()
        yield StoreErasure(
            store=f"{SCORING_PREFIX} beside the tables",
            n_removed=n_objects,
            unit="files",
            note="Blocks of killed batch predictions on their way from workers",
        )


def derived_folders(workspace: Workspace, dataset: str) -> dict[Path, str]:
    """Folders of files that hold rows of a dataset, with what they are.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.
    """
    return {
        workspace.features(dataset): "Snapshots; the next ingestion builds one",
        workspace.runs(dataset): "Steps of trainings, finished or not; registered models stay",
        workspace.federation(dataset): "Snapshots of a client of federations; made again",
        workspace.scoring(dataset): "Blocks of unfinished batch predictions",
        workspace.backfills(dataset): "Replayed periods",
        workspace.root / "data" / "docs" / dataset: "Validation results; made by each ingestion",
    }


def remove_files_before(workspace: Workspace, before: datetime, *, dry_run: bool) -> StoreErasure:
    """Remove logs, reports and repaired files that were last written before a time.

    Args:
        workspace: Folders of the installation.
        before: The time.
        dry_run: Count only.
    """
    old_files = [
        file_path
        for file_path in _files(_text_folders(workspace))
        if file_path.stat().st_mtime < before.timestamp()
    ]
    return _remove_texts(() if dry_run else old_files, "", n_files=len(old_files))


def remove_files_that_name(workspace: Workspace, user_ids: Sequence[str]) -> StoreErasure:
    """Remove logs, reports and repaired files in which an id stands as a whole word.

    Args:
        workspace: Folders of the installation.
        user_ids: Ids of the users.
    """
    named_files = list(files_that_name(_text_folders(workspace), user_ids))
    note = f"Those that hold an id of {_MIN_SEARCHED_CHARS} characters or more as a word"
    return _remove_texts(named_files, note)


def remove_files_with_pseudonyms(workspace: Workspace, fingerprint: str) -> StoreErasure:
    """Remove logs, reports and repaired files that hold a pseudonym by one key.

    Args:
        workspace: Folders of the installation.
        fingerprint: Of the key.
    """
    prefix = f"pn-{fingerprint}-".encode()
    id_pattern = re.compile(re.escape(prefix))
    holding_files = [
        file_path
        for file_path in _files(_text_folders(workspace))
        if _holds(file_path, id_pattern, overlap_bytes=len(prefix))
    ]
    return _remove_texts(holding_files, "Those that hold a pseudonym by the earlier key")


def _text_folders(workspace: Workspace) -> tuple[Path, ...]:
    data = workspace.root / "data"
    return (data / "logs", data / "reports", data / "monitoring", data / "repaired")


def _remove_texts(
    named_files: Sequence[Path], note: str, n_files: int | None = None
) -> StoreErasure:
    for file_path in named_files:
        file_path.unlink(missing_ok=True)
    return StoreErasure(
        store="data/logs, data/reports, data/monitoring, data/repaired",
        n_removed=len(named_files) if n_files is None else n_files,
        unit="files",
        note=note,
    )


def remove_pending_deliveries(
    workspace: Workspace, dataset: str, user_ids: Sequence[str]
) -> Iterator[StoreErasure]:
    """Remove what was delivered and is not in the lake yet, or was not removed since.

    Lines of the inbox that hold an id are cut out; the other lines of such a file are read again,
    which adds nothing. A pending delivery of a SQL feed is removed and read again.

    Args:
        workspace: Folders of the installation.
        dataset: Name of the dataset.
        user_ids: Ids of the users.
    """
    id_pattern = _pattern(user_ids)
    inbox_dir, feedback_dir = (workspace.root / "data" / name / dataset for name in _DELIVERIES)
    n_lines = 0
    for file_path in files_that_name([inbox_dir], user_ids):
        lines = file_path.read_bytes().split(b"\n")
        other_lines = [line for line in lines if id_pattern is None or not id_pattern.search(line)]
        with replacing(file_path) as draft_path:
            draft_path.write_bytes(b"\n".join(other_lines))
        n_lines += len(lines) - len(other_lines)
    note = f"Those that hold an id of {_MIN_SEARCHED_CHARS} characters or more as a word"
    yield StoreErasure(store=f"data/inbox/{dataset}", n_removed=n_lines, unit="lines", note=note)
    pending_files = list(files_that_name([feedback_dir], user_ids))
    if state_url():
        pending_files += _pending_documents(feedback_dir, id_pattern)
    for file_path in pending_files:
        delete_document(file_path)
        file_path.unlink(missing_ok=True)
    yield StoreErasure(
        store=f"data/feedback/{dataset}", n_removed=len(pending_files), unit="files", note=note
    )


def _pending_documents(feedback_dir: Path, id_pattern: re.Pattern[bytes] | None) -> list[Path]:
    """Documents of the feedback in the state database that hold an id."""
    document_paths = [feedback_dir / name for name in document_names(feedback_dir, ".json")]
    return [
        file_path
        for file_path in document_paths
        if id_pattern is not None and id_pattern.search((read_document(file_path) or "").encode())
    ]


def require_unnamed(workspace: Workspace, lake: Lake, user_ids: Sequence[str]) -> int:
    """Number of files and objects of the installation, none of which holds one of the ids.

    Args:
        workspace: Folders of the installation.
        lake: The dataset's lake, in a folder or an object store.
        user_ids: Ids of the users.

    Raises:
        StoreError: A file or an object still holds an id, or one cannot be read.
    """
    data = workspace.root / "data"
    searched_folders = [lake.root] if isinstance(lake.root, Path) else []
    names = ("interactions", "inbox", "feedback", "logs", "reports", "monitoring", "scoring")
    searched_folders += [*(data / name for name in names), workspace.mlruns]
    named = [str(file_path) for file_path in files_that_name(searched_folders, user_ids)]
    n_objects = 0
    if not isinstance(lake.root, Path):
        id_pattern = _pattern(user_ids)
        for stored_object in stored_objects(lake):
            n_objects += 1
            if id_pattern is not None and id_pattern.search(stored_object.content):
                named.append(stored_object.address)
    if named:
        raise StoreError(
            "Files still hold the id of an erased user",
            received=", ".join(named[:5]),
            way_out="Stop the services of this dataset, remove these files, and run again",
        )
    return n_objects + sum(1 for _ in _files(searched_folders))


def files_that_name(searched_folders: Iterable[Path], user_ids: Sequence[str]) -> Iterator[Path]:
    """Files that hold one of the ids as a whole word, in UTF-8.

    Args:
        searched_folders: Folders to search, with all folders below them.
        user_ids: Ids; those of fewer than five characters are not looked for.
    """
    id_pattern = _pattern(user_ids)
    if id_pattern is None:
        return
    overlap_bytes = max(len(user_id.encode()) for user_id in user_ids) + 2
    for file_path in _files(searched_folders):
        if _holds(file_path, id_pattern, overlap_bytes):
            yield file_path


def _pattern(user_ids: Sequence[str]) -> re.Pattern[bytes] | None:
    """Pattern of the ids as whole words; None if all are too short to be searched."""
    searched_ids = [user_id for user_id in user_ids if len(user_id) >= _MIN_SEARCHED_CHARS]
    if not searched_ids:
        return None
    alternatives = b"|".join(re.escape(user_id.encode()) for user_id in searched_ids)
    return re.compile(rb"(?<![0-9A-Za-z_-])(?:" + alternatives + rb")(?![0-9A-Za-z_-])")


def _files(searched_folders: Iterable[Path]) -> Iterator[Path]:
    for folder in searched_folders:
        yield from (file_path for file_path in sorted(folder.rglob("*")) if file_path.is_file())


def _holds(file_path: Path, id_pattern: re.Pattern[bytes], overlap_bytes: int) -> bool:
    """Whether a file holds a match; read in chunks that overlap."""
    try:
        with file_path.open("rb") as file:
            rest = b""
            while chunk := file.read(_CHUNK_BYTES):
                if id_pattern.search(rest + chunk):
                    return True
                rest = chunk[-overlap_bytes:]
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
