"""Encoding of a catalogue as a flow, and after an ingestion."""

from pathlib import Path

import pytest

from chronotope.content.encoder import Modality
from chronotope.content.item_vectors import read_vectors
from chronotope.contracts.errors import ConfigError
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from flows import without_heartbeat
from flows.embed_items import EmbedSettings, artifact_row, embed_items
from flows.ingest_events import IngestSettings, ingest_events


@pytest.fixture
def described_shop(corner_shop: Path) -> Path:
    (corner_shop.parent / "items.csv").write_text(
        "what,title\ntea,Green tea\nrye,Green bread\nbun,\n", encoding="utf-8"
    )
    yaml_text = corner_shop.read_text(encoding="utf-8")
    corner_shop.write_text(yaml_text + "  content: {text: [title]}\n", encoding="utf-8")
    return corner_shop


def test_an_ingestion_encodes_the_items_and_the_flow_finds_them_done(
    prefect: None, described_shop: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with without_heartbeat():
        ingested = ingest_events(
            str(described_shop), IngestSettings(root=root, data_docs=False)
        ).embeddings
        summary = embed_items(str(described_shop), EmbedSettings(root=root))
    assert ingested is not None
    assert [(report.n_encoded, report.n_missing) for report in ingested.modalities] == [(2, 1)]
    (report,) = summary.modalities
    assert (report.n_encoded, report.n_unchanged, report.n_missing) == (0, 2, 1)
    assert artifact_row(report)["reasons"] == "text is empty: 1"
    lake = Lake(Workspace(root).lake("corner_shop"))
    assert read_vectors(lake, Modality.TEXT, ["tea", "bun"]).is_present.tolist() == [True, False]


def test_without_content_in_the_yaml_the_flow_says_what_to_add(
    corner_shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"Add items\.content"):
        embed_items.fn(str(corner_shop), EmbedSettings(root=tmp_path))
