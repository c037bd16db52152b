"""The flow on a small city: the same seed writes the same log, from the lake."""

from pathlib import Path

import pyarrow.parquet as pq

from chronotope.synthesis import SynthesisSettings
from flows import without_heartbeat
from flows.ingest_events import IngestSettings
from flows.synthesis.synthesise_log import SynthesiseSettings, synthesise_log

CITY = """
name: town
event_type: check_in
items_are_places: true
city: {n_events: 3000, n_users: 80, n_items: 40, days: 60, cold_users: 0.0}
"""
SYNTHESIS = SynthesisSettings.model_validate(
    {
        "n_users": 20,
        "max_test_targets": 50,
        "model": {"history_len": 16},
        "training": {"max_epochs": 1, "max_targets": 200, "n_rounds": 2, "discovery_targets": 0,
                     "new_user_queries": 0},
    }
)  # fmt: skip


def test_the_same_seed_writes_the_same_log(prefect: None, tmp_path: Path) -> None:
    path = tmp_path / "town.yaml"
    path.write_text(CITY, encoding="utf-8")
    ingestion = IngestSettings(root=tmp_path, data_docs=False)
    tables = []
    with without_heartbeat():
        for folder in ("first", "second"):
            settings = SynthesiseSettings(out=tmp_path / folder, synthesis=SYNTHESIS)
            result = synthesise_log(str(path), settings, ingestion)
            assert result.figures.n_users == 20
            tables.append(pq.read_table(tmp_path / folder / "events.parquet"))
    assert tables[0].equals(tables[1])
