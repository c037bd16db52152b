"""Files that are dropped into the inbox: each whole line is taken in once, as the file grows.

What cannot be taken in, such as a folder or a pipe with such a name, is set aside with the
reason, and the others go on.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from chronotope.feedback.json_lines import parse_lines
from chronotope.feedback.watermark import (
    InboxRange,
    Watermark,
    read_watermark,
    write_watermark,
)
from chronotope.runtime.regular_files import open_regular

SUFFIX: Final = ".jsonl"
MAX_DELIVERY_BYTES: Final = 64 << 20
"""Bytes of a file taken in at a time; no line may be longer."""

_BLOCK_BYTES: Final = 1 << 20
_DIGEST_CHARACTERS: Final = 16
_SHOWN_CHARACTERS: Final = 100

InboxDelivery = tuple[InboxRange, list[object], Watermark]
"""Which lines, their payloads, and the watermark once they are safe."""


class Inbox:
    """A dataset's folder of files.

    Attributes:
        folder: Where they are dropped.
        set_aside: Why an entry, or the rest of one, is not taken in, by its name as shown.
    """

    def __init__(self, folder: Path) -> None:
        """Look at a folder; it need not be there.

        Args:
            folder: Where files are dropped.
        """
        self.folder = folder
        self.set_aside: dict[str, str] = {}

    def waiting(self, mark: Watermark) -> list[str]:
        """Names of the files that hold lines which were not taken in, sorted.

        Args:
            mark: What was taken in.
        """
        return [name for name in self._names() if any(True for _ in self._pieces(name, mark))]

    def deliveries(self, mark_path: Path) -> Iterator[InboxDelivery]:
        """What is new in each file, in the order of their names, a bounded piece at a time.

        A delivery is written into the watermark before it is handed out: when a run that was
        killed is taken up again, it is the same, also if its file has grown.

        Args:
            mark_path: File of the watermark.
        """
        mark = read_watermark(mark_path)
        begun = mark.begun.file if mark.begun else None
        for name in sorted(self._names(), key=lambda name: (name != begun, name)):
            for taken, content in self._pieces(name, mark):
                if mark.begun != taken:
                    write_watermark(mark_path, mark.model_copy(update={"begun": taken}))
                mark = _after(mark, taken)
                yield taken, parse_lines(content), mark

    def _pieces(self, name: str, mark: Watermark) -> Iterator[tuple[InboxRange, bytes]]:
        """Whole lines of a file that were not taken in; why the rest is not goes to set_aside."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(_open(self.folder / name))
                reader = _Reader(file, name, mark)
            except OSError as error:
                self._set_aside(name, error)
                return
            while (piece := self._piece(reader)) is not None:
                yield piece

    def _piece(self, reader: "_Reader") -> tuple[InboxRange, bytes] | None:
        try:
            piece = reader.next_piece()
        except OSError as error:
            self._set_aside(reader.name, error)
            return None
        if reader.rest:
            self.set_aside[shown_name(reader.name)] = reader.rest
        return piece

    def _set_aside(self, name: str, error: OSError) -> None:
        self.set_aside[shown_name(name)] = error.strerror or str(error)

    def _names(self) -> list[str]:
        """Names of the files, sorted; other entries of such a name are set aside."""
        self.set_aside = {}
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.set_aside["."] = f"the inbox cannot be read: {error.strerror}"
            return []
        return [name for name in names if name.endswith(SUFFIX) and self._is_readable(name)]

    def _is_readable(self, name: str) -> bool:
        if not name.isprintable():
            self.set_aside[shown_name(name)] = "its name holds characters that cannot be shown"
            return False
        try:
            _open(self.folder / name).close()
        except OSError as error:
            self._set_aside(name, error)
            return False
        return True


def shown_name(name: str) -> str:
    r"""A file's name to show: escaped where it cannot be printed, and shortened.

    Example:
        >>> shown_name("a\nb.jsonl")
        'a\\nb.jsonl'
    """
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


