"""Posted items as rows of the items table: filled, merged, never erased by the source."""

from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.ingestion.posted_rows import (
    add_posted_rows,
    posted_rows_to_merge,
    read_posted_items,
)
from chronotope.lake import Lake
from chronotope.lake.posted_items import PostedItem, PostedItems


@pytest.fixture
def posted(tmp_path: Path) -> dict[str, PostedItem]:
    posted_items = PostedItems(tmp_path / "posted_items.db")
    posted_items.append([("new", {"title": "New", "lat": 1.5, "lon": 2.0})])
    posted_items.append([("old", {"text": "a text that the source lacks", "title": "other"})])
    posted_items.close()
    return read_posted_items(tmp_path / "posted_items.db")


def source(**columns: list[str | None]) -> pa.Table:
    return pa.table({"item_id": ["old", "else"], "title": ["Old", "Else"], **columns})


def rows_of(table: pa.Table) -> dict[str, dict[str, object]]:
    return {row["item_id"]: row for row in table.to_pylist()}


def test_a_source_is_filled_and_enlarged(posted: dict[str, PostedItem]) -> None:
    rows = rows_of(add_posted_rows(source(), posted))
    assert rows.keys() == {"old", "else", "new"}
    assert rows["old"]["title"] == "Old"  # the source states it
    assert rows["old"]["text"] == "a text that the source lacks"
    assert (rows["new"]["title"], rows["else"]["text"]) == ("New", None)


def test_without_posts_a_source_is_what_it_was(tmp_path: Path) -> None:
    nothing = read_posted_items(tmp_path / "missing.db")
    assert add_posted_rows(source(), nothing) is not None
    assert add_posted_rows(source(), nothing).equals(source())
    assert not (tmp_path / "missing.db").exists()


def test_a_dataset_without_items_gets_the_posted_ones(posted: dict[str, PostedItem]) -> None:
    rows = rows_of(add_posted_rows(pa.table({}), posted))
    assert rows.keys() == {"new", "old"}
    assert rows["new"]["lat"] == 1.5


def test_another_delivery_of_the_source_erases_nothing(
    tmp_path: Path, posted: dict[str, PostedItem]
) -> None:
    lake = Lake(tmp_path / "lake")
    texts: list[str | None] = [None, None]
    for _ in range(2):
        lake.upsert_items(add_posted_rows(source(text=texts), posted))
        rows = rows_of(lake.read("items"))
        assert rows["old"]["text"] == "a text that the source lacks"
        assert rows["new"]["title"] == "New"
    lake.upsert_items(add_posted_rows(source(text=["now the source has one", None]), posted))
    assert rows_of(lake.read("items"))["old"]["text"] == "now the source has one"


def test_the_lake_is_merged_with_what_differs(
    tmp_path: Path, posted: dict[str, PostedItem]
) -> None:
    lake = Lake(tmp_path / "lake")
    assert rows_of(posted_rows_to_merge(lake, posted)).keys() == {"new", "old"}
    lake.upsert_items(source())
    lake.upsert_items(posted_rows_to_merge(lake, posted))
    rows = rows_of(lake.read("items"))
    assert (rows["old"]["title"], rows["new"]["lon"]) == ("Old", 2.0)
    assert len(posted_rows_to_merge(lake, posted)) == 0  # a second time changes nothing


def test_a_later_post_replaces_an_earlier_one_in_the_lake(tmp_path: Path) -> None:
    lake, posted_items = Lake(tmp_path / "lake"), PostedItems(tmp_path / "posted_items.db")
    lake.upsert_items(source())
    for title in ("First", "Second"):
        posted_items.append([("new", {"title": title})])
        lake.upsert_items(posted_rows_to_merge(lake, posted_items.items()))
    assert rows_of(lake.read("items"))["new"]["title"] == "Second"


def test_an_attribute_of_the_source_stays_text(posted: dict[str, PostedItem]) -> None:
    rows = rows_of(add_posted_rows(source(year=["1999", "2000"]), posted))
    assert (rows["old"]["year"], rows["new"]["year"]) == ("1999", None)
