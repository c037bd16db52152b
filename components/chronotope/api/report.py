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
        counts = self.events
        return counts.n_good - counts.n_duplicates == counts.n_read and not self.items.n_quarantined

    def counts(self) -> dict[str, int]:
        """Numbers of rows by label; rows with several reasons count under each."""
        events = self.events
        labels = {
            "read": events.n_read,
            "good": events.n_good,
            "repeated, stored once": events.n_duplicates,
            "quarantined": events.n_quarantined,
            "dropped by filters": events.n_dropped,
            "items quarantined": self.items.n_quarantined,
        }
        always = ("read", "good", "quarantined")
        return {name: number for name, number in labels.items() if number or name in always}

    def reasons(self) -> dict[str, int]:
        """Numbers of refused rows by reason, those of items with their table's name."""
        items = {f"items: {reason}": number for reason, number in self.items.reasons.items()}
        return self.events.reasons | items

    def _lines(self) -> Iterator[str]:
        """Mapping of the columns that the reasons name, and findings."""
        named = [name for name in self.columns if any(name in reason for reason in self.reasons())]
        if named:
            yield "; ".join(f"{name} is column {self.columns[name]!r}" for name in named)
        for finding in self.events.findings:
            yield f"{finding.severity}: {finding.expectation} {finding.observed}".rstrip()

    def require_events(self) -> None:
        """Refuse a log without a good row.

        Raises:
            NotEnoughData: Every row was refused; the message lists the reasons.
        """
        if self.events.n_good:
            return
        columns = ", ".join(f"{name} is {column!r}" for name, column in self.columns.items())
        raise NotEnoughData(
            f"All {self.events.n_read:,} rows of the frame were refused",
            received=f"{self.reasons()}, first row: {self.events.first_refused}",
            way_out=f"Correct these values, or the column names: {columns}",
        )

    def __str__(self) -> str:
        """Counts, reasons and findings, one a line."""
        counts = [f"{name}: {number:,}" for name, number in self.counts().items()]
        reasons = [f"  {number:,} x {reason}" for reason, number in self.reasons().items()]
        return "\n".join([", ".join(counts), *reasons, *self._lines()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        counts = [(name, f"{number:,}") for name, number in self.counts().items()]
        reasons = [(f"refused: {name}", f"{number:,}") for name, number in self.reasons().items()]
        lines = [html.paragraph(line, soft=True) for line in self._lines()]
        return html.card("Checks", html.table(["rows", ""], [*counts, *reasons]), *lines)
