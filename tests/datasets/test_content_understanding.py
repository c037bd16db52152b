"""Labels and summaries in a dataset's YAML."""

from typing import Any

import pytest
from pydantic import ValidationError

from chronotope.datasets.content_spec import (
    ClassifySpec,
    ContentSpec,
    ItemTableSpec,
    SummaryEndpoint,
    SummarySpec,
)

TABLE = {
    "format": "csv",
    "path": "items.csv",
    "columns": {"item_id": "id", "title": "t", "category": "c", "text": "d"},
    "attributes": {"brand": "b"},
}


def item_table(**content: Any) -> ItemTableSpec:
    return ItemTableSpec.model_validate(TABLE | {"content": content})


def test_a_list_of_columns_is_the_short_form() -> None:
    content = item_table(classify={"category": ["title", "text"]}, summary=["text"]).content
    assert content is not None
    assert content.classify == {"category": ClassifySpec(columns=("title", "text"))}
    assert content.summary == SummarySpec(columns=("text",))
    assert content.modalities == {}
    assert content.text_columns == {"classify.category": ("title", "text"), "summary": ("text",)}


def test_the_endpoint_is_off_by_default() -> None:
    assert SummarySpec(columns=("text",)).endpoint is None
    assert ContentSpec().classify == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"classify": {"category": ["plot"]}}, r"content\.classify\.category: 'plot' is no column"),
        ({"classify": {"title": ["text"]}}, "only category and attributes are predicted"),
        ({"classify": {"brand": ["brand", "title"]}}, "not predicted from itself"),
        ({"summary": ["plot"]}, r"content\.summary: 'plot' is no column"),
        ({"classify": {"category": {"columns": []}}}, "at least 1 item"),
    ],
)
def test_impossible_columns_are_named(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        item_table(**content)


@pytest.mark.parametrize(
    "base_url",
    [
        "file:///etc/passwd",
        "ftp://host/v1",
        "http://me:secret@host/v1",
        "localhost:80",
        "http://[::1/v1",
        "http://host:99999/v1",
        "http://:80/v1",
        "http://host/v1?a=b",
    ],
)
def test_only_http_addresses_without_a_password_are_endpoints(base_url: str) -> None:
    with pytest.raises(ValidationError, match="base_url"):
        SummaryEndpoint(base_url=base_url, model="m")
