"""Location of the expectation suites."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError

_EVENTS_SUITE: Final = "events.json"


def find_suites_folder(suites: Path, parent_dirs: Sequence[Path]) -> Path:
    """First folder that holds the suites.

    Args:
        suites: Folder of the suites; if it is relative, it is looked for below ``parent_dirs``.
        parent_dirs: Folders to search, in this order.

    Raises:
        ConfigError: No folder has a suite of events; the message names those searched.
    """
    candidate_dirs = list(dict.fromkeys((parent / suites).absolute() for parent in parent_dirs))
    for candidate_dir in candidate_dirs:
        if (candidate_dir / _EVENTS_SUITE).is_file():
            return candidate_dir
    raise ConfigError(
        "The expectation suites cannot be found",
        received=f"no {_EVENTS_SUITE} in {', '.join(map(str, candidate_dirs))}",
        way_out="Copy the folder expectations of the project to one of these places, or set "
        "suites to the folder that holds it",
    )
