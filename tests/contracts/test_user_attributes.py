"""Attributes as levels: quantiles of numbers, frequent texts, and unknown for all that is new."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import IdMap
from chronotope.contracts.user_attributes import (
    AttributeColumn,
    UserAttributes,
    attribute_context,
)

N_USERS = 60
USERS = IdMap.of([f"u{n:02d}" for n in range(N_USERS)])


def attributes() -> UserAttributes:
    """Every user but the last has an age; a region is north, south, or one of its own."""
    rows = pa.table(
        {
            "user_id": [f"u{n:02d}" for n in reversed(range(N_USERS - 1))],
            "age": pa.array([float(20 + n) for n in reversed(range(N_USERS - 1))]),
            "region": [
                f"village {n}" if n < 4 else ("north", "south")[n % 2]
                for n in reversed(range(N_USERS - 1))
            ],
            "constant": ["x"] * (N_USERS - 1),
        }
    )
    return UserAttributes.from_table(rows, USERS)


def test_levels_are_ranges_and_frequent_texts() -> None:
    age, region = attributes().columns
    assert (age.name, len(age.levels), age.first) == ("age", 6, 1)
    assert age.levels[0] == "below 30"
    assert (region.levels, region.first) == (("north", "south"), 7)
    assert attributes().n_levels == 9


def test_codes_follow_the_ids_and_missing_ones_are_unknown() -> None:
    codes = attributes().codes
    assert codes.shape == (N_USERS + 1, 2)
    assert codes[[0, N_USERS]].tolist() == [[0, 0], [0, 0]]
    assert codes[1].tolist() == [1, 0]  # u00: 20 years, a village
    assert codes[1 + 10].tolist() == [2, 7]  # u10: 30 years, north
    assert (np.diff(codes[1:N_USERS, 0]) >= 0).all()


def test_a_request_is_read_as_the_table_and_what_is_new_is_unknown() -> None:
    columns = attributes().columns
    for value in (30, 30.0, "30"):
        assert attribute_context({"age": value}, columns) == {"user.age": 2.0}
    assert attribute_context({"region": "south"}, columns) == {"user.region": 8.0}
    assert attribute_context({"region": "east"}, columns) == {"user.region": 0.0}
    assert attribute_context({"age": "nan"}, columns) == {"user.age": 0.0}
    kids = AttributeColumn(name="kids", first=1, levels=("0", "1"))
    assert attribute_context({"kids": 1.0}, [kids]) == {"user.kids": 2.0}


def test_unknown_columns_and_words_for_numbers_are_refused() -> None:
    columns = attributes().columns
    with pytest.raises(ConfigError, match="no user attributes") as caught:
        attribute_context({"income": "high"}, columns)
    assert "age, region" in str(caught.value)
    with pytest.raises(ConfigError, match="'age' is a number"):
        attribute_context({"age": "old"}, columns)


def test_a_file_holds_columns_and_codes(tmp_path: Path) -> None:
    stored = attributes()
    stored.save(tmp_path / "users.parquet")
    loaded = UserAttributes.load(tmp_path / "users.parquet")
    assert loaded.columns == stored.columns
    np.testing.assert_array_equal(loaded.codes, stored.codes)


def test_an_example_of_a_level_is_of_that_level() -> None:
    for column in attributes().columns:
        levels = [column.level(example) for example in column.examples]
        assert levels == list(range(column.first, column.first + len(column.levels)))
