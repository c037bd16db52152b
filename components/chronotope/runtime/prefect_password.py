"""Password of the Prefect server, which grants execution of code as this account."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

PASSWORD_VARIABLE: Final = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - a name
"""Environment variable of a password set by the operator; no file is created then."""

_USER: Final = "chronotope"
_N_BYTES: Final = 32


def prefect_password(root: Path) -> str:
    """Password of the server, ``NAME:SECRET``; created at the first start and then reused.

    Args:
        root: Project root.
    """
    password_path = password_file(root)
    if password_path is None:
        return os.environ[PASSWORD_VARIABLE]
    return _read_private(password_path) or _write_private(password_path, new_password())


def password_file(root: Path) -> Path | None:
    """File of the password; None if the environment sets one.

    Args:
        root: Project root.
    """
    return None if os.environ.get(PASSWORD_VARIABLE) else root / "data" / "prefect-password"


def new_password() -> str:
    """New password for a server that runs for the length of one command."""
    return f"{_USER}:{secrets.token_urlsafe(_N_BYTES)}"


def _read_private(password_path: Path) -> str:
    """Content of a private file; "" if it is missing or other users can read or write it."""
    try:
        file_descriptor = os.open(password_path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    with os.fdopen(file_descriptor, encoding="utf-8") as password_stream:
        file_status = os.fstat(password_stream.fileno())
        is_private = file_status.st_uid == os.geteuid() and not file_status.st_mode & (
            stat.S_IRWXG | stat.S_IRWXO
        )
        return password_stream.read().strip() if is_private else ""


def _write_private(password_path: Path, password: str) -> str:
    """Write a file that is created with owner-only permissions."""
    password_path.parent.mkdir(parents=True, exist_ok=True)
    draft_path = password_path.with_name(f"{password_path.name}.{os.getpid()}")
    draft_path.unlink(missing_ok=True)
    file_descriptor = os.open(draft_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file_descriptor, "w", encoding="utf-8") as password_stream:
        password_stream.write(f"{password}\n")
    draft_path.replace(password_path)
    return password
