"""A town whose log ends before its people do: what they do then comes as feedback."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from benchmarks.small import TRAINING
from chronotope.datasets.city import CityConfig
from chronotope.datasets.simulation import simulate_events
from chronotope.feedback.config import FeedbackConfig
from chronotope.lake import Lake
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.pipelines.results import TrainingResult
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.workspace import Workspace
from flows import without_heartbeat
from flows.collect_feedback import FeedbackResult, collect_feedback
from flows.ingest_events import IngestSettings
from flows.train_model import train_model

YAML = """
name: town
description: The first part of a simulated town.
licence: CC0-1.0
data_dir: {folder}
event_type: check_in
items_are_places: true
events:
  format: csv
  path: log.csv
  columns: {{user_id: user_id, item_id: item_id, occurred_at: occurred_at, lat: lat, lon: lon}}
"""
COLUMNS = ["user_id", "item_id", "occurred_at", "lat", "lon"]
SMALL = {"n_users": 60, "n_items": 40, "days": 60, "seed": 3}
TINY: dict[str, Any] = {
    **TRAINING,
    "training": {"max_epochs": 2, "n_rounds": 2, "batch_size": 64},
    "gate": {"max_p_value": 0.99, "max_slice_drop": 1.0},
    "max_holdout_targets": 200,
}


@dataclass(frozen=True)
class Town:
    """A dataset below a root, and what its people do after the end of its log."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "town.yaml"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def lake(self) -> Lake:
        return Lake(self.workspace.lake("town"))

    def settle(self, *, share: float = 0.7, **city_of: Any) -> "Town":
        """Write the log, up to a share of the events, and the rest as payloads."""
        city = CityConfig(**{"n_events": 4_000, **SMALL, **city_of})
        rows = pa.concat_tables(simulate_events(city)).sort_by("occurred_at").select(COLUMNS)
        n_known = int(share * len(rows))
        self.root.mkdir(parents=True, exist_ok=True)
        pyarrow.csv.write_csv(rows.slice(0, n_known), self.root / "log.csv")
        self.spec.write_text(YAML.format(folder=self.root), encoding="utf-8")
        later = [
            row | {"occurred_at": row["occurred_at"].isoformat()}
            for row in rows.slice(n_known).to_pylist()
        ]
        (self.root / "later.json").write_text(json.dumps(later), encoding="utf-8")
        return self

    def later(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.root / "later.json").read_text())
        return rows

    def train(self, **told: Any) -> TrainingResult:
        with without_heartbeat():
            settings = TrainSettings.model_validate({**TINY, **told, "root": self.root})
            found: TrainingResult = train_model(str(self.spec), settings, self.ingestion())
        return found

    def collect(self, engine: EngineConfig = EngineConfig(), **feedback: Any) -> FeedbackResult:  # noqa: B008 - frozen
        with without_heartbeat():
            config, told = FeedbackConfig.model_validate(feedback), self.ingestion()
            found: FeedbackResult = collect_feedback(str(self.spec), config, told, engine)
        intake = found.intake
        kept = intake.n_new + intake.n_duplicates + intake.n_quarantined
        assert kept == intake.n_read
        return found

    def ingestion(self) -> IngestSettings:
        return IngestSettings(root=self.root, data_docs=False)

    def log(self, payloads: Sequence[dict[str, Any]]) -> None:
        """Append events to the service's log."""
        with closing(InteractionLog(self.workspace.interactions("town"))) as log:
            first = log.last()
            log.append(
                [
                    Interaction(key=f"k{first + n}", kind="event", payload=payload)
                    for n, payload in enumerate(payloads)
                ]
            )
