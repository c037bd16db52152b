"""Catalogues whose texts are encoded: items without an event are items of the model."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import chronotope as ct
from chronotope.contracts.errors import ConfigError

DISHES = pd.DataFrame(
    {
        "dish": ["a", "b", "c", "d"],
        "name": ["red soup", "green soup", "red cake", "green cake"],
        "origin": ["north", "south", "north", "south"],
    }
)
ORDERS = pd.DataFrame(
    {
        "guest": [1, 1, 2, 2],
        "dish": ["a", "b", "a", "c"],
        "when": pd.date_range("2024-03-01", periods=4, freq="D"),
    }
)
COLUMNS: dict[str, Any] = {"user": "guest", "item": "dish", "time": "when"}


def catalog(*content: str) -> ct.Catalog:
    return ct.Catalog.from_frame(
        DISHES, item="dish", title="name", attributes={"origin": "origin"}, content=content
    )


def test_encoded_texts_make_items_of_those_without_events() -> None:
    log = ct.Log.from_frame(ORDERS, **COLUMNS, catalog=catalog("title", "origin"))
    assert log.index.items.ids.to_pylist() == ["a", "b", "c", "d"]
    assert log.index.content is not None
    assert log.index.content.vectors[4].any()
    earlier = log.before("2024-03-03")
    assert earlier.index.content is not None
    assert earlier.index.n_items == log.index.n_items


def test_without_content_only_items_with_events_are_kept() -> None:
    log = ct.Log.from_frame(ORDERS, **COLUMNS, catalog=catalog())
    assert log.index.items.ids.to_pylist() == ["a", "b", "c"]
    assert log.index.content is None


def test_the_dataset_of_a_project_encodes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = ct.Log.from_frame(ORDERS, **COLUMNS, catalog=catalog("title"))
    menu = log.to_dataset("menu")
    content = yaml.safe_load(Path("conf/datasets/menu.yaml").read_text())["items"]["content"]
    assert content == {"text": {"columns": ["title"], "encoder": "tfidf"}}
    assert menu.index.items.ids.equals(log.index.items.ids)
    assert menu.index.content is not None


@pytest.mark.parametrize("content", [("text",), "title", ("item_id",)], ids=str)
def test_content_names_parts_that_the_catalogue_has(content: Any) -> None:
    with pytest.raises(ConfigError, match="Name some of title, origin"):
        ct.Catalog.from_frame(
            DISHES, item="dish", title="name", attributes={"origin": "origin"}, content=content
        )
