"""Columns that are missing: invisible characters are shown, near names suggested."""

import pytest

from chronotope.contracts.errors import SchemaError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.table_spec import TableSpec


def check(*names: str, user: str = "user") -> None:
    columns = {"user_id": user}
    check_columns(TableSpec(format="csv", path="x", columns=columns), names, "log.csv")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (" user", "' user'"),
        ("user\t", r"'user\t'"),
        ("\ufeffuser", r"'\ufeffuser'"),
        ("us\u200ber", r"'us\u200ber'"),
        ("user\xa0", r"'user\xa0'"),
        ("User", "User"),
    ],
)
def test_what_cannot_be_seen_is_shown(name: str, shown: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check(name, "item")
    assert f"Received: {shown}, item" in str(caught.value)
    assert f"for user write {shown}" in str(caught.value)


def test_no_suggestion_where_nothing_is_alike() -> None:
    with pytest.raises(SchemaError, match=r"dataset.s YAML\.$"):
        check("colour", "shape")
    check("user")
