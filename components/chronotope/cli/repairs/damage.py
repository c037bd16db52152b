"""Description of a damage, and the folder to which repairs move damaged files."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """Folder to which a repair moves files; created with the first file.

    Attributes:
        root: Project root.
        folder: The folder; files keep their path relative to the root.
    """

    root: Path
    folder: Path

    @classmethod
    def of_now(cls, root: Path) -> "BackupFolder":
        """Folder of a repair that starts now, named by the present time."""
        return cls(root, root / "data" / "repaired" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")

    def move(self, path: Path) -> Path:
        """Move a file or folder into the backup folder.

        Args:
            path: File or folder; a number is appended if its name exists there already.

        Returns:
            New path.

        Raises:
            OSError: The file cannot be moved.
        """
        absolute_path, root = path.absolute(), self.root.absolute()
        relative_path = (
            absolute_path.relative_to(root)
            if absolute_path.is_relative_to(root)
            else Path(path.name)
        )
        target_path = self.folder / relative_path
        suffix_number = 1
        while target_path.exists():
            target_path, suffix_number = (
                self.folder / f"{relative_path}.{suffix_number}",
                suffix_number + 1,
            )
        target_path.parent.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # it may contain user ids
        shutil.move(path, target_path)
        return target_path


@dataclass(frozen=True, slots=True)
class Damage:
    """One damage and its repair.

    Attributes:
        name: Damaged object, such as ``table shop/events``.
        problem: Description of the damage.
        remedy: Description of the repair.
        repair: Performs the repair; returns a description of what was done.
        needed: Whether commands fail until the damage is repaired.
    """

    name: str
    problem: str
    remedy: str
    repair: Callable[[BackupFolder], str]
    needed: bool = True
