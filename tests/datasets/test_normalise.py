"""Bad rows are refused with reasons, good rows keep their meaning."""

from datetime import UTC, datetime

import h3
import pyarrow as pa
import pytest

from chronotope.contracts.errors import SchemaError
from chronotope.contracts.schemas import EVENTS
from chronotope.datasets.normalise import NormalisedBatch, normalise
from chronotope.datasets.spec import DatasetSpec

GOOD = {"user_id": "u", "item_id": "i", "occurred_at": "2020-05-01T12:00:00Z", "value": "1.5"}


def make_spec(**changes: object) -> DatasetSpec:
    mapped = {"user_id": "a", "item_id": "b", "occurred_at": "c", "value": "d"}
    events = {"format": "csv", "path": "x", "columns": mapped, "context": {"amount": "e"}}
    base = {"name": "t", "description": "t", "licence": "t", "events": events}
    return DatasetSpec.model_validate(base | changes)


def run(*rows: dict[str, object], **changes: object) -> NormalisedBatch:
    return normalise(make_spec(**changes), pa.Table.from_pylist([GOOD | row for row in rows]))


@pytest.mark.parametrize(
    ("kind", "value", "hint"),
    [
        ("timestamp", "2024-W05-1", 'set kind: strptime, pattern: "%G-W%V-%u"'),
        ("timestamp", "2024-032", 'set kind: strptime, pattern: "%Y-%j"'),
        ("timestamp", "/Date(1704164645000)/", "set kind: epoch_ms"),
        ("epoch_s", "2024-01-02T03:04:05Z", "the text is ISO 8601; set kind: timestamp"),
        ("epoch_s", datetime(2024, 1, 2, tzinfo=UTC), "set kind: timestamp"),
        ("days", datetime(2024, 1, 2, tzinfo=UTC), "set kind: timestamp"),
    ],
)
def test_the_reason_of_a_time_in_another_form_names_what_to_set(
    kind: str, value: object, hint: str
) -> None:
    time = {"kind": kind} | ({"origin": "1970-01-01"} if kind == "days" else {})
    (refused,) = run({"occurred_at": value}, time=time).refused.to_pylist()
    (reason,) = refused["reasons"]
    assert reason.startswith(f"occurred_at cannot be read as {kind}: ")
    assert reason.endswith(hint)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "user_id is missing"),
        ({"item_id": ""}, "item_id is missing"),
        ({"occurred_at": None}, "occurred_at is missing"),
        ({"occurred_at": "yesterday"}, "occurred_at cannot be read as timestamp"),
        ({"occurred_at": "2020-02-30"}, "occurred_at cannot be read as timestamp"),
        ({"value": "cheap"}, "value is not a number"),
        ({"value": "-inf"}, "value is not finite"),
        ({"value": "1e999"}, "value is not finite"),
        ({"item_id": "x" * 1_025}, "item_id has more than 1,024 characters"),
    ],
)
def test_bad_row_is_refused_and_its_neighbours_are_not(
    change: dict[str, object], reason: str
) -> None:
    result = run({}, change, {"user_id": "v"})
    assert result.refused.to_pylist() == [{"row": 1, "reasons": [reason]}]
    assert result.rows["user_id"].to_pylist() == ["u", "v"]
    assert result.row_positions.tolist() == [0, 2]


def test_every_reason_of_a_row_is_given() -> None:
    result = run({"user_id": None, "value": "x"}, {}, {"user_id": ""})
    reasons = dict(zip(*result.refused.to_pydict().values(), strict=True))
    assert set(reasons[0]) == {"user_id is missing", "value is not a number"}
    assert reasons[2] == ["user_id is missing"]


def test_good_rows_have_the_contract_schema() -> None:
    rows = run({}, {"value": ""}).rows
    assert rows.schema.names == [*EVENTS.names, "amount"]
    assert rows.select(EVENTS.names).schema.equals(EVENTS)
    assert rows["value"].to_pylist() == [1.5, None]
    assert rows["event_type"].to_pylist() == ["event", "event"]


def test_same_row_same_id_and_identity_is_a_choice() -> None:
    rows = ({}, {"value": "2"}, {"user_id": "v"})
    first, second, other = run(*rows).rows["event_id"].to_pylist()
    assert first == second != other
    by_value = run(*rows, identity=("user_id", "value")).rows["event_id"].to_pylist()
    assert len(set(by_value)) == 3


def test_local_zone_gives_the_offset_of_the_season() -> None:
    rows = run({}, {"occurred_at": "2020-01-01T00:00:00Z"}, local_zone="Europe/Vienna").rows
    assert rows["utc_offset_min"].to_pylist() == [120, 60]


