"""Roots whose names mean something in URLs: every file lands below them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from chronotope.lake import Lake
from chronotope.lake.listing import list_datasets
from chronotope.runtime.workspace import Workspace
from flows.ingest_events import IngestSettings, write_events, write_features, write_tables


@pytest.mark.parametrize("name", ["a#b", "50% & more;", "ü 😀 'x' \"y\"", "~ $HOME <z>`:+,=@!("])
def test_an_ingestion_below_an_odd_root(tmp_path: Path, corner_shop: Path, name: str) -> None:
    project = tmp_path / "project"
    settings = IngestSettings(root=project / name)
    for _ in range(2):
        write_tables.fn(str(corner_shop), settings)
        events = write_events.fn(str(corner_shop), settings)
        snapshot = write_features.fn(str(corner_shop), settings)
    assert events.n_duplicates == events.n_good == 3
    workspace = Workspace(settings.root)
    assert list_datasets(workspace.lakes()) == ("corner_shop",)
    assert len(Lake(workspace.lake("corner_shop")).read("events")) == 3
    assert snapshot.path.is_relative_to(settings.root)
    pages = Path(unquote(urlsplit(events.data_docs_url or "").path))
    assert pages == settings.root / "data" / "docs" / "corner_shop" / "index.html"
    assert "Data Docs" in pages.read_text(encoding="utf-8")
    assert [path.name for path in project.iterdir()] == [name]
