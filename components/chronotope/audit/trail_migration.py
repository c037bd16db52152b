"""Migration of the audit trail of a root into the shared one.

The shared chain adopts the lines: one entry signs their digest, so the trails of several roots
end in one chain, and a changed byte of an old line is found without the secrets of its root.
"""

from pathlib import Path
from typing import Final

from chronotope.audit.audit_trail import append_entry, verify_lines
from chronotope.audit.database_trail import DatabaseTrail, lines_digest
from chronotope.audit.file_trail import MIGRATED, TRAIL, FileTrail
from chronotope.audit.trail_entry import ADOPTION, parse_entry
from chronotope.contracts.errors import StoreError
from chronotope.runtime.state.migration import MigratedStore
from chronotope.runtime.workspace import Workspace

_NAME: Final = f"mlruns/audit/{TRAIL}"
_NAME_CHARS: Final = 16


def plan_trail_migration(root: Path) -> list[MigratedStore]:
    """What ``migrate_trail`` would do; empty without a trail. Changes nothing.

    Args:
        root: Project root.
    """
    folder = Workspace(root).audit()
    if (folder / TRAIL).is_file():
        return [MigratedStore(_NAME, len(FileTrail(folder).snapshot().lines), is_migrated=False)]
    migrated_path = folder / (TRAIL + MIGRATED)
    if migrated_path.is_file():
        return [MigratedStore(_NAME, migrated_path.read_bytes().count(b"\n"), is_migrated=True)]
    return []


def migrate_trail(root: Path) -> list[MigratedStore]:
    """Let the shared trail adopt that of a root, then close its file for writes.

    A repetition after a kill adopts what is new alone. No file is deleted.

    Args:
        root: Project root.

    Raises:
        StoreError: The trail of the root or the shared one was changed, or the database cannot
            be used.
    """
    folder = Workspace(root).audit()
    if not (folder / TRAIL).is_file():
        return plan_trail_migration(root)
    file_trail, shared_trail = FileTrail(folder), DatabaseTrail(folder)
    with file_trail.writing():
        _require_whole(file_trail)
        all_lines = file_trail.snapshot().lines
        if all_lines:
            with shared_trail.writing():
                _require_whole(shared_trail)
                _adopt_lines(shared_trail, all_lines)
        file_trail.close_migrated()  # behind the commit
    return [MigratedStore(_NAME, len(all_lines), is_migrated=True)]


def _adopt_lines(shared_trail: DatabaseTrail, all_lines: list[bytes]) -> None:
    """Store the lines that are new and sign their digest."""
    trail_name = lines_digest(all_lines[:1])[:_NAME_CHARS]  # its first signature is unique
    n_known = len(shared_trail.snapshot().adopted.get(trail_name, []))
    new_lines = all_lines[n_known:]
    if not new_lines:
        return
    shared_trail.add_adopted_lines(trail_name, n_known + 1, new_lines)
    detail = {
        "trail": trail_name,
        "first": n_known + 1,
        "last": len(all_lines),
        "sha256": lines_digest(new_lines),
        "head": parse_entry(new_lines[-1]).mac,
    }
    append_entry(shared_trail, ADOPTION, "", detail)


def _require_whole(trail_lines: FileTrail | DatabaseTrail) -> None:
    check = verify_lines(trail_lines)
    if check.problem:
        raise StoreError(
            "The audit trail was changed",
            received=f"{trail_lines.location()}: {check.problem}",
            way_out="Find out what happened before it is migrated",
        )
