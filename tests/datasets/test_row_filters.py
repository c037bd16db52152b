"""Rows that are not wanted are dropped by rule, counted, and never refused."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError, SchemaError
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import NormalisedBatch, normalise
from chronotope.datasets.readers import read_events
from chronotope.datasets.row_filters import RowFilter, filter_rows
from chronotope.datasets.spec import DatasetSpec

YAML = """
name: shop
description: A shop
licence: ours
event_type: purchase
events:
  format: csv
  path: log.csv
  columns: {user_id: who, item_id: what, occurred_at: when, event_type: kind}
  keep: KEEP
"""
LOG = """who,what,when,kind,quantity,invoice
u,i1,2024-03-04T08:00:00Z,purchase,2,100
u,i2,2024-03-04T08:01:00Z,view,1,101
u,i3,2024-03-04T08:02:00Z,,1,102
u,i4,no time,purchase,-1,C103
u,i5,2024-03-04T08:04:00Z,purchase,,104
u,i6,2024-03-04T08:05:00Z,purchase,3,C105
u,i7,no time,purchase,1,106
u,i8,2024-03-04T08:07:00Z,purchase,a few,
"""


def read(folder: Path, keep: str) -> NormalisedBatch:
    (folder / "log.csv").write_text(LOG)
    (folder / "shop.yaml").write_text(YAML.replace("KEEP", keep))
    spec = load_spec(folder / "shop.yaml", data_dir=folder)
    (batch,) = (normalise(spec, raw) for raw in read_events(spec))
    return batch


def items(keep: str, folder: Path) -> list[str]:
    return [name.removeprefix("i") for name in read(folder, keep).rows["item_id"].to_pylist()]


def test_each_dropped_row_counts_under_its_first_rule(tmp_path: Path) -> None:
    keep = "{quantity: {gt: 0}, event_type: {in: [purchase]}, invoice: {not_starts_with: C}}"
    batch = read(tmp_path, keep)
    assert batch.dropped == {
        "quantity gt 0 (missing or not a number)": 2,
        "quantity gt 0": 1,
        "event_type in purchase": 1,
        "invoice not_starts_with C": 1,
    }
    assert batch.rows["item_id"].to_pylist() == ["i1", "i3"]  # i3 has the default event type
    # i4 was dropped before anyone looked at its time; i7 was not.
    assert batch.refused.to_pylist() == [
        {"row": 6, "reasons": ["occurred_at cannot be read as timestamp"]}
    ]
    assert batch.row_positions.tolist() == [0, 2]
    assert "source:quantity" not in batch.rows.column_names


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("{quantity: {ge: 1, lt: 3}}", "123"),
        ("{quantity: {eq: 1}}", "23"),
        ("{quantity: {eq: '1'}}", "23"),
        ("{quantity: {ne: 1}}", "1568"),
        ("{quantity: {in: [1, 3]}}", "236"),
        ("{quantity: {not_in: [1, 3]}}", "158"),
        ("{quantity: {is_missing: true}}", "5"),
        ("{quantity: {is_missing: false}}", "12368"),
        ("{invoice: {starts_with: [C, 10]}}", "12356"),
        ("{invoice: {not_starts_with: [C]}}", "12358"),
        ("{invoice: {starts_with: 101}}", "2"),
        ("{invoice: {ge: '102', lt: '105'}}", "35"),
        ("{item_id: {ne: i1}}", "23568"),
        ("{kind: {eq: view}}", "2"),
        ("{}", "123568"),
    ],
)
def test_operators(tmp_path: Path, keep: str, expected: str) -> None:
    assert items(keep, tmp_path) == list(expected)


@pytest.mark.parametrize(
    ("keep", "problem"),
    [
        ("{quantity: 0}", "write operators, such as"),
        ("{quantity: {}}", "no operator; use one of gt, ge"),
        ("{quantity: {greater: 0}}", "events.keep.quantity.greater"),
        ("{kind: {in: purchase}}", "write a list"),
        ("{kind: {in: []}}", "at least 1 item"),
        ("{kind: {eq: no}}", 'in quotes, such as "no"'),
        ("{when: {ge: 2024-01-01}}", "a date is compared as text"),
        ("{nowhere: {eq: 1}}", "Columns missing.*nowhere"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keep: str, problem: str) -> None:
    with pytest.raises((ConfigError, SchemaError), match=f"(?s){problem}"):
        read(tmp_path, keep)


def test_catalogues_have_no_filters(tmp_path: Path) -> None:
    text = YAML.replace("KEEP", "{}") + (
        "items: {format: csv, path: i.csv, columns: {item_id: i}, keep: {i: {ne: x}}}"
    )
    (tmp_path / "shop.yaml").write_text(text)
    with pytest.raises(ConfigError, match="items: keep is for events and feedback only"):
        load_spec(tmp_path / "shop.yaml")


def test_long_integers_are_not_rounded() -> None:
    ids = pa.table({"n": pa.array([2**62, 2**62 + 1])})
    kept = filter_rows(ids, {"n": RowFilter.model_validate({"eq": 2**62})})
    assert kept.row_positions.tolist() == [0]


def test_types_of_parquet() -> None:
    rows = pa.table(
        {
            "kind": pa.array(["a", "b", None]).dictionary_encode(),
            "n": [1.0, float("nan"), 2.0],
            "flag": [True, False, None],
        }
    )
    for rule, expected in (
        ({"kind": {"ne": "a"}}, [1, 2]),
        ({"n": {"le": 1}}, [0]),
        ({"n": {"is_missing": True}}, [1]),
        ({"flag": {"eq": "true"}}, [0]),
    ):
        keep = {name: RowFilter.model_validate(each) for name, each in rule.items()}
        assert filter_rows(rows, keep).row_positions.tolist() == expected


def test_a_filter_round_trips_through_json() -> None:
    spec = RowFilter.model_validate({"in": ["a", 1], "gt": 0})
    assert RowFilter.model_validate_json(spec.model_dump_json(exclude_none=True)) == spec
    with pytest.raises(ValidationError, match="truth values"):
        RowFilter.model_validate({"in": [True]})


@given(st.lists(st.sampled_from(["1", "2", "-3", "", " ", "x", None, "1e1"]), max_size=20))
def test_kept_and_dropped_are_all_rows(texts: list[str | None]) -> None:
    rows = pa.table({"n": pa.array(texts, pa.string())})
    for rule in ({"gt": 1}, {"in": [1, 10]}, {"ne": "x"}, {"is_missing": False, "lt": 5}):
        kept = filter_rows(rows, {"n": RowFilter.model_validate(rule)})
        assert kept.rows.num_rows == len(kept.row_positions)
        assert kept.rows.num_rows + sum(kept.dropped.values()) == len(texts)


def test_the_default_reads_every_row() -> None:
    events = {
        "format": "csv",
        "path": "x",
        "columns": {"user_id": "a", "item_id": "b", "occurred_at": "c"},
    }
    spec = DatasetSpec.model_validate(
        {"name": "t", "description": "t", "licence": "t", "events": events}
    )
    assert spec.keep_rules == {}
