"""Check of project roots and table folders, before anything is written.

Delta Lake, MLflow, SQLAlchemy and DuckDB take a path as a URL or a glob, in which some characters
have a meaning of their own: such a path would be written to another folder, or end in an error of
the library.
"""

import os
import re
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError

_UNUSABLE: Final = re.compile(r"[\\\[\]{}^|?*\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|[\ud800-\udfff]")


def unusable_characters(path: Path) -> str:
    r"""Characters of an absolute path that stores cannot address, as text for display; "" if none.

    >>> unusable_characters(Path("/data/a[1] 50%20"))
    "'[', ']', '%20'"
    >>> unusable_characters(Path("/data/Größe #1 50%"))
    ''
    """
    # Some stores are given the path as it is, others with its links resolved.
    path_texts = f"{path.absolute()}{os.path.realpath(path)}"
    return ", ".join(map(ascii, dict.fromkeys(_UNUSABLE.findall(path_texts))))


def require_usable_path(path: Path) -> Path:
    """The path, checked to have no characters that stores cannot address.

    Raises:
        ConfigError: The path has such characters.
    """
    unusable_text = unusable_characters(path)
    if unusable_text:
        raise ConfigError(
            f"The stores cannot use a path that contains {unusable_text}",
            received=ascii(str(path.absolute())),
            way_out="Rename the folder, or choose another one",
        )
    return path


def require_usable_root(root: Path) -> None:
    """Check a project root, which need not exist yet.

    Raises:
        ConfigError: The root is no folder, or its path has characters that stores cannot address.
    """
    require_usable_path(root)
    existing_path = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not existing_path.is_dir():
        raise ConfigError(
            "The project root is not a folder",
            received=existing_path,
            way_out="Choose a folder with --root",
        )
