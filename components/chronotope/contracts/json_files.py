"""JSON files that the project itself wrote: whole, or named as damaged."""

import json
from pathlib import Path
from typing import Any

from chronotope.contracts.errors import StoreError


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Args:
        path: A file that a step wrote.

    Raises:
        StoreError: It is empty, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: object) -> StoreError:
    """The error of a file that holds something else than what was written there.

    Args:
        path: The file.
        error: What is wrong with it.
    """
    return StoreError(
        "A file of an earlier step is empty or damaged",
        received=f"{path}: {error}",
        way_out="`chronotope doctor --repair` moves it aside, and the step is done again",
    )