def test_skipped_wall_clock_time_is_refused() -> None:
    result = run({"occurred_at": "2020-03-29 02:30"}, time={"timezone": "Europe/Vienna"})
    assert result.rows.num_rows == 0
    (reason,) = result.refused["reasons"].to_pylist()[0]
    assert reason == "occurred_at does not exist on the clocks of Europe/Vienna"


def test_mixed_time_zones_become_one_instant() -> None:
    texts = ["2020-05-01T12:00:00Z", "2020-05-01T14:00:00+02:00", "2020-05-01 12:00", "2020-05-01"]
    rows = run(*({"occurred_at": text} for text in texts)).rows
    noon = datetime(2020, 5, 1, 12, tzinfo=UTC)
    assert rows["occurred_at"].to_pylist() == [noon, noon, noon, noon.replace(hour=0)]


def test_check_ins_happen_at_their_item() -> None:
    assert run({}, items_are_places=True).rows["place_id"].to_pylist() == ["i"]


def test_impossible_offset_is_refused() -> None:
    result = run({"utc_offset_min": 99999}, {"utc_offset_min": -300})
    assert result.rows["utc_offset_min"].to_pylist() == [-300]
    assert "utc_offset_min" in result.refused["reasons"].to_pylist()[0][0]


def test_column_that_is_no_text_is_named() -> None:
    raw = pa.table(
        {"user_id": pa.array([["a list"]]), "item_id": ["i"], "occurred_at": ["2020-01-01"]}
    )
    with pytest.raises(SchemaError, match="'user_id' cannot be read as text"):
        normalise(make_spec(), raw)


def test_missing_numbers_as_ids_are_missing() -> None:
    result = run({"user_id": float("nan")}, {"user_id": 12.0})
    assert result.rows["user_id"].to_pylist() == ["12"]


def test_categoricals_are_read_like_their_values() -> None:
    raw = pa.table({name: pa.array([GOOD[name]] * 2).dictionary_encode() for name in GOOD})
    rows = normalise(make_spec(), raw).rows
    assert rows.equals(run({}, {}).rows)


def test_an_event_without_a_place_is_in_a_cell_and_keeps_its_id() -> None:
    stays = ((40.7, -74.0, None), (None, -74.0, None), (40.7, -74.0, "p"))
    rows = [dict(zip(("lat", "lon", "place_id"), stay, strict=True)) for stay in stays]
    plain, celled = run(*rows).rows, run(*rows, cell_resolution=8).rows
    assert celled["place_id"].to_pylist() == [h3.latlng_to_cell(40.7, -74.0, 8), None, "p"]
    assert celled["event_id"].equals(plain["event_id"])


def test_coarse_coordinates_keep_the_id_and_the_cell() -> None:
    rows = [{"lat": 40.71284, "lon": -74.00597}, {"lat": None, "lon": None}]
    exact = run(*rows, cell_resolution=9).rows
    coarse = run(*rows, cell_resolution=9, coordinate_decimals=2).rows
    assert coarse["lat"].to_pylist() == [pytest.approx(40.71, abs=1e-9), None]
    assert coarse["lon"].to_pylist() == [pytest.approx(-74.01, abs=1e-9), None]
    assert coarse.drop_columns(["lat", "lon"]).equals(exact.drop_columns(["lat", "lon"]))
    assert run(*rows).rows["lat"].to_pylist() == [40.71284, None]


@pytest.mark.parametrize("word", ["-", "\u2014", "NULL", r"\N", "NaN", "None", "N/A", " "])
def test_words_for_a_missing_number_are_missing_and_counted(word: str) -> None:
    result = run({"value": word})
    assert (result.rows["value"].to_pylist(), result.refused.num_rows) == ([None], 0)
    assert result.missing_numbers == ({} if word == " " else {"value": 1})


@pytest.mark.parametrize(
    ("time", "text", "hint"),
    [
        ({}, "269", "kind: days"),
        ({}, "20240304", '"%Y%m%d"'),
        ({}, "03/04/2024 05:42:00 PM", "either order"),
        ({}, "2024-03-04 08:00 CST", "ambiguous"),
        ({"kind": "epoch_s"}, "1709539200000", "epoch_ms"),
        ({"kind": "epoch_ms"}, "1709539200", "epoch_s"),
        ({"kind": "epoch_ms"}, "1709539200000000000", "epoch_ns"),
        ({"kind": "strptime", "pattern": "%d.%m.%Y"}, "2024-03-04", "kind: timestamp"),
    ],
)
def test_the_reason_names_what_reads_the_time(time: dict[str, str], text: str, hint: str) -> None:
    (row,) = run({"occurred_at": text}, time=time).refused.to_pylist()
    assert len(row["reasons"]) == 1
    assert hint in row["reasons"][0]


def test_a_decimal_comma_is_an_option_that_the_reason_names() -> None:
    (row,) = run({"value": "1,5"}).refused.to_pylist()
    assert 'decimal: ","' in row["reasons"][0]