class _Reader:
    """Reads an open file on from where it was taken in, up to where it ends now.

    Attributes:
        name: Of the file.
        rest: Why what follows the last piece is not taken in, if anything.
    """

    def __init__(self, file: BinaryIO, name: str, mark: Watermark) -> None:
        self.name, self.rest = name, ""
        self._file = file
        self._size = os.fstat(file.fileno()).st_size  # it may grow faster than it is read
        known = mark.files.get(name)
        self._hasher, self._start = self._behind(known, mark.sizes.get(name, self._size))
        self._begun = self._still_there(mark.begun)

    def next_piece(self) -> tuple[InboxRange, bytes] | None:
        """The next whole lines, those of the delivery that was begun first; None at the end.

        Raises:
            OSError: It cannot be read.
        """
        begun, self._begun = self._begun, None
        limit = min(self._size, self._start + MAX_DELIVERY_BYTES) if begun is None else begun.end
        self._file.seek(self._start)
        content = self._file.read(limit - self._start)
        n_whole = len(content) if begun is not None else _n_whole(content)
        self.rest = self._why_rest(content, n_whole)
        if n_whole == 0:
            return None
        start, self._start = self._start, self._start + n_whole
        self._hasher.update(content[:n_whole])
        digest = self._hasher.hexdigest()[:_DIGEST_CHARACTERS]
        taken = InboxRange(file=self.name, start=start, end=self._start, digest=digest)
        return taken, content[:n_whole]

    def _why_rest(self, content: bytes, n_whole: int) -> str:
        n_rest = len(content) - n_whole
        if n_whole == 0 and n_rest == MAX_DELIVERY_BYTES:
            return f"a line is longer than {MAX_DELIVERY_BYTES:,} bytes"
        if n_rest and self._start + len(content) >= self._size:
            return f"its last line is not finished: {n_rest:,} bytes wait for the rest of it"
        return ""

    def _behind(self, digest: str | None, n_bytes: int) -> tuple["hashlib._Hash", int]:
        """Hash and number of the bytes taken in; none if something else stands there now."""
        if digest is not None:
            hasher = self._hashed(n_bytes)
            if hasher.hexdigest()[:_DIGEST_CHARACTERS] == digest:
                return hasher, n_bytes
        return hashlib.sha256(), 0

    def _still_there(self, begun: InboxRange | None) -> InboxRange | None:
        """The delivery that was begun, if it is of this file, and the file still holds it."""
        if begun is None or begun.file != self.name or begun.start != self._start:
            return None
        digest = self._hashed(begun.end).hexdigest()[:_DIGEST_CHARACTERS]
        return begun if digest == begun.digest else None

    def _hashed(self, n_bytes: int) -> "hashlib._Hash":
        """Hash of the first bytes."""
        self._file.seek(0)
        hasher, left = hashlib.sha256(), n_bytes
        while left and (block := self._file.read(min(left, _BLOCK_BYTES))):
            hasher.update(block)
            left -= len(block)
        return hasher


def _open(path: Path) -> BinaryIO:
    """Open a file of the inbox.

    A link may lead to a file of the inbox that is not taken in by its own name.

    Raises:
        OSError: It cannot be opened, is no regular file, or is a link that leads elsewhere.
    """
    if not path.is_symlink():
        return open_regular(path)
    target, folder = Path(os.path.realpath(path, strict=True)), path.parent.resolve()
    if not target.is_relative_to(folder):
        raise OSError(errno.EPERM, "it is a symbolic link that leads out of the inbox")
    if target.parent == folder and target.name.endswith(SUFFIX):
        raise OSError(errno.EPERM, "it is a symbolic link to another file of the inbox")
    return open_regular(target)


def _n_whole(content: bytes) -> int:
    """Bytes up to the last line that is whole: it is ended, or an object, or blank."""
    n_ended = content.rfind(b"\n") + 1
    tail = parse_lines(content[n_ended:])
    return len(content) if all(isinstance(line, dict) for line in tail) else n_ended


def _after(mark: Watermark, taken: InboxRange) -> Watermark:
    files = mark.files | {taken.file: taken.digest}
    sizes = mark.sizes | {taken.file: taken.end}
    return mark.model_copy(update={"files": files, "sizes": sizes, "begun": None})
