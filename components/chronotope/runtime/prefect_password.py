"""The password of the Prefect server: whoever knows it may run code as this account."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

PASSWORD_VARIABLE: Final = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - a name
"""Environment variable of an operator who chose a password; then no file is made."""

_USER: Final = "chronotope"
_N_BYTES: Final = 32


def prefect_password(root: Path) -> str:
    """The password, ``NAME:SECRET``; made at the first start, the same ever after.

    Args:
        root: Project root.
    """
    path = password_file(root)
    if path is None:
        return os.environ[PASSWORD_VARIABLE]
    return _read_private(path) or _write_private(path, new_password())


def password_file(root: Path) -> Path | None:
    """Where the password is kept; None if the environment holds one.

    Args:
        root: Project root.
    """
    return None if os.environ.get(PASSWORD_VARIABLE) else root / "data" / "prefect-password"


def new_password() -> str:
    """A password for a server that lives as long as one command."""
    return f"{_USER}:{secrets.token_urlsafe(_N_BYTES)}"


def _read_private(path: Path) -> str:
    """What the file holds; "" without a file, or if others could read or have written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        is_private = status.st_uid == os.geteuid() and not status.st_mode & (
            stat.S_IRWXG | stat.S_IRWXO
        )
        return file.read().strip() if is_private else ""


def _write_private(path: Path, password: str) -> str:
    """Write the file so that it is never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{password}\n")
    draft.replace(path)
    return password
