"""The ``privacy`` block: what contradicts it is refused with the line to change."""

from typing import Any

import pytest
from pydantic import ValidationError

from chronotope.datasets.spec import DatasetSpec
from chronotope.privacy import PrivacySettings

EVENTS = {
    "format": "csv",
    "path": "log.csv",
    "columns": {"user_id": "u", "item_id": "i", "occurred_at": "t"},
    "attributes": {"mail": "m"},
    "context": {"income": "c"},
}


def spec(privacy: dict[str, Any], **fields: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {"name": "shop", "events": EVENTS, "privacy": privacy} | fields
    )


def test_nothing_is_asked_by_default() -> None:
    assert spec({}).privacy == PrivacySettings()
    assert PrivacySettings().no_features == frozenset()


def test_sensitive_columns_are_no_features_unless_named() -> None:
    columns = {"mail": "identifier", "income": "sensitive"}
    assert spec({"columns": columns}).privacy.no_features == {"mail", "income"}
    named = spec({"columns": columns, "sensitive_features": ["income"]}, known_before=["income"])
    assert named.privacy.no_features == {"mail"}


@pytest.mark.parametrize(
    ("privacy", "fields", "problem"),
    [
        ({"columns": {"income": "sensitive"}}, {"known_before": ["income"]}, "is sensitive; name"),
        ({"columns": {"age": "sensitive"}}, {}, "'age' is no context column or attribute"),
        ({"columns": {"income": "identifier"}}, {}, "number 'income' cannot be an identifier"),
        ({"sensitive_features": ["income"]}, {}, "not classified as sensitive"),
        ({"h3_resolution": 7}, {"coordinate_decimals": 2}, "exclude each other"),
        ({"h3_resolution": 7}, {"cell_resolution": 8}, "finer than privacy.h3_resolution"),
        ({"time_resolution_min": 7}, {}, "do not divide a day"),
        ({"retain_days": 0}, {}, "greater than 0"),
        (
            {"pseudonyms": {}, "columns": {"mail": "identifier"}},
            {"identity": ["user_id", "mail"]},
            "'mail' is an identifier, whose pseudonym changes",
        ),
        ({"pseudonyms": {"variable": "SHOP_KEY"}}, {}, "variable"),
    ],
)
def test_contradictions_are_refused(
    privacy: dict[str, Any], fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        spec(privacy, **fields)
