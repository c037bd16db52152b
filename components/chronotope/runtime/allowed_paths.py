"""Restriction of flow parameters that are paths to the operator's allowed root folders.

The parameter form of a flow in the Prefect UI takes paths on the worker's machine. If the
environment variable ``CHRONOTOPE_ALLOWED_ROOTS`` is set (folders, separated as in ``PATH``), a
path outside them is refused before anything is read or written; symbolic links are resolved
first. If it is not set, every path is allowed.
"""

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from chronotope.contracts.errors import ConfigError

ALLOWED_ROOTS: Final = "CHRONOTOPE_ALLOWED_ROOTS"


def require_allowed_path(requested_path: Path) -> Path:
    """The path, checked to lie below an allowed root.

    Raises:
        ConfigError: The path lies outside every allowed root.
    """
    root_texts = os.environ.get(ALLOWED_ROOTS, "").split(os.pathsep)
    allowed_roots = [Path(root_text).resolve() for root_text in root_texts if root_text]
    if allowed_roots and not any(
        requested_path.resolve().is_relative_to(allowed_root) for allowed_root in allowed_roots
    ):
        raise ConfigError(
            "A path lies outside the folders that flows may use",
            received=requested_path,
            way_out=f"Choose a path below {', '.join(map(str, allowed_roots))}, or ask the "
            f"operator to add its folder to {ALLOWED_ROOTS}",
        )
    return requested_path


AllowedPath = Annotated[Path, AfterValidator(require_allowed_path)]
"""Path parameter of a flow, checked by ``require_allowed_path``."""
