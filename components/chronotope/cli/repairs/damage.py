"""One thing that is damaged, and the folder to which whatever is in the way is moved."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Aside:
    """A folder in which nothing is lost; it is made when the first file comes.

    Attributes:
        root: Project root.
        folder: Where things go, under the paths that they had below the root.
    """

    root: Path
    folder: Path

    @classmethod
    def of_now(cls, root: Path) -> "Aside":
        """The folder of a repair that begins now."""
        return cls(root, root / "data" / "repaired" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")

    def move(self, path: Path) -> Path:
        """Move a file or folder here.

        Args:
            path: What is in the way; the same name may come several times.

        Returns:
            Where it is now.

        Raises:
            OSError: The disk refuses.
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
        self.folder.chmod(0o700)  # it may hold user ids
        shutil.move(path, target_path)
        return target_path


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it should be.

    Attributes:
        name: What it is called in tables, such as ``table shop/events``.
        problem: What is wrong.
        remedy: What a repair does about it.
        mend: Does so and says what was done.
        needed: Whether commands fail as long as it is so.
    """

    name: str
    problem: str
    remedy: str
    mend: Callable[[Aside], str]
    needed: bool = True
