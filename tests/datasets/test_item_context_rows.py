from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from chronotope.contracts import columns as c
from chronotope.datasets.item_context_rows import read_item_context
from chronotope.datasets.spec import DatasetSpec

EVENTS = {
    "format": "csv",
    "path": "events.csv",
    "columns": {"user_id": "u", "item_id": "i", "occurred_at": "t"},
}


def spec_of(folder: Path, **item_context: object) -> DatasetSpec:
    table = {"format": "csv", "path": "context.csv"} | item_context
    return DatasetSpec.model_validate(
        {
            "name": "shop",
            "data_dir": folder,
            "local_zone": "America/New_York",
            "events": EVENTS,
            "item_context": table,
        }
    )


def read_rows(spec: DatasetSpec) -> pa.Table:
    return pa.concat_tables(batch.rows for batch in read_item_context(spec, 2))


def test_weeks_start_at_midnight_on_the_local_clock(tmp_path: Path) -> None:
    (tmp_path / "context.csv").write_text("i,w,p\nx,1,A\nx,12,A\ny,1.5,A\n")
    rows = read_rows(
        spec_of(
            tmp_path,
            columns={"item_id": "i", "week": "w"},
            first_week="2016-12-26",
            attributes={"promo": "p"},
            defaults={"promo": "0"},
        )
    )
    assert rows[c.VALID_FROM].to_pylist() == [
        datetime(2016, 12, 26, 5, tzinfo=UTC),
        datetime(2017, 3, 13, 4, tzinfo=UTC),  # summer time
        None,
    ]
    assert rows[c.VALID_UNTIL][0].as_py() == datetime(2017, 1, 2, 5, tzinfo=UTC)
    assert rows[c.PLACE_ID].to_pylist() == [""] * 3


def test_an_end_that_cannot_be_read_refuses_the_row(tmp_path: Path) -> None:
    (tmp_path / "context.csv").write_text(
        "i,s,a,b,price\nx,p,2024-01-01T00:00Z,,2.5\nx,p,2024-01-02T00:00Z,soon,3\n"
    )
    rows = read_rows(
        spec_of(
            tmp_path,
            columns={"item_id": "i", "place_id": "s", "valid_from": "a", "valid_until": "b"},
            context={"price": "price"},
            defaults={"price": 1.0},
        )
    )
    assert rows[c.VALID_FROM].is_valid().to_pylist() == [True, False]
    assert rows["price"].to_pylist() == [2.5, 3.0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"defaults": {}}, "defaults must name"),
        ({"defaults": {"promo": 1.0}}, "must be a number under context, else a text"),
        ({"columns": {"item_id": "i"}}, "columns must map item_id"),
        ({"columns": {"item_id": "i", "valid_from": "a", "week": "w"}}, "columns must map"),
    ],
    ids=["no_default", "default_type", "no_start", "two_starts"],
)
def test_a_wrong_specification_is_refused(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    fields = {
        "columns": {"item_id": "i", "valid_from": "a"},
        "attributes": {"promo": "p"},
        "defaults": {"promo": "0"},
    }
    with pytest.raises(ValidationError, match=problem):
        spec_of(tmp_path, **fields | changes)
