"""Inbox of a dataset: a folder of JSON Lines files whose complete lines are each read once.

Files may grow. An entry that cannot be read, such as a folder or a pipe, is set aside with the
reason, and the other files are processed.
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
"""Maximum size of a delivery and of a line, bytes."""

_BLOCK_BYTES: Final = 1 << 20
_DIGEST_CHARACTERS: Final = 16
_SHOWN_CHARACTERS: Final = 100

InboxDelivery = tuple[InboxRange, list[object], Watermark]
"""Range of lines, their payloads, and the watermark to write once they are stored."""


class Inbox:
    """Reader of a dataset's inbox folder.

    Attributes:
        folder: The folder; it may not exist.
        set_aside: Reason why an entry, or the end of a file, was not read, by its printable name.
    """

    def __init__(self, inbox_folder: Path) -> None:
        """Create a reader.

        Args:
            inbox_folder: The folder; it may not exist.
        """
        self.folder = inbox_folder
        self.set_aside: dict[str, str] = {}

    def waiting(self, watermark: Watermark) -> list[str]:
        """Names of the files with complete lines that were not read yet, sorted.

        Args:
            watermark: Position up to which files were read.
        """
        return [
            file_name
            for file_name in self._names()
            if any(True for _ in self._pieces(file_name, watermark))
        ]

    def deliveries(self, mark_path: Path) -> Iterator[InboxDelivery]:
        """Read the new lines of all files in order of name, in deliveries of limited size.

        The range of a delivery is written to the watermark before it is yielded, so that a
        resumed run gets the same delivery even if the file has grown.

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
        """Complete new lines of a file in pieces; problems are recorded in ``set_aside``."""
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
        """Names of the readable files, sorted; other entries with the suffix are set aside."""
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
            self.set_aside[shown_name(file_name)] = "its name has characters that cannot be printed"
            return False
        try:
            _open(self.folder / file_name).close()
        except OSError as file_error:
            self._set_aside(file_name, file_error)
            return False
        return True


def shown_name(file_name: str) -> str:
    r"""Name of a file for messages: unprintable characters are escaped, long names shortened.

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
    """Reader of the new lines of an open file, up to its size at opening.

    Attributes:
        name: Name of the file.
        rest: Reason why the bytes after the last piece are not read; empty if there are none.
    """

    def __init__(self, open_file: BinaryIO, file_name: str, watermark: Watermark) -> None:
        self.name, self.rest = file_name, ""
        self._file = open_file
        # Fixed, since the file may grow faster than it is read.
        self._size = os.fstat(open_file.fileno()).st_size
        known_digest = watermark.files.get(file_name)
        self._hasher, self._start = self._read_prefix(
            known_digest, watermark.sizes.get(file_name, self._size)
        )
        self._begun = self._valid_range(watermark.begun)

    def next_piece(self) -> tuple[InboxRange, bytes] | None:
        """Read the next complete lines, first those of an interrupted delivery; None at the end.

        Raises:
            OSError: The file cannot be read.
        """
        begun_range, self._begun = self._begun, None
        read_limit = (
            min(self._size, self._start + MAX_DELIVERY_BYTES)
            if begun_range is None
            else begun_range.end
        )
        self._file.seek(self._start)
        file_content = self._file.read(read_limit - self._start)
        n_whole = len(file_content) if begun_range is not None else _n_complete_bytes(file_content)
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
            return f"its last line is not finished: {n_rest:,} bytes are not read yet"
        return ""

    def _read_prefix(self, content_digest: str | None, n_bytes: int) -> tuple["hashlib._Hash", int]:
        """Hash and number of the bytes read before; none if their content has changed."""
        if content_digest is not None:
            content_hasher = self._hashed(n_bytes)
            if content_hasher.hexdigest()[:_DIGEST_CHARACTERS] == content_digest:
                return content_hasher, n_bytes
        return hashlib.sha256(), 0

    def _valid_range(self, begun_range: InboxRange | None) -> InboxRange | None:
        """Range of an interrupted delivery, if it belongs to this file and is unchanged."""
        if begun_range is None or begun_range.file != self.name or begun_range.start != self._start:
            return None
        content_digest = self._hashed(begun_range.end).hexdigest()[:_DIGEST_CHARACTERS]
        return begun_range if content_digest == begun_range.digest else None

    def _hashed(self, n_bytes: int) -> "hashlib._Hash":
        """SHA-256 of the first ``n_bytes`` of the file."""
        self._file.seek(0)
        content_hasher, n_left_bytes = hashlib.sha256(), n_bytes
        while n_left_bytes and (byte_block := self._file.read(min(n_left_bytes, _BLOCK_BYTES))):
            content_hasher.update(byte_block)
            n_left_bytes -= len(byte_block)
        return content_hasher


def _open(file_path: Path) -> BinaryIO:
    """Open a file of the inbox for reading.

    A symbolic link is followed only to a file below the inbox that is not read by its own name.

    Raises:
        OSError: The file cannot be opened, is not a regular file, or is another symbolic link.
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


def _n_complete_bytes(file_content: bytes) -> int:
    """Number of bytes in complete lines; the last one may lack a line feed if it is an object."""
    n_ended = file_content.rfind(b"\n") + 1
    tail_lines = parse_lines(file_content[n_ended:])
    return (
        len(file_content)
        if all(isinstance(parsed_line, dict) for parsed_line in tail_lines)
        else n_ended
    )


def _after(watermark: Watermark, taken_range: InboxRange) -> Watermark:
    """Watermark after a delivery has been stored."""
    digest_by_file = watermark.files | {taken_range.file: taken_range.digest}
    size_by_file = watermark.sizes | {taken_range.file: taken_range.end}
    return watermark.model_copy(
        update={"files": digest_by_file, "sizes": size_by_file, "begun": None}
    )
