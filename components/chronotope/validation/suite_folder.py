"""Location of the expectation suites."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError

EVENTS_SUITE: Final = "events.json"
"""File of the suite of events."""


def find_suites_folder(
    suites: Path, parent_dirs: Sequence[Path], *, suite_file: str = EVENTS_SUITE
) -> Path:
    """First folder that holds the suites.

    Args:
        suites: Folder of the suites; if it is relative, it is looked for below ``parent_dirs``.
        parent_dirs: Folders to search, in this order.
        suite_file: Suite that the folder has to hold.

    Raises:
        ConfigError: No folder has the suite; the message names those searched.
    """
    candidate_dirs = list(dict.fromkeys((parent / suites).absolute() for parent in parent_dirs))
    for candidate_dir in candidate_dirs:
        if (candidate_dir / suite_file).is_file():
            return candidate_dir
    raise ConfigError(
        "The expectation suites cannot be found",
        received=f"no {suite_file} in {', '.join(map(str, candidate_dirs))}",
        way_out="Copy the folder expectations of the project to one of these places, or set "
        "suites to the folder that holds it",
    )
