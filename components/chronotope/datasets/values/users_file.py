"""File of user ids: UTF-8 text, one id a line."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.regular_files import read_bounded

_MAX_BYTES: Final = 512 << 20
_N_SHOWN: Final = 5
_AROUND: Final = " \t\"',;\ufeff"


@dataclass(frozen=True, slots=True)
class ListedUsers:
    """Ids of a users file.

    Attributes:
        user_ids: Distinct ids, sorted.
        n_repeated: Lines that repeat an earlier id.
    """

    user_ids: tuple[str, ...]
    n_repeated: int


def read_users_file(file_path: Path, *, may_be_empty: bool = False) -> ListedUsers:
    """Read the ids; a byte order mark and empty lines are ignored, repeated ids count once.

    An id is its line, character by character: blanks and quotes are part of it.

    Args:
        file_path: The file.
        may_be_empty: Whether a file without an id is accepted.

    Raises:
        ConfigError: The file is missing, not UTF-8, or contains no id though it has to.
    """
    try:
        text = read_bounded(file_path, _MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(
            "The users file cannot be read",
            received=f"{file_path}: {error}",
            way_out="Provide UTF-8 text with one user id a line",
        ) from error
    # splitlines would also cut at the separators that an id may contain
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    user_ids = [line for line in lines if line]
    if not user_ids and not may_be_empty:
        raise ConfigError(
            "The users file contains no id",
            received=file_path,
            way_out="Write one user id a line",
        )
    distinct_ids = tuple(sorted(set(user_ids)))
    return ListedUsers(distinct_ids, len(user_ids) - len(distinct_ids))


def unknown_users_error(
    unknown_ids: Sequence[str], known_ids: Container[str], file_path: Path
) -> ConfigError:
    """Error of ids that are not in the log; it names the ids, and what may be wrong with them.

    Args:
        unknown_ids: The ids, at least one.
        known_ids: Ids of the log.
        file_path: The users file.
    """
    shown = ", ".join(repr(user_id) for user_id in unknown_ids[:_N_SHOWN])
    padded = [user_id for user_id in unknown_ids if user_id.strip(_AROUND) in known_ids]
    hint_text = (
        f"remove the blanks, quotes or commas around ids such as {padded[0]!r}"
        if padded
        else "correct them"
    )
    return ConfigError(
        f"{len(unknown_ids):,} ids of the users file are not in the log",
        received=f"{file_path}: {shown}",
        way_out=f"Write one id a line as in the log: {hint_text}; or leave unknown ids out with "
        "--skip-unknown",
    )
