"""Reading of regular files only; opening a pipe or a device could block forever."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(file_path: Path) -> BinaryIO:
    """Open a regular file to read; links are followed.

    The file type is checked before opening, since opening a pipe blocks and opening a device
    can have side effects; and again afterwards, since the path may have been replaced.

    Raises:
        OSError: The file is missing, unreadable or not a regular file; see ``strerror``.
    """
    require_regular(file_path)
    file_descriptor = os.open(file_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular_mode(os.fstat(file_descriptor).st_mode, file_path)
        return os.fdopen(file_descriptor, "rb")
    except BaseException:
        os.close(file_descriptor)
        raise


def require_regular(file_path: Path) -> int:
    """Size in bytes of a regular file; links are followed.

    Raises:
        OSError: The file is missing or not a regular file; ``strerror`` names its kind.
    """
    file_status = file_path.stat()
    _require_regular_mode(file_status.st_mode, file_path)
    return file_status.st_size


def read_bounded(file_path: Path, max_bytes: int) -> bytes:
    """Content of a small regular file.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is larger than ``max_bytes``.
    """
    with open_regular(file_path) as open_file:
        file_content = open_file.read(max_bytes + 1)
    if len(file_content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes:,} bytes", str(file_path))
    return file_content


def _require_regular_mode(file_mode: int, file_path: Path) -> None:
    if not stat.S_ISREG(file_mode):
        kind_name = _KINDS.get(stat.S_IFMT(file_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind_name}, no regular file", str(file_path))
