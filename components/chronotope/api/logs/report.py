"""Report of a log made from a frame: the counts, reasons and findings of its ingestion."""

from collections.abc import Iterator
from dataclasses import dataclass

from chronotope.api import html
from chronotope.contracts.errors import NotEnoughData
from chronotope.ingestion import IngestReport, TableReport


@dataclass(frozen=True, slots=True)
class LogReport:
    """Result of the checks of a frame; read = good + quarantined + dropped.

    Attributes:
        events: Counts, reasons and findings of the events, as ``chronotope ingest`` reports them.
        items: Counts of the catalogue; no rows without one.
        columns: Column of the frame of each contract column that reasons name.
    """

    events: IngestReport
    items: TableReport
    columns: dict[str, str]

    @property
    def is_clean(self) -> bool:
        """Whether no row was refused, dropped or repeated."""
        row_counts = self.events
        return (
            row_counts.n_good - row_counts.n_duplicates == row_counts.n_read
            and not self.items.n_quarantined
        )

    def counts(self) -> dict[str, int]:
        """Numbers of rows by label; rows with several reasons count under each."""
        event_counts = self.events
        count_labels = {
            "read": event_counts.n_read,
            "good": event_counts.n_good,
            "repeated, stored once": event_counts.n_duplicates,
            "quarantined": event_counts.n_quarantined,
            "dropped by filters": event_counts.n_dropped,
            "items quarantined": self.items.n_quarantined,
        }
        always_shown = ("read", "good", "quarantined")
        return {
            label: n_rows
            for label, n_rows in count_labels.items()
            if n_rows or label in always_shown
        }

    def reasons(self) -> dict[str, int]:
        """Numbers of refused rows by reason, those of items with their table's name."""
        item_reasons = {
            f"items: {refusal_reason}": n_rows
            for refusal_reason, n_rows in self.items.reasons.items()
        }
        return self.events.reasons | item_reasons

    def _lines(self) -> Iterator[str]:
        """Mapping of the columns that the reasons name, and findings."""
        named_columns = [
            label
            for label in self.columns
            if any(label in refusal_reason for refusal_reason in self.reasons())
        ]
        if named_columns:
            yield "; ".join(f"{label} is column {self.columns[label]!r}" for label in named_columns)
        for finding in self.events.findings:
            yield f"{finding.severity}: {finding.expectation} {finding.observed}".rstrip()

    def require_events(self) -> None:
        """Refuse a log without a good row.

        Raises:
            NotEnoughData: Every row was refused; the message lists the reasons.
        """
        if self.events.n_good:
            return
        column_map = ", ".join(f"{label} is {column!r}" for label, column in self.columns.items())
        raise NotEnoughData(
            f"All {self.events.n_read:,} rows of the frame were refused",
            received=f"{self.reasons()}, first row: {self.events.first_refused}",
            way_out=f"Correct these values, or the column names: {column_map}",
        )

    def __str__(self) -> str:
        """Counts, reasons and findings, one a line."""
        row_counts = [f"{label}: {n_rows:,}" for label, n_rows in self.counts().items()]
        reason_texts = [
            f"  {n_rows:,} x {refusal_reason}" for refusal_reason, n_rows in self.reasons().items()
        ]
        return "\n".join([", ".join(row_counts), *reason_texts, *self._lines()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        row_counts = [(label, f"{n_rows:,}") for label, n_rows in self.counts().items()]
        reason_texts = [
            (f"refused: {label}", f"{n_rows:,}") for label, n_rows in self.reasons().items()
        ]
        note_lines = [html.paragraph(note_line, soft=True) for note_line in self._lines()]
        return html.card(
            "Checks", html.table(["rows", ""], [*row_counts, *reason_texts]), *note_lines
        )
