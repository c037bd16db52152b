"""Check of the characters of paths that become addresses of stores.

Delta Lake, MLflow and SQLAlchemy take a path as part of a URL, in which some characters have a
meaning of their own: such a path would be written to another folder, or end in an error of the
library.
"""

import re
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError

_UNUSABLE: Final = re.compile(r"[\\\[\]^|?\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|[\ud800-\udfff]")


def unusable_characters(path: Path) -> str:
    r"""Characters of an absolute path that stores cannot address, as text for display; "" if none.

    >>> unusable_characters(Path("/data/a[1] 50%20"))
    "'[', ']', '%20'"
    >>> unusable_characters(Path("/data/Größe #1 50%"))
    ''
    """
    unusable_parts = dict.fromkeys(_UNUSABLE.findall(str(path.absolute())))
    return ", ".join(map(ascii, unusable_parts))


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
