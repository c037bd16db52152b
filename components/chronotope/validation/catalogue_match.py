"""Check that the items of a delivery are those of the catalogue, in the same form of their ids."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.escaping import visible_text
from chronotope.contracts.validation_result import FailedExpectation, Severity

MIN_KNOWN_SHARE: Final = 0.5
"""Share of events with an item of the catalogue below which a finding is made."""

_SAMPLE_IDS: Final = 1_000
_FORMS: Final[dict[str, Callable[[str], str]]] = {
    "spaces around the id": str.strip,
    "upper or lower case": str.casefold,
    "the Unicode form of letters": lambda id_text: unicodedata.normalize("NFC", id_text),
    "zeros in front": lambda id_text: id_text.lstrip("0"),
    "a prefix before a separator": lambda id_text: id_text.replace("-", "_").split("_")[-1],
}
"""Forms in which ids of two systems usually differ, and functions that make them equal."""


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Events of some batches by whether their item is in the catalogue.

    Attributes:
        n_events: Number of events.
        n_known: Number of events with an item of the catalogue.
        unknown_sample: Ids of the first other items.
    """

    n_events: int
    n_known: int
    unknown_sample: tuple[str, ...]


class CatalogueMatch:
    """Counter of events whose item is in the catalogue."""

    def __init__(self, known_items: pa.Array) -> None:
        """Create a counter.

        Args:
            known_items: Item ids of the catalogue, not empty.
        """
        self._known_items = known_items
        self._n_events = self._n_known = 0
        self._unknown_sample: list[str] = []

    def add_batch(self, batch: pa.Table) -> None:
        """Count the events of a batch."""
        item_ids = batch.column(c.ITEM_ID)
        is_known = pc.is_in(item_ids, value_set=self._known_items)
        self._n_events += len(batch)
        self._n_known += pc.sum(is_known).as_py() or 0
        if len(self._unknown_sample) < _SAMPLE_IDS:
            unknown_ids = pc.unique(item_ids.filter(pc.invert(is_known)))
            self._unknown_sample += unknown_ids.slice(0, _SAMPLE_IDS).to_pylist()

    @property
    def counts(self) -> MatchCounts:
        """Counts of the batches so far."""
        return MatchCounts(self._n_events, self._n_known, tuple(self._unknown_sample))

    def add_counts(self, counts: MatchCounts) -> None:
        """Add the counts of other batches."""
        self._n_events += counts.n_events
        self._n_known += counts.n_known
        if len(self._unknown_sample) < _SAMPLE_IDS:
            self._unknown_sample += counts.unknown_sample

    def findings(self) -> tuple[FailedExpectation, ...]:
        """A finding with an id of both sides if few items are in the catalogue."""
        if not self._unknown_sample or self._n_known >= MIN_KNOWN_SHARE * self._n_events:
            return ()
        n_unknown = self._n_events - self._n_known
        return (
            FailedExpectation(
                "most events have an item of the catalogue",
                c.ITEM_ID,
                Severity.WARNING,
                n_unknown,
                f"{self._n_known:,} of {self._n_events:,} events; {self._difference()}",
            ),
        )

    def _difference(self) -> str:
        """An unknown id beside one of the catalogue, and in what they differ if that is usual."""
        catalogue_ids = self._known_items.slice(0, 1_000_000).to_pylist()
        for form_name, to_form in _FORMS.items():
            by_form = {to_form(known_id): known_id for known_id in catalogue_ids}
            for unknown_id in self._unknown_sample:
                known_id = by_form.get(to_form(unknown_id))
                if known_id is not None and to_form(unknown_id):
                    return f"{_pair(unknown_id, known_id)}, which differ in {form_name}"
        return _pair(self._unknown_sample[0], catalogue_ids[0])


def _pair(unknown_id: str, known_id: str) -> str:
    shown_ids = (ascii(visible_text(id_text)[:50]) for id_text in (unknown_id, known_id))
    return "the log has {}, the catalogue {}".format(*shown_ids)
