"""What a dataset's YAML says of the content of its items."""

from typing import Any

import pytest
from pydantic import ValidationError

from chronotope.datasets.content_spec import ContentSpec, ItemTableSpec

COLUMNS = {"item_id": "id", "title": "name"}


def items(content: Any) -> ItemTableSpec:
    source = {"format": "csv", "path": "items.csv", "columns": COLUMNS}
    return ItemTableSpec.model_validate(source | {"content": content})


def test_short_forms_are_a_list_of_columns_and_a_path() -> None:
    content = items({"text": ["title"], "image": "posters/{item_id}.jpg"}).content
    assert content is not None
    assert content.text is not None
    assert content.image is not None
    assert (content.text.columns, content.text.encoder) == (("title",), "tfidf")
    assert content.image.relative_path({"item_id": "7"}) == "posters/7.jpg"
    assert list(content.modalities) == ["text", "image"]
    assert ContentSpec.model_validate({"text": "title"}).text == content.text
    assert items(None).content is None


def test_placeholders_are_names_and_nothing_is_evaluated() -> None:
    content = ContentSpec.model_validate({"image": "{a}/{b.x}/{a}{{b}}"}).image
    assert content is not None
    assert content.columns == ("a", "b")
    assert content.relative_path({"a": "{b}", "b": "1"}) == "{b}/{b.x}/{b}{1}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"text": ["plot"]}, "'plot' is no column of the items"),
        ({"image": "{poster}"}, "'poster' is no column of the items"),
        ({"image": "posters.jpg"}, "write {item_id}"),
        ({"text": []}, "at least 1 item"),
        ({"text": {"columns": ["title"], "max_chars": 0}}, "greater than or equal to 10"),
        ({"video": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_slip_names_what_is_wrong(content: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        items(content)


def test_the_identity_of_a_source_does_not_depend_on_its_content() -> None:
    assert items(None).model_dump_json() == items({"text": ["title"]}).model_dump_json()


def test_attributes_are_columns_or_all_of_them() -> None:
    named = items({"attributes": ["title"]}).content
    assert named is not None
    assert named.attributes is not None
    assert (named.attributes.columns, named.attributes.separator) == (("title",), "|")
    table = {"format": "csv", "path": "items.csv", "columns": {"item_id": "id"}}
    further = {"attributes": {"brand": "b"}, "context": {"price": "p"}}
    for category in ({}, {"category": ["a", "b"]}):
        source = table | further | {"coalesce": category, "content": {"attributes": True}}
        content = ItemTableSpec.model_validate(source).content
        assert content is not None
        assert content.attributes is not None
        assert content.attributes.columns == (*category, "brand", "price")
    with pytest.raises(ValidationError, match="at least 1 item"):
        ItemTableSpec.model_validate(table | {"content": {"attributes": True}})
