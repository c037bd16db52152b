"""Rows of equal identity: one event, or numbered events, whatever the size of the batches."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.ids import event_ids
from chronotope.datasets.normalise import normalise
from chronotope.datasets.occurrences import OccurrenceCounter
from chronotope.datasets.spec import DatasetSpec

ROW = {"user_id": "u", "item_id": "i", "occurred_at": "2020-05-01T12:00:00Z"}


def make_spec(**changes: object) -> DatasetSpec:
    mapped = {"user_id": "a", "item_id": "b", "occurred_at": "c", "value": "d"}
    events = {"format": "csv", "path": "x", "columns": mapped, "attributes": {"line": "e"}}
    base = {"name": "t", "description": "t", "licence": "t", "events": events}
    return DatasetSpec.model_validate(base | changes)


def ids(identity: object, *values: str) -> list[str]:
    rows = pa.Table.from_pylist([ROW | {"value": value, "line": "x"} for value in values])
    spec = make_spec(**({} if identity is None else {"identity": identity}))
    names = normalise(spec, rows, occurrences=OccurrenceCounter()).rows["event_id"].to_pylist()
    assert all(len(name) == 32 for name in names)
    return [str(name) for name in names]


@pytest.mark.parametrize(
    ("identity", "n_events"),
    [
        (None, 1),
        ("occurrence", 4),
        (["occurrence"], 4),
        ("all", 3),
        (["all", "occurrence"], 4),
        (["user_id", "line", "occurrence"], 4),
        (["user_id", "value"], 3),
    ],
)
def test_what_makes_an_event_is_a_setting(identity: object, n_events: int) -> None:
    assert len(set(ids(identity, "1", "2", "1", "3"))) == n_events


def test_the_first_occurrence_has_the_id_of_the_plain_identity() -> None:
    plain, numbered = ids(None, "1", "2"), ids("occurrence", "1", "2")
    assert plain == [numbered[0]] * 2


def test_without_a_counter_repetitions_are_one_event() -> None:
    rows = pa.Table.from_pylist([ROW, ROW])
    names = normalise(make_spec(identity="occurrence"), rows).rows["event_id"].to_pylist()
    assert len(set(names)) == 1


@given(st.lists(st.text("abc", max_size=3), max_size=60), st.integers(1, 20))
def test_numbers_do_not_depend_on_batches(names: list[str], size: int) -> None:
    texts = pa.array(names, pa.string())
    whole = OccurrenceCounter().distinct_ids(event_ids([texts])).to_pylist()
    counter = OccurrenceCounter()
    parts = [
        counter.distinct_ids(event_ids([texts.slice(start, size)])).to_pylist()
        for start in range(0, len(names), size)
    ]
    assert [name for part in parts for name in part] == whole
    assert len(set(whole)) == len(names)
    first = {}
    for name, row_id in zip(names, whole, strict=True):
        first.setdefault(name, row_id)
    assert set(first.values()) == set(event_ids([pa.array(list(first))]).to_pylist())
    assert Counter(map(len, whole)) == ({32: len(names)} if names else {})
