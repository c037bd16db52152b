"""Small simulated town: the first part of its log trains, the rest waits in the inbox."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import TrialState

from benchmarks.replay.traffic import Traffic, posts
from benchmarks.small import CITY, TRAINING
from chronotope.contracts import columns as c
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.snapshot import load_features
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import inbox_dir, watermark_path
from chronotope.feedback.watermark import read_watermark
from chronotope.lake import Lake
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion, promotion_history
from chronotope.runtime.store_urls import optuna_url
from chronotope.runtime.workspace import Workspace
from flows import without_heartbeat
from flows.collect_feedback import collect_feedback
from flows.ingest_events import IngestSettings
from flows.train_model import train_model

NAME: Final = "town"
LEFT_RUNNING: Final = "left running"
PEOPLE: Final = CITY.model_copy(
    update={"n_events": 6_000, "anomalies": 0.0, "cold_users": 0.0, "cold_items": 0.0}
)
SETTINGS: Final[dict[str, Any]] = {
    **TRAINING,
    "study": {"n_trials": 2},
    "model": {"history_len": 64},
    "training": {"max_epochs": 2, "n_rounds": 2, "batch_size": 64},
    "gate": {"max_p_value": 0.99, "max_slice_drop": 1.0},
    "trial_targets": 200,
    "max_holdout_targets": 600,
}
"""Number of events with which a model is promoted."""

FEEDBACK: Final = FeedbackConfig(min_rows=100, rate_limit_rows=10_000, hold_psi=100.0, mode="warm")


@dataclass(frozen=True)
class Town:
    """A dataset below a root.

    Attributes:
        root: Project root; all results of a flow are below it.
    """

    root: Path

    @property
    def workspace(self) -> Workspace:
        """Its folders."""
        return Workspace(self.root)

    def settle(self) -> None:
        """Write the first part of the log as a dataset, and the rest into the inbox."""
        spec = DatasetSpec(
            name=NAME, description="A simulated town", licence="CC0-1.0",
            items_are_places=True, city=PEOPLE,
        )  # fmt: skip
        traffic = Traffic.of(spec, base_share=0.7, n_rounds=1)
        traffic.write_base(self.root)
        later = inbox_dir(self.workspace, NAME)
        later.mkdir(parents=True)
        lines = [json.dumps(told) for told in posts(traffic.round(1))]
        (later / "later.jsonl").write_text("\n".join([*lines, '{"half": ', ""]), encoding="utf-8")

    def run(self, flow: str) -> None:
        """Run ``train_model`` or ``collect_feedback`` to its end."""
        ingestion = IngestSettings(root=self.root, data_docs=False)
        dataset = str(self.root / "dataset.yaml")
        with without_heartbeat():
            if flow == "train_model":
                settings = TrainSettings.model_validate({**SETTINGS, "root": self.root})
                train_model(dataset, settings, ingestion)
            else:
                collect_feedback(dataset, FEEDBACK, ingestion)

    def state(self) -> dict[str, Any]:
        """State that kills must not change; JSON-serialisable."""
        runs = self.workspace.runs(NAME)
        return {
            "metrics": _results(runs, "evaluate_holdout"),
            "parameters": _results(runs, "search_parameters"),
            "registry": self._registry(),
            "tables": self._tables(),
            "features": sorted(map(_content_of, self.workspace.features(NAME).iterdir())),
            "watermark": self._watermark(),
            LEFT_RUNNING: self._running(),
        }

    def _registry(self) -> dict[str, Any]:
        store = open_store(self.workspace.mlruns)
        versions = store.client.search_model_versions(f"name='{NAME}'")
        alias = store.client.get_model_version_by_alias(NAME, "champion")
        return {
            "champion": current_champion(store, NAME),
            "alias": str(alias.version),
            "versions": sorted(str(version.version) for version in versions),
            "promotions": [(e.kind, e.version, e.state) for e in promotion_history(store, NAME)],
        }

    def _tables(self) -> dict[str, list[str]]:
        lake = Lake(self.workspace.lake(NAME))
        present = [name for name in ("events", "items", "quarantine") if lake.exists(name)]
        found = {}
        for name in present:
            rows = lake.read(name)
            told = rows.select(
                [column for column in rows.column_names if column != c.QUARANTINED_AT]
            )
            found[name] = sorted(json.dumps(row, default=str) for row in told.to_pylist())
        return found

    def _watermark(self) -> dict[str, Any]:
        mark = read_watermark(watermark_path(self.workspace, NAME))
        own = {"learned_at", "learned_version", "log", "events"}  # identities of this town alone
        told: dict[str, Any] = mark.model_dump(mode="json", exclude=own)
        learned = mark.learned_version
        return {**told, "learned_version": None if learned is None else learned.number}

    def _running(self) -> dict[str, int]:
        """Runs, trials and drafts of files left by dead processes."""
        client = open_store(self.workspace.mlruns).client
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(experiments, "attributes.status = 'RUNNING'")
        drafts = list(self.root.rglob("*.draft"))
        url = optuna_url(self.workspace.mlruns)
        names = optuna.get_all_study_names(storage=url)
        studies = [optuna.load_study(study_name=name, storage=url) for name in names]
        trials = [study.get_trials(states=[TrialState.RUNNING]) for study in studies]
        found = {"MLflow runs": len(runs), "trials": sum(map(len, trials)), "drafts": len(drafts)}
        return {kind: n for kind, n in found.items() if n}


def _results(runs: Path, step: str) -> list[Any]:
    """Results of a step in each run, earliest first."""
    files = sorted(runs.glob(f"*/{step}.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text(encoding="utf-8"))["result"] for path in files]


def _content_of(snapshot: Path) -> str:
    """Content of a snapshot without the lake's identity, which is in its name."""
    events, catalog = load_features(snapshot)
    digest = hashlib.sha256()
    for column in (events.user_idx, events.item_idx, events.occurred_s, catalog.item_category):
        digest.update(column.tobytes())
    return digest.hexdigest()
