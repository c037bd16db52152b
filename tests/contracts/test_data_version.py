"""Versions of data read back what they wrote, and nothing else."""

import pytest
from pydantic import BaseModel, ValidationError

from chronotope.contracts.data_version import DataVersion, TableVersion, TableVersionText
from chronotope.contracts.errors import DataError

SIX = TableVersion(6, "1f3a9c20")


def test_a_version_reads_back_what_it_wrote() -> None:
    version = DataVersion((("events", SIX), ("items", TableVersion(0, "00000000"))))
    assert str(version) == "events@6.1f3a9c20,items@0.00000000"
    assert DataVersion.parse(str(version)) == version
    assert version.events == SIX


@pytest.mark.parametrize(
    "text", ["", "6", "6.", "06.1f3a9c20", "6.1F3A9C20", "6.1f3a9c2", "-6.1f3a9c20", "6.1f3a9c20\n"]
)
def test_another_text_is_no_version(text: str) -> None:
    with pytest.raises(DataError, match="not a table version"):
        TableVersion.parse(text)
    with pytest.raises(DataError):
        DataVersion.parse(f"events@{text}")


@pytest.mark.parametrize(
    "text", ["events@6", "1", "items@6.1f3a9c20", "bare", "events@6.1f3a9c20,"]
)
def test_numbers_alone_or_other_tables_are_no_data_version(text: str) -> None:
    with pytest.raises(DataError):
        DataVersion.parse(text)


class Mark(BaseModel):
    version: TableVersionText | None = None


def test_a_model_shows_its_text() -> None:
    mark = Mark(version=SIX)
    assert mark.model_dump_json() == '{"version":"6.1f3a9c20"}'
    assert Mark.model_validate_json(mark.model_dump_json()) == mark
    with pytest.raises(ValidationError, match="not a table version"):
        Mark.model_validate({"version": "6"})
