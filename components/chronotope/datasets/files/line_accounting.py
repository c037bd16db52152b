"""Accounting of the lines of text files: each line is part of a row, refused, or no data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

from chronotope.contracts.errors import SourceError
from chronotope.datasets.text_options import TextOptions

REFUSED_LINES: Final = pa.schema(
    [
        pa.field("source_file", pa.string()),
        pa.field("source_line", pa.int64()),
        pa.field("source_text", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
"""Schema of refused lines: file, line number from 1, shortened text, and the reason."""

MAX_SHOWN_CHARS: Final = 1_000
"""Maximum length of the text of a refused line, characters; the rest is cut."""

HIDDEN_TEXT: Final = "(not stored: the dataset has privacy settings)"
"""Text of a refused line that may hold the id, the exact place or the exact time of a user."""

MIN_REFUSED_LINES: Final = 5
"""Number of refused lines of a file that is allowed whatever their share."""

_EARLY_REFUSED_LINES: Final = 100_000
_SHOWN_LINES: Final = 3


@dataclass(slots=True)
class LineCounts:
    """Lines of text files by what became of them; ``n_lines`` is the sum of the other lines.

    Attributes:
        n_lines: Number of physical lines.
        n_skipped: Lines left out by ``skip_rows``, and Excel's ``sep=`` line.
        n_comment: Comment lines.
        n_blank: Blank lines.
        n_header: Lines of the header.
        n_row_lines: Lines of the rows that were read.
        n_refused: Refused lines.
        n_rows: Number of rows that were read.
        n_multiline_rows: Rows that span several lines, since a quoted field holds line breaks.
        n_literal_quotes: Quotation marks that were read as plain characters.
    """

    n_lines: int = 0
    n_skipped: int = 0
    n_comment: int = 0
    n_blank: int = 0
    n_header: int = 0
    n_row_lines: int = 0
    n_refused: int = 0
    n_rows: int = 0
    n_multiline_rows: int = 0
    n_literal_quotes: int = 0

    @property
    def is_balanced(self) -> bool:
        """Whether every line is accounted for exactly once."""
        n_other = self.n_skipped + self.n_comment + self.n_blank + self.n_header
        return self.n_lines == n_other + self.n_row_lines + self.n_refused

    def add(self, other: "LineCounts") -> None:
        """Add the counts of another file."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """One line that cannot be read as a row.

    Attributes:
        line: Its number in the file, from 1.
        text: Its text, without the line break.
        reason: Why it is refused.
    """

    line: int
    text: str
    reason: str


@dataclass(slots=True)
class SourceReport:
    """What became of the lines of a source, and the refused lines that are not yet stored.

    Attributes:
        files: Counts of each text file, by path.
        hides_texts: Whether the texts of refused lines are left out, since they hold ids of
            users of a dataset with pseudonyms.
    """

    files: dict[str, LineCounts] = field(default_factory=dict)
    hides_texts: bool = False
    _waiting: list[tuple[str, UnreadableLine]] = field(default_factory=list)

    def totals(self) -> LineCounts:
        """Counts of all files together."""
        total_counts = LineCounts()
        for line_counts in self.files.values():
            total_counts.add(line_counts)
        return total_counts

    def add_refused(self, file_label: str, refused_line: UnreadableLine) -> None:
        """Add a refused line, which waits for ``take_refused``."""
        self._waiting.append((file_label, refused_line))

    def take_refused(self) -> pa.Table:
        """Refused lines since the last call, in the schema ``REFUSED_LINES``."""
        waiting_lines, self._waiting = self._waiting, []
        columns = [
            [file_label for file_label, _ in waiting_lines],
            [refused_line.line for _, refused_line in waiting_lines],
            [
                HIDDEN_TEXT if self.hides_texts else _shortened(refused_line.text)
                for _, refused_line in waiting_lines
            ],
            [refused_line.reason for _, refused_line in waiting_lines],
        ]
        return pa.table(
            [
                pa.array(values, schema_field.type)
                for values, schema_field in zip(columns, REFUSED_LINES, strict=True)
            ],
            schema=REFUSED_LINES,
        )


class FileAccount:
    """Account of one file while it is read.

    Attributes:
        counts: Lines by what became of them.
    """

    def __init__(
        self, file_path: Path, text_options: TextOptions, source_report: SourceReport | None
    ) -> None:
        """Open the account.

        Args:
            file_path: The file.
            text_options: Share of the lines that may be refused.
            source_report: Report that gets the counts and the refused lines; None if nobody
                stores refused lines, so that the first one is an error.
        """
        self.counts = LineCounts()
        self._label, self._options, self._report = str(file_path), text_options, source_report
        self._first_refused: list[UnreadableLine] = []
        self._max_share = text_options.max_refused_share if source_report else 0.0
        if source_report is not None:
            source_report.files[self._label] = self.counts

    def refuse(self, line: int, text: str, reason: str) -> None:
        """Count and report a refused line.

        Raises:
            SourceError: More lines are refused than the options allow.
        """
        refused_line = UnreadableLine(line, text, reason)
        self.counts.n_refused += 1
        if len(self._first_refused) < _SHOWN_LINES:
            self._first_refused.append(refused_line)
        if self._report is not None:
            self._report.add_refused(self._label, refused_line)
        if self._max_share == 0.0 or self.counts.n_refused > _EARLY_REFUSED_LINES:
            self.require_few_refused()

    def require_few_refused(self) -> None:
        """Check the share of refused lines so far.

        Raises:
            SourceError: More lines are refused than the options allow.
        """
        n_refused, n_data = self.counts.n_refused, self.counts.n_row_lines + self.counts.n_refused
        is_few = self._max_share > 0 and n_refused <= MIN_REFUSED_LINES and self.counts.n_rows > 0
        if n_refused == 0 or is_few or n_refused <= self._max_share * n_data:
            return
        shown_lines = "; ".join(
            f"line {refused_line.line}: {refused_line.reason}: {refused_line.text[:80]!r}"
            for refused_line in self._first_refused
        )
        raise SourceError(
            f"Cannot read {self._label}: {n_refused:,} of {n_data:,} lines are no rows of it",
            received=shown_lines,
            way_out=self._way_out(),
        )

    def _way_out(self) -> str:
        reason_texts = " ".join(refused_line.reason for refused_line in self._first_refused)
        if "encoding" in reason_texts:
            return (
                f"The file is not text in the configured encoding ({self._options.encoding}): set "
                "encoding in the dataset's YAML, for example to latin-1, cp1252 or utf-16"
            )
        if "JSON" in reason_texts:
            return "Each line must hold one JSON object; correct these lines, or format"
        return (
            "Correct delimiter, quote, escape, comment or skip_rows in the dataset's YAML, or the "
            "lines; if the header alone has another number of columns, set header: true and names "
            "of all columns; max_refused_share is the share of lines that may be refused"
        )


@contextmanager
def file_account(
    file_path: Path, text_options: TextOptions, source_report: SourceReport | None
) -> Iterator[FileAccount]:
    """Account of a file; when the block ends, every line must be accounted for.

    Raises:
        SourceError: Too many lines were refused, or the lines do not add up.
    """
    account = FileAccount(file_path, text_options, source_report)
    yield account
    account.require_few_refused()
    if not account.counts.is_balanced:
        raise SourceError(
            f"The lines of {file_path} do not add up",
            received=account.counts,
            way_out="Report this as a bug of Chronotope, with the file if you may",
        )


def _shortened(text: str) -> str:
    valid_text = text.encode("utf-8", "backslashreplace").decode()
    is_short = len(valid_text) <= MAX_SHOWN_CHARS
    return valid_text if is_short else valid_text[: MAX_SHOWN_CHARS - 1] + "…"
