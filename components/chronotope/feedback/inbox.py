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

    def __init__(self, inbox_folder: Path) -> None:
        """Look at a folder; it need not be there.

        Args:
            inbox_folder: Where files are dropped.
        """
        self.folder = inbox_folder
        self.set_aside: dict[str, str] = {}

    def waiting(self, watermark: Watermark) -> list[str]:
        """Names of the files that hold lines which were not taken in, sorted.

        Args:
            watermark: What was taken in.
        """
        return [
            file_name
            for file_name in self._names()
            if any(True for _ in self._pieces(file_name, watermark))
        ]

    def deliveries(self, mark_path: Path) -> Iterator[InboxDelivery]:
        """New lines of each file, in the order of their names, a bounded piece at a time.

        A delivery is written into the watermark before it is handed out: when a run that was
        killed is taken up again, it is the same, also if its file has grown.

        Args:
            mark_path: File of the watermark.
        """
        watermark = read_watermark(mark_path)
        begun_file = watermark.begun.file if watermark.begun else None
        for file_name in sorted(
            self._names(), key=lambda file_name: (file_name != begun_file, file_name)
        ):
            for taken_range, file_content in self._pieces(file_name, watermark):
                if watermark.begun != taken_range:
                    write_watermark(mark_path, watermark.model_copy(update={"begun": taken_range}))
                watermark = _after(watermark, taken_range)
                yield taken_range, parse_lines(file_content), watermark

    def _pieces(self, file_name: str, watermark: Watermark) -> Iterator[tuple[InboxRange, bytes]]:
        """Whole lines of a file that were not taken in; why the rest is not goes to set_aside."""
        with ExitStack() as exit_stack:
            try:
                open_file = exit_stack.enter_context(_open(self.folder / file_name))
                file_reader = _Reader(open_file, file_name, watermark)
            except OSError as file_error:
                self._set_aside(file_name, file_error)
                return
            while (file_piece := self._piece(file_reader)) is not None:
                yield file_piece

    def _piece(self, file_reader: "_Reader") -> tuple[InboxRange, bytes] | None:
        try:
            file_piece = file_reader.next_piece()
        except OSError as file_error:
            self._set_aside(file_reader.name, file_error)
            return None
        if file_reader.rest:
            self.set_aside[shown_name(file_reader.name)] = file_reader.rest
        return file_piece

    def _set_aside(self, file_name: str, file_error: OSError) -> None:
        self.set_aside[shown_name(file_name)] = file_error.strerror or str(file_error)

    def _names(self) -> list[str]:
        """Names of the files, sorted; other entries of such a name are set aside."""
        self.set_aside = {}
        try:
            file_names = sorted(dir_entry.name for dir_entry in os.scandir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as file_error:
            self.set_aside["."] = f"the inbox cannot be read: {file_error.strerror}"
            return []
        return [
            file_name
            for file_name in file_names
            if file_name.endswith(SUFFIX) and self._is_readable(file_name)
        ]

    def _is_readable(self, file_name: str) -> bool:
        if not file_name.isprintable():
            self.set_aside[shown_name(file_name)] = "its name holds characters that cannot be shown"
            return False
        try:
            _open(self.folder / file_name).close()
        except OSError as file_error:
            self._set_aside(file_name, file_error)
            return False
        return True


def shown_name(file_name: str) -> str:
    r"""A file's name to show: escaped where it cannot be printed, and shortened.

    Example:
        >>> shown_name("a\nb.jsonl")
        'a\\nb.jsonl'
    """
    shown_text = file_name if file_name.isprintable() else ascii(file_name)[1:-1]
    return (
        shown_text
        if len(shown_text) <= _SHOWN_CHARACTERS
        else f"{shown_text[: _SHOWN_CHARACTERS - 3]}..."
    )


class _Reader:
    """Reads an open file on from where it was taken in, up to where it ends now.

    Attributes:
        name: Of the file.
        rest: Why what follows the last piece is not taken in, if anything.
    """

    def __init__(self, open_file: BinaryIO, file_name: str, watermark: Watermark) -> None:
        self.name, self.rest = file_name, ""
        self._file = open_file
        self._size = os.fstat(open_file.fileno()).st_size  # it may grow faster than it is read
        known_digest = watermark.files.get(file_name)
        self._hasher, self._start = self._behind(
            known_digest, watermark.sizes.get(file_name, self._size)
        )
        self._begun = self._still_there(watermark.begun)

    def next_piece(self) -> tuple[InboxRange, bytes] | None:
        """The next whole lines, those of the delivery that was begun first; None at the end.

        Raises:
            OSError: It cannot be read.
        """
        begun_file, self._begun = self._begun, None
        read_limit = (
            min(self._size, self._start + MAX_DELIVERY_BYTES)
            if begun_file is None
            else begun_file.end
        )
        self._file.seek(self._start)
        file_content = self._file.read(read_limit - self._start)
        n_whole = len(file_content) if begun_file is not None else _n_whole(file_content)
        self.rest = self._why_rest(file_content, n_whole)
        if n_whole == 0:
            return None
        start_byte, self._start = self._start, self._start + n_whole
        self._hasher.update(file_content[:n_whole])
        content_digest = self._hasher.hexdigest()[:_DIGEST_CHARACTERS]
        taken_range = InboxRange(
            file=self.name, start=start_byte, end=self._start, digest=content_digest
        )
        return taken_range, file_content[:n_whole]

    def _why_rest(self, file_content: bytes, n_whole: int) -> str:
        n_rest = len(file_content) - n_whole
        if n_whole == 0 and n_rest == MAX_DELIVERY_BYTES:
            return f"a line is longer than {MAX_DELIVERY_BYTES:,} bytes"
        if n_rest and self._start + len(file_content) >= self._size:
            return f"its last line is not finished: {n_rest:,} bytes wait for the rest of it"
        return ""

    def _behind(self, content_digest: str | None, n_bytes: int) -> tuple["hashlib._Hash", int]:
        """Hash and number of the bytes taken in; none if something else stands there now."""
        if content_digest is not None:
            content_hasher = self._hashed(n_bytes)
            if content_hasher.hexdigest()[:_DIGEST_CHARACTERS] == content_digest:
                return content_hasher, n_bytes
        return hashlib.sha256(), 0

    def _still_there(self, begun_file: InboxRange | None) -> InboxRange | None:
        """The delivery that was begun, if it is of this file, and the file still holds it."""
        if begun_file is None or begun_file.file != self.name or begun_file.start != self._start:
            return None
        content_digest = self._hashed(begun_file.end).hexdigest()[:_DIGEST_CHARACTERS]
        return begun_file if content_digest == begun_file.digest else None

    def _hashed(self, n_bytes: int) -> "hashlib._Hash":
        """Hash of the first bytes."""
        self._file.seek(0)
        content_hasher, n_left_bytes = hashlib.sha256(), n_bytes
        while n_left_bytes and (byte_block := self._file.read(min(n_left_bytes, _BLOCK_BYTES))):
            content_hasher.update(byte_block)
            n_left_bytes -= len(byte_block)
        return content_hasher


def _open(file_path: Path) -> BinaryIO:
    """Open a file of the inbox.

    A link may lead to a file of the inbox that is not taken in by its own name.

    Raises:
        OSError: It cannot be opened, is no regular file, or is a link that leads elsewhere.
    """
    if not file_path.is_symlink():
        return open_regular(file_path)
    link_target, inbox_folder = (
        Path(os.path.realpath(file_path, strict=True)),
        file_path.parent.resolve(),
    )
    if not link_target.is_relative_to(inbox_folder):
        raise OSError(errno.EPERM, "it is a symbolic link that leads out of the inbox")
    if link_target.parent == inbox_folder and link_target.name.endswith(SUFFIX):
        raise OSError(errno.EPERM, "it is a symbolic link to another file of the inbox")
    return open_regular(link_target)


def _n_whole(file_content: bytes) -> int:
    """Bytes up to the last line that is whole: it is ended, or an object, or blank."""
    n_ended = file_content.rfind(b"\n") + 1
    tail_lines = parse_lines(file_content[n_ended:])
    return (
        len(file_content)
        if all(isinstance(parsed_line, dict) for parsed_line in tail_lines)
        else n_ended
    )


def _after(watermark: Watermark, taken_range: InboxRange) -> Watermark:
    digest_by_file = watermark.files | {taken_range.file: taken_range.digest}
    size_by_file = watermark.sizes | {taken_range.file: taken_range.end}
    return watermark.model_copy(
        update={"files": digest_by_file, "sizes": size_by_file, "begun": None}
    )
