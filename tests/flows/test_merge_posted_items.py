"""Items that were posted to a service, in the lake: by an ingestion, and by the feedback loop."""

from pathlib import Path

import pytest

from chronotope.content.encoder import Modality
from chronotope.content.item_vectors import read_vectors
from chronotope.lake import Lake
from chronotope.lake.posted_items import PostedItems
from chronotope.runtime.workspace import Workspace
from flows import without_heartbeat
from flows.ingest_events import IngestSettings, ingest_events, write_tables
from flows.merge_posted_items import merge_posted_items, write_posted_items


@pytest.fixture
def settings(tmp_path: Path) -> IngestSettings:
    root = tmp_path / "root"
    posted_items = PostedItems(Workspace(root).posted_items("corner_shop"))
    posted_items.append([("fig", {"title": "Green fig", "text": "Sweet, dried, green"})])
    posted_items.append([("tea", {"title": "Another tea", "text": "Leaves, green"})])
    posted_items.close()
    return IngestSettings(root=root, data_docs=False)


@pytest.fixture
def described_shop(corner_shop: Path) -> Path:
    yaml_text = corner_shop.read_text(encoding="utf-8")
    corner_shop.write_text(yaml_text + "  content: {text: [title]}\n", encoding="utf-8")
    (corner_shop.parent / "items.csv").write_text("what,title\ntea,Green tea\nrye,Green bread\n")
    return corner_shop


def titles_and_texts(settings: IngestSettings) -> dict[str, tuple[str, str | None]]:
    rows = Lake(Workspace(settings.root).lake("corner_shop")).read("items").to_pylist()
    return {row["item_id"]: (row["title"], row["text"]) for row in rows}


def test_an_ingestion_merges_them_in_the_commit_of_the_source(
    described_shop: Path, settings: IngestSettings
) -> None:
    for _ in range(2):  # another delivery of the source erases nothing
        counts = write_tables.fn(str(described_shop), settings)["items"]
        assert (counts.n_read, counts.n_good) == (3, 3)
        rows = titles_and_texts(settings)
        assert rows["fig"] == ("Green fig", "Sweet, dried, green")
        assert rows["tea"] == ("Green tea", "Leaves, green")  # the source has a title
        assert rows["rye"] == ("Green bread", None)


def test_the_feedback_loop_merges_and_encodes_them(
    prefect: None, described_shop: Path, settings: IngestSettings
) -> None:
    lake = Lake(Workspace(settings.root).lake("corner_shop"))
    later = PostedItems(Workspace(settings.root).posted_items("corner_shop"))
    with without_heartbeat():
        ingest_events(str(described_shop), settings)
        later.append([("oat", {"title": "Green oat bread"})])
        merge_posted_items(str(described_shop), settings)
    assert titles_and_texts(settings)["oat"] == ("Green oat bread", None)
    assert read_vectors(lake, Modality.TEXT, ["fig", "oat"]).is_present.all()
    before = lake.version("items")
    assert write_posted_items.fn(str(described_shop), settings).n_read == 0  # nothing is new
    assert lake.version("items") == before
