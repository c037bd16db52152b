"""A table of readings beside the log: read by mapping alone, its mistakes named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import SourceError
from chronotope.datasets.readers import read_context_table
from chronotope.datasets.spec import DatasetSpec

WEATHER = "hour,station,rain\n2024-01-01T08:00:00+01:00,north,1.5\n2024-01-01T08:00:00Z,,x\n"
TABLE = {
    "format": "csv",
    "path": "weather.csv",
    "columns": {"occurred_at": "hour", "place_id": "station"},
    "context": {"rain_mm": "rain"},
    "valid_h": 2,
}
EVENTS = {
    "format": "csv",
    "path": "log.csv",
    "columns": {"user_id": "who", "item_id": "what", "occurred_at": "at"},
    "context": {"promo": "promo", "quantity": "n"},
}


def made(folder: Path, text: str = WEATHER, **settings: object) -> DatasetSpec:
    (folder / "weather.csv").write_text(text)
    about = {"name": "t", "description": "t", "licence": "t", "data_dir": folder}
    return DatasetSpec.model_validate(
        {**about, "events": EVENTS, "context_table": TABLE, **settings}
    )


def test_readings_have_instants_places_and_an_end(tmp_path: Path) -> None:
    rows = read_context_table(made(tmp_path)).to_pylist()
    seven = datetime(2024, 1, 1, 7, tzinfo=UTC)
    assert [row["occurred_at"] for row in rows] == [seven, seven + timedelta(hours=1)]
    assert rows[0]["valid_until"] == seven + timedelta(hours=2)
    assert [row["place_id"] for row in rows] == ["north", None]
    assert [row["rain_mm"] for row in rows] == [1.5, None]  # what is no number is unknown


def test_a_corrected_reading_keeps_its_id(tmp_path: Path) -> None:
    before = read_context_table(made(tmp_path))["event_id"].to_pylist()
    after = read_context_table(made(tmp_path, WEATHER.replace("1.5", "2.5")))["event_id"]
    assert before == after.to_pylist()
    assert before[0] != before[1]


def test_an_unreadable_time_is_an_error_that_shows_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"1 times .* Received: noon"):
        read_context_table(made(tmp_path, "hour,station,rain\nnoon,north,1\n"))


def test_without_a_table_there_are_no_rows(tmp_path: Path) -> None:
    assert read_context_table(made(tmp_path, context_table=None)).num_rows == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"known_before": ["weather"]}, "known_before: 'weather' is not a context column"),
        (
            {"context_table": {**TABLE, "context": {"promo": "rain"}}},
            "another column is already named",
        ),
        ({"context_table": {**TABLE, "context": {}}}, "readings are numbers"),
        ({"context_table": {**TABLE, "columns": {"place_id": "station"}}}, "must map occurred_at"),
        ({"context_table": {**TABLE, "valid_h": 0}}, "greater than 0"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        made(tmp_path, **change)


def test_only_what_is_known_before_is_listened_to(tmp_path: Path) -> None:
    spec = made(tmp_path, known_before=["promo"])
    assert (spec.known_before, spec.context_table_columns) == (("promo",), ("rain_mm",))
