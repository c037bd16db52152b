"""A log and a catalogue that write their ids differently are noticed."""

import pyarrow as pa
import pytest

from chronotope.validation.catalogue_match import CatalogueMatch


def observed(log_ids: list[str], catalogue_ids: list[str]) -> list[str]:
    match = CatalogueMatch(pa.array(catalogue_ids))
    match.add_batch(pa.table({"item_id": log_ids}))
    return [finding.observed for finding in match.findings()]


@pytest.mark.parametrize(
    ("log_id", "catalogue_id", "cause"),
    [
        ("a ", "a", "spaces"), ("SKU1", "sku1", "case"), ("Cafe\u0301", "Caf\xe9", "Unicode"),
        ("007", "7", "zeros"), ("item_12", "12", "prefix"),
    ],
)  # fmt: skip
def test_the_usual_cause_is_named(log_id: str, catalogue_id: str, cause: str) -> None:
    (text,) = observed([log_id], ["other", catalogue_id])
    assert text.startswith("0 of 1 events")
    assert ascii(log_id) in text
    assert ascii(catalogue_id) in text
    assert cause in text


def test_a_few_unknown_items_are_no_finding() -> None:
    assert observed(["a", "b"], ["a", "x"]) == []
    assert observed(["a", "b", "c"], ["a", "x"]) == [
        "1 of 3 events; the log has 'b', the catalogue 'a'"
    ]
