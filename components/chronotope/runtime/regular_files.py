"""Open regular files and nothing else: a pipe or a device would be waited for without end."""

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


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read; links are followed.

    Its kind is looked at before it is opened, since opening a pipe waits and opening a device
    may do things; and once more afterwards, since another file may stand there by then.

    Raises:
        OSError: It is missing or unreadable, or no regular file; ``strerror`` says which.
    """
    require_regular(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular_mode(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: Path) -> int:
    """Size in bytes of a regular file; links are followed.

    Raises:
        OSError: It is missing, or no regular file; ``strerror`` says which kind it is of.
    """
    status = path.stat()
    _require_regular_mode(status.st_mode, path)
    return status.st_size


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """All of a small regular file.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger.
    """
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes:,} bytes", str(path))
    return content


def _require_regular_mode(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, no regular file", str(path))
